"""From the problem document of an HTTP API (RFC 9457) back to the error that it tells of."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from tekton.utils.tekton_errors import ProblemError, TektonError

_MAX_SNIPPET = 200


def error_from_answer(status: int, body: bytes) -> TektonError:
    """The error for an answer that is not a success.

    A problem document with the code of one of our errors and that error's fields gives that error, with the
    document's `detail` as its text; everything else a `ProblemError`. Never raises, whatever the body holds.
    """
    document = _document(body)
    if document is None:
        return ProblemError(status, "http_error", _snippet(status, body))
    code = _text(document, "code") or "http_error"
    detail = _text(document, "detail") or _text(document, "title") or _snippet(status, body)
    hint = _text(document, "hint")
    error = _rebuilt(code, detail, document) or _problem(status, code, detail, document)
    error.args = (detail,)
    error.hint = hint or error.hint
    if document.get("relayed") is True:
        error.relayed = True
    return error


def _problem(status: int, code: str, detail: str, document: dict[str, Any]) -> ProblemError:
    error = ProblemError(status, code, detail)
    if (pointer := _text(document, "pointer")) is not None:
        error.pointer = pointer
    return error


def _rebuilt(code: str, detail: str, document: dict[str, Any]) -> TektonError | None:
    kind = next((kind for kind in _error_types(TektonError) if kind.__dict__.get("code") == code), None)
    if kind is None:
        return None
    if "__init__" not in kind.__dict__:
        return kind(detail)
    hints = typing.get_type_hints(kind.__init__)
    names = [name for name in inspect.signature(kind).parameters if name in document]
    try:
        return kind(**{name: msgspec.convert(document[name], hints[name]) for name in names})
    except (TypeError, msgspec.ValidationError):
        return None  # a field is missing or of another type: the document is of another version


def _error_types(base: type[TektonError]) -> Iterator[type[TektonError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _error_types(kind)


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) and value else None


def _snippet(status: int, body: bytes) -> str:
    text = " ".join(body[: 4 * _MAX_SNIPPET].decode("utf-8", "replace").split())
    text = "".join(character for character in text if character.isprintable())[:_MAX_SNIPPET]
    return f"HTTP status {status}: {text}" if text else f"HTTP status {status}"
