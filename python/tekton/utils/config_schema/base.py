"""What all sections of the configuration share: the types of single values, and that they refuse unknown keys."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tekton.utils.config_rules import (
    check_argument,
    check_capability,
    check_component,
    check_role_name,
    check_size,
    check_stream_name,
    check_subject,
    check_text,
)
from tekton.utils.tekton_ids import DOTTED_ID_PATTERN, ID_PATTERN

Id = Annotated[str, Meta(pattern=f"^{ID_PATTERN}$", extra={"check": check_component})]
Capability = Annotated[str, Meta(pattern=f"^{DOTTED_ID_PATTERN}$", extra={"check": check_capability})]
Text = Annotated[str, Meta(extra={"check": check_text})]
Argument = Annotated[str, Meta(extra={"check": check_argument})]
RoleName = Annotated[str, Meta(extra={"check": check_role_name})]
StreamName = Annotated[str, Meta(extra={"check": check_stream_name})]
Subject = Annotated[str, Meta(extra={"check": check_subject})]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
Share = Annotated[float, Meta(gt=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Size = Annotated[int | str, Meta(extra={"check": check_size})]
Schema = Annotated[str | None, Meta(description="Address of a JSON schema, for editors; Tekton ignores it.")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass
