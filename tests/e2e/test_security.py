"""Who may do what in a running system: components with their own credential, tokens, keys, and their end."""

import asyncio
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

Json = dict[str, Any]

TALKER = """
import json, os, time, urllib.error, urllib.request

def tell(method, path, body=None):
    request = urllib.request.Request(
        os.environ["TEKTON_URL"] + path, None if body is None else json.dumps(body).encode(), method=method,
        headers={"content-type": "application/json",
                 "authorization": "Bearer " + open(os.environ["TEKTON_CREDENTIAL_FILE"]).read()})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0

me = {"instance_uuid": os.environ["TEKTON_INSTANCE_UUID"]}
print("own", tell("POST", "/api/components/talker/ready", me), flush=True)
while True:
    print("beat", tell("POST", "/api/components/talker/heartbeat", me), flush=True)
    time.sleep(0.1)
"""

SECURITY = {
    "roles": {"deployer": {"permissions": ["components:control", "read_components"], "components": ["talk*"]}},
    "principals": {"dora": ["deployer"], "mona": ["monitor"], "billing": ["component"]},
}


class Caller:
    """Somebody who calls over TCP, with a credential or without."""

    def __init__(self, system: Any, credential: str | None = None) -> None:
        self.system = system
        self.credential = credential

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port, timeout=10)
        headers = {"content-type": "application/json"} if body is not None else {}
        if self.credential is not None:
            headers["authorization"] = f"Bearer {self.credential}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def status(self, method: str, path: str, body: Any = None) -> int:
        return self.ask(method, path, body)[0]


def write_security(system: Any, policy: Json) -> None:
    (system.directory / "security.json").write_text(json.dumps(policy))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, start_tekton: Any) -> Iterator[Any]:
    """One control plane for all tests of this file."""
    tekton = start_tekton(tmp_path_factory.mktemp("security"))
    tekton.configure(
        {
            "talker": {"command": ["python3", "-c", TALKER], "ready": {"heartbeat": True}},
            "other": {"command": ["sh", "-c", "echo hush; exec sleep 1000"], "ready": {"log": "hush"}},
        }
    )
    write_security(tekton, SECURITY)
    try:
        tekton.up()
        tekton.until("talker")
        tekton.until("other")
        yield tekton
    finally:
        tekton.kill()


@pytest.fixture
def owner(system: Any) -> Caller:
    return Caller(system, (system.data_dir / "run" / "credential").read_text())


@pytest.fixture
def talker(system: Any) -> Caller:
    """The component, as somebody who has read its file."""
    return Caller(system, (system.data_dir / "run" / "credentials" / "talker").read_text())


@pytest.fixture
def token(owner: Caller) -> Callable[..., str]:
    """`token("mona")`: a token of hers, with all the roles that are bound to her, or some."""

    def make(subject: str, *roles: str) -> str:
        order = {"subject": subject} | ({"roles": list(roles)} if roles else {})
        status, made = owner.ask("POST", "/api/auth/token", order)
        assert status == 201, made
        return str(made["token"])

    return make


def instance_of(system: Any, component_id: str) -> str:
    return str(system.component(component_id)["instance_uuid"])


# Components


def test_a_component_proves_with_its_own_credential_who_it_is(system: Any, talker: Caller, eventually: Any) -> None:
    status, who = talker.ask("GET", "/api/auth/whoami")

    assert (status, who["subject"], who["roles"], who["via"]) == (200, "talker", ["component"], "credential")
    file = system.data_dir / "run" / "credentials" / "talker"
    assert file.stat().st_mode & 0o777 == 0o400
    assert talker.credential != (file.parent / "other").read_text()
    eventually(lambda: "own 200" in system.get("/api/components/talker/logs?tail=1000")["lines"], "it has used it")


def test_a_component_speaks_for_itself_and_for_nobody_else(system: Any, talker: Caller) -> None:
    own, other = ({"instance_uuid": instance_of(system, name)} for name in ("talker", "other"))

    assert talker.status("POST", "/api/components/talker/heartbeat", own) == 200
    assert talker.status("POST", "/api/components/other/heartbeat", other) == 403
    assert talker.status("PUT", "/api/components/other/state", {**other, "state": "failed"}) == 403
    assert talker.status("POST", "/api/components", {"component_id": "other"}) == 403
    assert talker.status("DELETE", f"/api/components/other?instance_uuid={other['instance_uuid']}") == 403
    beats = [{"component_id": "talker", **own}, {"component_id": "other", **other}]
    assert talker.status("POST", "/api/heartbeats", {"heartbeats": beats}) == 403
    assert talker.status("POST", "/api/heartbeats", {"heartbeats": beats[:1]}) == 200
    assert system.state("other") == "ready"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/components/talker/stop"),
        ("POST", "/api/components/talker/kill"),
        ("GET", "/api/components/talker/logs"),
        ("POST", "/api/system/stop"),
        ("POST", "/api/system/reload"),
    ],
)
def test_a_component_controls_nothing_not_even_itself(talker: Caller, method: str, path: str) -> None:
    status, problem = talker.ask(method, path)

    assert (status, problem["code"]) == (403, "forbidden")


def test_a_component_cannot_give_itself_a_role(talker: Caller) -> None:
    for order in (
        {"roles": ["admin"]},
        {"subject": "other"},
        {"subject": "owner"},
        {"roles": ["component", "monitor"]},
    ):
        assert talker.status("POST", "/api/auth/token", order) == 403
        assert talker.status("POST", "/api/keys", order) == 403
    assert talker.status("POST", "/api/auth/token", {"claims": {"role": "admin"}}) == 422
    status, made = talker.ask("POST", "/api/auth/token", {"claims": {"scope": "everything"}})
    assert (status, made["roles"]) == (201, ["component"])
    again = Caller(talker.system, made["token"])
    assert again.ask("GET", "/api/auth/whoami")[1]["roles"] == ["component"]
    assert again.status("POST", "/api/system/stop") == 403


@pytest.mark.parametrize("component_id", ["talker", "billing"])
def test_nobody_speaks_without_a_credential_for_who_can_prove_who_it_is(system: Any, component_id: str) -> None:
    anonymous = Caller(system)
    who = {"instance_uuid": "00000000-0000-4000-8000-000000000001"}

    assert anonymous.status("POST", "/api/components", {"component_id": component_id}) == 401
    assert anonymous.status("POST", f"/api/components/{component_id}/heartbeat", who) == 401
    assert anonymous.status("POST", "/api/heartbeats", {"heartbeats": [{"component_id": component_id, **who}]}) == 401


def test_a_component_that_runs_elsewhere_registers_with_its_token(system: Any, token: Callable[..., str]) -> None:
    billing = Caller(system, token("billing"))

    status, answer = billing.ask("POST", "/api/components", {"component_id": "billing"})

    assert status == 201
    who = {"instance_uuid": answer["component"]["instance_uuid"]}
    assert billing.status("POST", "/api/components/billing/ready", who) == 200
    assert Caller(system).status("PUT", "/api/components/billing/state", {**who, "state": "failed"}) == 401
    assert billing.status("DELETE", f"/api/components/billing?instance_uuid={who['instance_uuid']}") == 200


def test_a_restart_of_the_control_plane_knows_the_credentials_that_its_components_have(
    system: Any, eventually: Any
) -> None:
    before = (system.data_dir / "run" / "credentials" / "talker").read_text()
    pid, component = system.control_pid, system.component("talker")["pid"]

    os.kill(pid, signal.SIGKILL)

    eventually(lambda: _control_pid(system) not in (pid, None) and system.answers(), "another control plane")
    assert system.until("talker")["pid"] == component
    seen = len(system.get("/api/components/talker/logs?tail=10000")["lines"])
    eventually(
        lambda: "beat 200" in system.get("/api/components/talker/logs?tail=10000")["lines"][seen:],
        "a heartbeat after the restart",
    )
    assert (system.data_dir / "run" / "credentials" / "talker").read_text() == before
    assert "beat 401" not in system.get("/api/components/talker/logs?tail=10000")["lines"]


# What a role may see


def test_what_components_have_written_is_for_those_who_may_read_logs(
    system: Any, owner: Caller, token: Callable[..., str]
) -> None:
    path = "/api/components/other/why"
    evidence = {
        name: caller.ask("GET", path)[1]["evidence"]
        for name, caller in {
            "owner": owner,
            "monitor": Caller(system, token("mona")),
            "deployer": Caller(system, token("dora")),
            "anonymous": Caller(system),
        }.items()
    }

    assert evidence == {"owner": ["hush"], "monitor": ["hush"], "deployer": [], "anonymous": []}


def test_a_role_of_ones_own_holds_for_the_components_that_it_names(system: Any, token: Callable[..., str]) -> None:
    dora = Caller(system, token("dora"))

    assert dora.status("POST", "/api/components/other/restart?wait=1") == 403
    assert dora.status("POST", "/api/components/talker/restart?wait=1") == 200
    assert dora.ask("GET", "/api/auth/can-i?action=manage_components&component_id=talker")[1]["allowed"] is True
    assert dora.ask("GET", "/api/auth/can-i?action=manage_components")[1]["allowed"] is False
    status, problem = dora.ask("GET", "/api/auth/can-i?action=components:contrl")
    assert (status, problem["nearest"]) == (422, "components:control")


def test_a_changed_policy_holds_at_once(system: Any, token: Callable[..., str], eventually: Any) -> None:
    mona = Caller(system, token("mona"))
    path = "/api/components/other/logs"
    assert mona.status("GET", path) == 200

    write_security(system, {**SECURITY, "principals": {"dora": ["deployer"], "billing": ["component"]}})
    os.kill(system.control_pid, signal.SIGHUP)
    eventually(lambda: mona.status("GET", path) == 403, "the role is not bound any more")
    write_security(system, {**SECURITY, "principals": {**SECURITY["principals"], "mona": ["no-such-role"]}})
    status, problem = system.request("POST", "/api/system/reload")
    write_security(system, SECURITY)
    report = system.request("POST", "/api/system/reload")

    assert (status, problem["code"]) == (422, "config_invalid")
    assert (report[0], report[1]["settings"]) == (200, ["principals"])
    assert mona.status("GET", path) == 200


# Tokens


def test_who_one_is_without_showing_anything(system: Any) -> None:
    who = Caller(system).ask("GET", "/api/auth/whoami")[1]
    through_socket = system.get("/api/auth/whoami")

    assert (who["subject"], who["roles"], who["via"]) == ("anonymous", ["anonymous"], "none")
    assert (through_socket["subject"], through_socket["roles"], through_socket["via"]) == ("owner", ["admin"], "socket")


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/auth/token"), ("GET", "/api/keys"), ("POST", "/api/keys")])
def test_who_has_shown_nothing_is_given_nothing(system: Any, method: str, path: str) -> None:
    assert Caller(system).status(method, path, {} if method == "POST" else None) == 401


def test_all_refusals_of_a_credential_are_the_same(system: Any, token: Callable[..., str]) -> None:
    good = token("mona")
    head, body, signature = good.split(".")
    key = "tk_aaaaaaaaaaaa_" + "b" * 49
    wrong = [
        "",
        "x",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        key,
        good + "=",
        f"{body}.{head}.{signature}",
    ]

    answers = {json.dumps(Caller(system, credential).ask("GET", "/api/components")) for credential in wrong}

    assert len(answers) == 1
    assert json.loads(answers.pop())[0] == 401


