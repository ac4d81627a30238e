"""The tools that a component says it offers when it registers: what they are called, and how.

They are part of the registration, so they are there after a restart of either side, without anybody being asked, and
whatever language the component is written in. What is said is checked for its form only: a schema is anybody's text
until the component itself refuses arguments by it.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from tekton.core.offered import MAX_BYTES, MAX_DEPTH, kept
from tekton.utils.tekton_errors import InvalidRegistrationError
from tekton.utils.tekton_ids import check_id

MAX_TOOLS: Final = 256
MAX_TOOLS_BYTES: Final = MAX_BYTES
"""Of all that is said of them, as JSON."""
MAX_TOOLS_DEPTH: Final = MAX_DEPTH
MAX_TOOL_TIMEOUT: Final = 3600.0
_LONGEST_ID: Final = 255


class OfferedTool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One of them, called with a JSON object: `POST {endpoint}/api/tools/{name}`.

    `input_schema` is the JSON schema of that object, `output_schema` that of the result where it is known. `timeout` is
    for how many seconds a call may take. `annotations` are hints as the Model Context Protocol names them, of which
    `idempotentHint` and `readOnlyHint` say that a call may arrive twice without harm.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None
    timeout: Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MAX_TOOL_TIMEOUT})] = (
        60.0
    )
    annotations: dict[str, Any] = {}

    @property
    def harmless(self) -> bool:
        """True when the component says that a call may arrive twice."""
        return self.annotations.get("idempotentHint") is True or self.annotations.get("readOnlyHint") is True


Offered = tuple[OfferedTool, ...] | msgspec.UnsetType
"""The tools of a registration; unset where there are none, so that nothing is said of them."""

_decode = msgspec.json.Decoder(tuple[OfferedTool, ...]).decode


def checked_tools(component_id: str, tools: Iterable[OfferedTool]) -> Offered:
    """A copy of *tools* that shares nothing with it. Raises InvalidRegistrationError, InvalidIdError for a name."""
    tools = tuple(tools)
    if not tools:
        return msgspec.UNSET
    if len(tools) > MAX_TOOLS:
        raise InvalidRegistrationError("/tools", f"{len(tools)} tools; at most {MAX_TOOLS} are allowed")
    copied = kept("/tools", tools, _decode, lambda one: (one.input_schema, one.output_schema, one.annotations))
    known: set[str] = set()
    for place, tool in enumerate(copied):
        check_id(tool.name, f"/tools/{place}/name", dots=True)
        if (problem := _problem(component_id, tool, known)) is not None:
            raise InvalidRegistrationError(f"/tools/{place}{problem[0]}", problem[1])
        known.add(tool.name)
    return copied


def _problem(component_id: str, tool: OfferedTool, known: set[str]) -> tuple[str, str] | None:
    if tool.name in known:
        return "/name", f"there are two tools {tool.name}"
    if len(component_id) + 1 + len(tool.name) > _LONGEST_ID:
        return "/name", f"{component_id}.{tool.name} has more than {_LONGEST_ID} characters"
    if not 0 < tool.timeout <= MAX_TOOL_TIMEOUT:
        return "/timeout", f"must be more than 0 and at most {MAX_TOOL_TIMEOUT:g} seconds"
    return None
