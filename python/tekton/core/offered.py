"""What a component offers when it registers, be it tools or agents: the limits that hold for both, and how it is kept.

What stands in a registration is anybody's. What is kept of it shares nothing with what was given, and is plain JSON.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from tekton.utils.json_depth import is_deeper
from tekton.utils.tekton_errors import InvalidRegistrationError

MAX_BYTES: Final = 64 * 1024
"""Of all the tools, and of all the agents, as JSON."""
MAX_DEPTH: Final = 64

_OfferT = TypeVar("_OfferT")

_encode = msgspec.json.Encoder().encode


def kept(
    field: str,
    offers: tuple[_OfferT, ...],
    decode: Callable[[bytes], tuple[_OfferT, ...]],
    free: Callable[[_OfferT], tuple[Any, ...]],
) -> tuple[_OfferT, ...]:
    """A copy of *offers*, which stand at *field* of a registration, made by *decode* out of their JSON.

    *free* gives those members of one that may be any JSON. Raises InvalidRegistrationError.
    """
    try:
        data = _encode(offers)
        if len(data) > MAX_BYTES:
            raise InvalidRegistrationError(field, f"larger than {MAX_BYTES} bytes as JSON")
        copied = decode(data)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).removesuffix("`").partition(" - at `$")
        pointer = path.replace("[", "/").replace("]", "").replace(".", "/")
        raise InvalidRegistrationError(f"{field}{pointer}", problem) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRegistrationError(field, f"cannot be JSON: {error}") from None
    # One such record could not be written as part of a list, and so would spoil every list.
    if any(is_deeper(free(one), MAX_DEPTH) for one in copied):
        raise InvalidRegistrationError(field, f"nested more than {MAX_DEPTH} levels deep")
    return copied