def test_a_revoked_token_is_refused_at_once_and_after_a_crash(
    system: Any, owner: Caller, token: Callable[..., str], eventually: Any
) -> None:
    revoked, kept = Caller(system, token("mona")), Caller(system, token("mona"))
    path = "/api/components/other/logs"
    assert (revoked.status("GET", path), kept.status("GET", path)) == (200, 200)

    status, answer = revoked.ask("POST", "/api/auth/revoke", {"token": revoked.credential})

    assert (status, answer["revoked"][:6]) == (200, "token:")
    assert (revoked.status("GET", path), kept.status("GET", path)) == (401, 200)
    listed = owner.ask("GET", "/api/auth/revocations")[1]
    assert answer["revoked"] in [item["about"] for item in listed["items"]]
    pid = system.control_pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: _control_pid(system) not in (pid, None) and system.answers(), "another control plane")
    assert (revoked.status("GET", path), kept.status("GET", path)) == (401, 200)


def test_a_subject_that_is_barred_gets_nothing_until_it_is_restored(
    system: Any, owner: Caller, token: Callable[..., str]
) -> None:
    mona = Caller(system, token("mona"))
    key = owner.ask("POST", "/api/keys", {"subject": "mona", "expires_in": 60})[1]
    with_key = Caller(system, key["key"])
    assert (mona.status("GET", "/api/components"), with_key.status("GET", "/api/components")) == (200, 200)

    assert owner.status("POST", "/api/auth/revoke", {"subject": "mona", "bar": True}) == 200

    assert (mona.status("GET", "/api/components"), with_key.status("GET", "/api/components")) == (401, 401)
    assert owner.status("POST", "/api/auth/revoke", {"subject": "mona", "restore": True}) == 200
    assert (mona.status("GET", "/api/components"), with_key.status("GET", "/api/components")) == (401, 200)
    assert owner.status("DELETE", f"/api/keys/{key['id']}") == 200


def test_others_tokens_are_revoked_by_who_manages_them(system: Any, token: Callable[..., str]) -> None:
    mona, dora = Caller(system, token("mona")), Caller(system, token("dora"))

    assert dora.status("POST", "/api/auth/revoke", {"token": mona.credential}) == 403
    assert dora.status("POST", "/api/auth/revoke", {"subject": "mona"}) == 403
    assert mona.status("GET", "/api/components") == 200


def test_a_role_is_taken_from_a_subject(system: Any, token: Callable[..., str], owner: Any) -> None:
    path = "/api/audit"
    deputy = Caller(system, token("deputy", "admin"))
    assert deputy.status("GET", path) == 200

    status, answer = owner.ask("POST", "/api/auth/revoke", {"subject": "deputy", "roles": ["admin"]})

    assert (status, answer) == (200, {"revoked": "roles:deputy"})
    assert deputy.status("GET", path) == 403
    assert owner.status("POST", "/api/auth/revoke", {"subject": "mona", "roles": ["monitor"]}) == 422, "configured"
    assert owner.status("POST", "/api/auth/revoke", {"token_id": "t", "roles": ["monitor"]}) == 422
    assert owner.status("POST", "/api/auth/revoke", {"subject": "a", "roles": ["b"], "bar": True}) == 422


async def test_what_is_open_ends_when_the_token_is_revoked(
    system: Any, owner: Caller, token: Callable[..., str]
) -> None:
    text = await asyncio.to_thread(token, "mona")
    headers = {"authorization": f"Bearer {text}"}
    url = f"http://127.0.0.1:{system.port}"

    async with asyncio.timeout(10), aiohttp.ClientSession(headers=headers) as session:
        socket = await session.ws_connect(f"{url}/ws")
        events = await session.get(f"{url}/events/components")
        assert events.status == 200
        revoked = await asyncio.to_thread(owner.ask, "POST", "/api/auth/revoke", {"token": text})
        assert revoked[0] == 200

        # The ping of a quiet connection comes after 15 s.
        goodbye = json.loads(await socket.receive_str())
        rest = (await events.content.read()).decode()

    assert (goodbye["op"], goodbye["reason"]) == ("bye", "unauthenticated")
    assert '"reason":"unauthenticated"' in rest.rpartition("event: bye")[2]


