"""Between parts of messages and artifacts, and what they are here: JSON, or content of a modality."""

import base64
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from tekton.a2a.whole_numbers import with_integers
from tekton.mcp.modality.code import CodeContent
from tekton.mcp.modality.image import ImageContent
from tekton.mcp.modality.parse import parse_content
from tekton.mcp.modality.text import PLAIN, TextContent
from tekton.service.edge.a2a.wire import Part, encode
from tekton.utils.tekton_errors import InvalidContentError

JSON: Final = "application/json"
INPUT_MODES: Final = ("text/plain", JSON)
"""What every agent takes."""
OUTPUT_MODES: Final = ("text/plain", JSON)

_FILE: Final = frozenset({"filename", "media_type", "data", "url"})
Everything: Final[Collection[str]] = ()
"""The accepted modes of who has not said which he takes."""


def takes(modes: Collection[str], media_type: str) -> bool:
    """Whether *media_type* is one of *modes*, in which `image/*` and `*/*` stand for many. No modes: all of them."""
    if not modes:
        return True
    bare = media_type.partition(";")[0].strip().lower()
    kind = bare.partition("/")[0]
    return any(mode.lower() in (bare, f"{kind}/*", "*/*") for mode in modes)


def parts_of(content: Any, accepted: Collection[str] = Everything) -> list[Part]:
    """*content*, a result, an artifact, or what was said, as one part that its reader can take.

    JSON is a text for who takes texts and no JSON. All else is what it is: there is no other form of it.
    """
    try:
        part = _as_file(content) or _of_modality(content)
    except InvalidContentError:  # an agent may return any JSON, what looks like a modality included
        part = None
    return [_structured(content, accepted) if part is None else part]


def _of_modality(content: Any) -> Part | None:
    """*content* as the part that it is of a modality; None for JSON."""
    match parse_content(content):
        case _ as one if one.reference is not None:
            return Part(url=one.reference.uri, media_type=one.reference.media_type)
        case TextContent(text=str() as text, media_type=media_type):
            return Part(text=text, media_type=media_type)
        case CodeContent(code=str() as code, language=language):
            return Part(text=code, media_type=f"text/x-{language}", metadata={"language": language})
        case ImageContent(data=bytes() as data, media_type=media_type):
            return Part(raw=data, media_type=media_type)
        case _:
            return None


def _structured(content: Any, accepted: Collection[str]) -> Part:
    if not takes(accepted, JSON) and takes(accepted, PLAIN):
        return Part(text=encode(content).decode(), media_type=PLAIN)
    return Part(data=content, media_type=JSON)


def inputs_of(parts: Sequence[Part], text_input: str = "text") -> dict[str, Any]:
    """The inputs of a task that *parts* are.

    Objects are inputs as they are. Texts, a line each, are the input *text_input*; files are in `files`, other JSON is
    in `data`. What an object names goes before what is made up here.
    """
    inputs: dict[str, Any] = {}
    texts = [part.text for part in parts if isinstance(part.text, str)]
    files = [_file(part) for part in parts if part.raw is not UNSET or part.url is not UNSET]
    data = [with_integers(part.data) for part in parts if part.data is not UNSET]
    other = [one for one in data if not isinstance(one, dict)]
    if texts:
        inputs[text_input] = "\n".join(texts)
    if files:
        inputs["files"] = files
    if other:
        inputs["data"] = other[0] if len(other) == 1 else other
    for one in data:
        if isinstance(one, dict):
            inputs |= one
    return inputs


def answer_of(parts: Sequence[Part]) -> Any:
    """What *parts* say as the answer to a question: a text, JSON, or, where there are several things, `inputs_of`."""
    if len(parts) == 1 and isinstance(parts[0].text, str):
        return parts[0].text
    if len(parts) == 1 and parts[0].data is not UNSET:
        return with_integers(parts[0].data)
    return inputs_of(parts)


def said(parts: Sequence[Part]) -> Any:
    """*parts* as what is kept of them in a conversation; `parts_said` makes the same of it again."""
    text = parts[0].text if len(parts) == 1 else UNSET
    if isinstance(text, str) and parts[0] in (Part(text=text), Part(text=text, media_type=PLAIN)):
        return text
    return {"parts": [msgspec.to_builtins(part) for part in parts]}


def parts_said(content: Any) -> list[Part]:
    """The parts of which `said` has made *content*."""
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        return msgspec.convert(content["parts"], list[Part])
    return parts_of(content)


def _file(part: Part) -> dict[str, Any]:
    named = {"filename": part.filename, "media_type": part.media_type}
    where = {"url": part.url} if isinstance(part.raw, UnsetType) else {"data": base64.b64encode(part.raw).decode()}
    return {name: value for name, value in named.items() if value} | where


def _as_file(content: Any) -> Part | None:
    """*content* as a file, if it has the form in which files are given to agents; None for anything else."""
    if not isinstance(content, dict) or not content.keys() <= _FILE or not content.keys() & {"filename", "media_type"}:
        return None
    if ("url" in content) == ("data" in content) or not all(isinstance(one, str) for one in content.values()):
        return None
    named = {"filename": content.get("filename", ""), "media_type": content.get("media_type", "")}
    if "url" in content:
        return Part(url=content["url"], **named)
    try:
        return Part(raw=base64.b64decode(content["data"], validate=True), **named)
    except ValueError:
        return None
