"""Spans as OTLP/HTTP carries them: protobuf or JSON, gzip or not. https://opentelemetry.io/docs/specs/otlp/

What is read was sent by anybody: a body is unpacked to at most `MAX_UNPACKED` bytes, and what is kept of it is bounded
(`otlp_spans`). Only what cannot be read at all is refused as a whole.
"""

import zlib
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from tekton.utils import protobuf_wire as wire
from tekton.utils.otlp_json import TooManyObjectsError, encode, read_json
from tekton.utils.otlp_protobuf import read_protobuf
from tekton.utils.otlp_spans import MAX_SPANS, Received

__all__ = [
    "MAX_SPANS",
    "MAX_UNPACKED",
    "MEDIA_TYPES",
    "Encoding",
    "OtlpError",
    "OtlpTooLargeError",
    "Received",
    "decode",
    "encode",
    "problem",
    "response",
    "unpack",
]

Encoding = Literal["protobuf", "json"]

MEDIA_TYPES: Final[Mapping[str, Encoding]] = {"application/x-protobuf": "protobuf", "application/json": "json"}
MAX_UNPACKED: Final = 4 * 1024 * 1024

_GZIP: Final = 31  # zlib: a gzip header, the largest window


class OtlpError(ValueError):
    """A body that cannot be read."""


class OtlpTooLargeError(OtlpError):
    """A body that is more than we are ready to read."""


def unpack(body: bytes, content_encoding: str) -> bytes:
    """The content of a body that is `gzip`, or nothing in particular. Raises OtlpError."""
    if content_encoding in ("", "identity"):
        if len(body) > MAX_UNPACKED:
            raise OtlpTooLargeError(f"more than {MAX_UNPACKED} bytes")
        return body
    if content_encoding != "gzip":
        raise OtlpError(f"the content encoding {content_encoding[:32]!r} is not known: use gzip, or none")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        content = unpacking.decompress(body, MAX_UNPACKED + 1)
    except zlib.error:
        raise OtlpError("it is not gzip") from None
    if len(content) > MAX_UNPACKED:
        raise OtlpTooLargeError(f"more than {MAX_UNPACKED} bytes when it is unpacked")
    if not unpacking.eof or unpacking.unused_data:
        raise OtlpError("it is not one whole gzip stream")
    return content


def decode(content: bytes, encoding: Encoding) -> Received:
    """The spans of an ExportTraceServiceRequest. Raises OtlpError."""
    received = Received()
    try:
        (read_json if encoding == "json" else read_protobuf)(content, received)
    except (TooManyObjectsError, wire.TooManyFieldsError) as error:
        raise OtlpTooLargeError(str(error)) from None
    except ValueError as error:
        raise OtlpError(str(error)) from None
    return received


def response(received: Received, encoding: Encoding) -> bytes:
    """The ExportTraceServiceResponse: nothing, unless spans were left out."""
    if not received.rejected:
        return b"{}" if encoding == "json" else b""
    if encoding == "json":
        partial = {"rejectedSpans": str(received.rejected), "errorMessage": received.reason}
        return msgspec.json.encode({"partialSuccess": partial})
    rejected = wire.varint(1 << 3 | wire.VARINT) + wire.varint(received.rejected)
    return wire.field(1, rejected + wire.field(2, received.reason.encode()))


def problem(message: str, encoding: Encoding) -> bytes:
    """The google.rpc.Status that says why a request was refused."""
    return msgspec.json.encode({"message": message}) if encoding == "json" else wire.field(2, message.encode())