def test_what_one_asks_for_oneself_ends_with_what_one_has_shown(system: Any, owner: Caller) -> None:
    short = owner.ask("POST", "/api/auth/token", {"subject": "mona", "expires_in": 60})[1]
    mona = Caller(system, short["token"])

    again = mona.ask("POST", "/api/auth/token", {"expires_in": 3600})[1]
    key = mona.ask("POST", "/api/keys", {})[1]

    assert again["expires_at"] <= short["expires_at"]
    assert key["expires_at"] <= short["expires_at"]
    mona.ask("DELETE", f"/api/keys/{key['id']}")


def test_asking_again_and_again_makes_nothing_last_longer(system: Any, owner: Caller) -> None:
    first = made = owner.ask("POST", "/api/auth/token", {"subject": "mona", "expires_in": 60})[1]

    for _ in range(3):
        made = Caller(system, made["token"]).ask("POST", "/api/auth/token", {})[1]

    assert made["expires_at"] <= first["expires_at"]


def test_a_claim_adds_no_role_to_those_that_one_has_shown(system: Any, owner: Caller) -> None:
    """The owner has all roles: a token that names one of them is given away for that one alone."""
    limited = Caller(system, owner.ask("POST", "/api/auth/token", {"roles": ["monitor"]})[1]["token"])

    status, problem = limited.ask("POST", "/api/auth/token", {"claims": {"role": "admin"}})

    assert (status, problem["pointer"]) == (422, "/claims/role"), problem


def test_the_keys_that_verify_are_published(system: Any, token: Callable[..., str]) -> None:
    keys = Caller(system).ask("GET", "/.well-known/jwks.json")[1]["keys"]

    assert [(key["kty"], key["crv"], key["alg"], "d" in key) for key in keys] == [("OKP", "Ed25519", "EdDSA", False)]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/api/auth/token", {"sub": "x"}, "/sub"),
        ("/api/auth/token", {"subject": "ci", "roles": ["admni"]}, "/roles/0"),
        ("/api/auth/token", {"subject": "owner"}, None),
        ("/api/auth/token", {"subject": "anonymous"}, "/subject"),
        ("/api/auth/token", {"subject": "a b"}, "/subject"),
        ("/api/auth/token", {"expires_in": 90_000}, "/expires_in"),
        ("/api/auth/token", {"claims": {"exp": 4e9}}, "/claims"),
        ("/api/auth/token", {"roles": ["anonymous"]}, "/roles/0"),
        ("/api/auth/revoke", {}, ""),
        ("/api/auth/revoke", {"token_id": "a", "subject": "b"}, ""),
        ("/api/keys", {"id": "x"}, "/id"),
        ("/api/keys", {"last_used": 1}, "/last_used"),
        ("/api/keys", {"expires_in": 0}, "/expires_in"),
    ],
)
def test_what_cannot_be_ordered_is_refused_at_its_place(
    owner: Caller, path: str, body: Json, pointer: str | None
) -> None:
    status, problem = owner.ask("POST", path, body)

    if pointer is None:
        assert status == 201
    else:
        assert (status, problem.get("pointer")) == (422, pointer), problem


# Keys


def test_a_key_lives_until_it_is_rotated_and_removed(system: Any, owner: Caller) -> None:
    status, first = owner.ask("POST", "/api/keys", {"subject": "carl", "roles": ["monitor"], "label": "charts"})
    assert status == 201
    carl = Caller(system, first["key"])
    assert carl.ask("GET", "/api/auth/whoami")[1]["roles"] == ["monitor"]
    assert carl.status("GET", "/api/components/other/logs") == 200

    status, second = carl.ask("POST", f"/api/keys/{first['id']}/rotate", {"overlap": 0})

    assert status == 201
    assert (second["subject"], second["roles"], second["label"]) == ("carl", ["monitor"], "charts")
    assert carl.status("GET", "/api/components") == 401
    carl = Caller(system, second["key"])
    listed = carl.ask("GET", "/api/keys")[1]["items"]
    assert [item["id"] for item in listed] == [first["id"], second["id"]]
    assert listed[1]["last_used"] is not None
    assert not any({"key", "digest"} & item.keys() for item in listed)
    assert owner.status("DELETE", f"/api/keys/{second['id']}") == 200
    assert carl.status("GET", "/api/components") == 401


