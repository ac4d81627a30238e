"""security.json, and `security` of the main file: who may do what, and how much of it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tekton.utils.config_rules import (
    check_called,
    check_component_pattern,
    check_consumed,
    check_network,
    check_origin,
    check_permission,
    check_published,
    check_secret,
    check_subscribed,
)
from tekton.utils.config_schema.base import Port, RoleName, Schema, Seconds, Section, Subject, Text


class SecuritySettings(Section, frozen=True, kw_only=True):
    """`security` of the main file, and the contents of security.json."""

    enable_auth: Annotated[
        bool | Literal["auto"],
        Meta(description="`true`: every caller needs the credential. Else callers on this machine may read."),
    ] = "auto"
    jwt_secret: Annotated[
        str | None,
        Meta(
            description="Secret that signs tokens, 32 bytes or more. None: a random one, kept in the data directory.",
            extra={"check": check_secret},
        ),
    ] = None
    token_expiry: Annotated[Seconds, Meta(description="How long a token is valid, in seconds.")] = 3600.0
    key_life: Annotated[
        Annotated[float, Meta(ge=3_600, le=315_360_000)] | None,
        Meta(description="Seconds after which the key that signs tokens gets a successor. None: never by itself."),
    ] = 7_776_000
    allowed_hosts: Annotated[
        list[Text], Meta(description="Names besides loopback and `host` under which the API may be addressed.")
    ] = []
    allowed_origins: Annotated[
        list[Annotated[str, Meta(extra={"check": check_origin})]],
        Meta(description="Web origins whose pages may use the API, such as `https://ops.example`."),
    ] = []
    trusted_proxies: Annotated[
        list[Annotated[str, Meta(extra={"check": check_network})]],
        Meta(description="Networks of reverse proxies that are believed in whom they pass on, such as `10.0.0.5`."),
    ] = []
    tls_cert: Annotated[
        Text | None, Meta(description="File with the certificate and its chain (PEM). With it, the port speaks TLS.")
    ] = None
    tls_key: Annotated[
        Text | None, Meta(description="File with the private key of the certificate (PEM); only its owner may read it.")
    ] = None
    tls_client_ca: Annotated[
        Text | None,
        Meta(
            description="File with the authorities (PEM) whose certificates clients must show. None: no matter whose."
        ),
    ] = None
    ops_port: Annotated[
        Port | None,
        Meta(
            description="A second port, for health, readiness and heartbeats only, that a flood on the main one leaves."
        ),
    ] = None
    rate_limit: Annotated[
        Annotated[float, Meta(ge=0, le=1_000_000)],
        Meta(description="Requests a second from one principal, and from one address elsewhere. 0: any number."),
    ] = 1000.0
    rate_limit_burst: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)], Meta(description="Requests at once that are within the rate.")
    ] = 5000
    max_requests_per_caller: Annotated[
        Annotated[int, Meta(ge=1, le=1024)], Meta(description="Requests of one caller that are under way at a time.")
    ] = 512
    max_streams_per_caller: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)],
        Meta(description="Event streams and sockets of one caller that are open."),
    ] = 256
    max_streams: Annotated[
        Annotated[int, Meta(ge=16, le=10_000)],
        Meta(description="Event streams and sockets of all callers that are open."),
    ] = 512
    callback_networks: Annotated[
        list[Annotated[str, Meta(extra={"check": check_network})]],
        Meta(description="Networks into which requests may go whose URL others have given, such as `10.1.0.0/16`."),
    ] = []
    agent_card_keys: Annotated[
        Text | None,
        Meta(
            description="File with public keys (a JWK set): only agent cards that one of them has signed are accepted."
        ),
    ] = None
    audit_limit: Annotated[
        Annotated[int, Meta(ge=1_000, le=1_000_000_000)],
        Meta(description="How many entries of the audit log are kept in the database."),
    ] = 1_000_000
    audit_heads: Annotated[
        Text | None,
        Meta(description="File with the signed heads of the audit log. None: audit-heads.jsonl in the data directory."),
    ] = None


class RoleSpec(Section, frozen=True, kw_only=True):
    """A role of your own in security.json."""

    permissions: Annotated[
        list[Annotated[str, Meta(extra={"check": check_permission})]],
        Meta(description="What it permits: permissions such as `components:control`, or names of actions."),
    ]
    components: Annotated[
        list[Annotated[str, Meta(extra={"check": check_component_pattern})]] | None,
        Meta(description="For which components, as patterns such as `web-*`. None: for all of them."),
    ] = None
    publish: Annotated[
        list[Annotated[str, Meta(extra={"check": check_published})]],
        Meta(description="Subjects that may be published to besides, as patterns such as `orders.>`."),
    ] = []
    subscribe: Annotated[
        list[Annotated[str, Meta(extra={"check": check_subscribed})]],
        Meta(description="Subjects that may be subscribed to besides, as patterns such as `orders.>`."),
    ] = []
    tools: Annotated[
        list[Annotated[str, Meta(extra={"check": check_called})]],
        Meta(description="Tools that may be called without `tools:call`, as patterns such as `engram.*`."),
    ] = []
    consume: Annotated[
        list[Annotated[str, Meta(extra={"check": check_consumed})]],
        Meta(description="Consumers of others that may be worked with, as patterns of `<stream>/<consumer>`."),
    ] = []


class SecurityFile(Section, frozen=True, kw_only=True):
    """security.json."""

    schema: Schema = msgspec.field(name="$schema", default=None)
    security: SecuritySettings = SecuritySettings()
    roles: Annotated[dict[RoleName, RoleSpec], Meta(description="Roles besides those that are built in.")] = {}
    principals: Annotated[dict[Subject, list[Text]], Meta(description="The roles of each subject.")] = {}