def test_who_has_shown_fewer_roles_than_a_key_has_gets_no_successor_of_it(
    system: Any, owner: Caller, token: Callable[..., str]
) -> None:
    key = owner.ask("POST", "/api/keys", {"subject": "dual", "roles": ["monitor", "operator"]})[1]
    limited = Caller(system, token("dual", "monitor"))

    status, problem = limited.ask("POST", f"/api/keys/{key['id']}/rotate", {})

    assert (status, problem["code"]) == (403, "forbidden"), problem
    status, successor = Caller(system, key["key"]).ask("POST", f"/api/keys/{key['id']}/rotate", {})
    assert status == 201
    for one in (key, successor):
        assert owner.status("DELETE", f"/api/keys/{one['id']}") == 200


def test_the_successor_of_a_key_ends_with_the_token_that_asked_for_it(
    system: Any, owner: Caller, token: Callable[..., str]
) -> None:
    key = owner.ask("POST", "/api/keys", {"subject": "brief", "roles": ["monitor"]})[1]
    short = owner.ask("POST", "/api/auth/token", {"subject": "brief", "expires_in": 60})[1]

    status, made = Caller(system, short["token"]).ask("POST", f"/api/keys/{key['id']}/rotate", {})

    assert status == 201
    assert made["expires_at"] <= short["expires_at"]
    for one in (key, made):
        assert owner.status("DELETE", f"/api/keys/{one['id']}") == 200


def test_a_third_key_is_refused(owner: Caller) -> None:
    for expected in (201, 201, 409):
        status, made = owner.ask("POST", "/api/keys", {"subject": "many", "roles": ["monitor"]})
        assert status == expected
    assert (made["code"], made["limit"]) == ("key_limit", 2)


def test_keys_of_others_do_not_exist(system: Any, owner: Caller, token: Callable[..., str]) -> None:
    made = owner.ask("POST", "/api/keys", {"subject": "hidden", "roles": ["monitor"]})[1]
    mona = Caller(system, token("mona"))

    assert mona.ask("GET", "/api/keys") == (200, {"items": []})
    assert mona.status("GET", "/api/keys?subject=hidden") == 403
    for key_id in (made["id"], "nosuchkey"):
        status, problem = mona.ask("DELETE", f"/api/keys/{key_id}")
        assert (status, problem["code"]) == (404, "api_key_not_found")
        assert mona.status("POST", f"/api/keys/{key_id}/rotate", {}) == 404
    assert Caller(system, made["key"]).status("GET", "/api/components") == 200


def test_the_command_line_is_who_its_credential_says(system: Any, owner: Caller, tmp_path: Path) -> None:
    key = system.run("auth", "key", "create", "--subject", "clara", "--role", "operator")
    assert (key.returncode, key.stdout.startswith("tk_")) == (0, True), key.stderr
    file = tmp_path / "key"
    file.write_text(key.stdout)
    environment = {"TEKTON_URL": f"http://127.0.0.1:{system.port}", "TEKTON_CREDENTIAL_FILE": str(file)}

    def run(*arguments: str) -> tuple[int, str]:
        done = system.run(*arguments, env=environment)
        return done.returncode, done.stdout

    assert run("auth", "whoami", "-o", "json")[1].find('"subject": "clara"') > 0
    assert run("auth", "can-i", "components:control", "other") == (0, "yes\n")
    assert run("auth", "can-i", "auth:manage") == (7, "no\n")
    assert run("auth", "token", "--subject", "somebody")[0] == 7
    code, token = run("auth", "token", "--role", "operator", "--expires-in", "5m")
    assert (code, token.count(".")) == (0, 2)
    assert Caller(system, token.strip()).ask("GET", "/api/auth/whoami")[1]["subject"] == "clara"


def _control_pid(system: Any) -> int | None:
    with suppress(OSError, ValueError, KeyError):
        return int(system.control_pid)
    return None
