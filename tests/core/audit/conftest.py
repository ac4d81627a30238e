"""A registry in memory, and keys to sign with."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from tekton.core.audit.heads import Check, Sign, Signature
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall=1_700_000_000.0)


@pytest.fixture
async def registry(clock: ManualClock) -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry(clock=clock) as registry:
        yield registry


@pytest.fixture
def sign() -> Sign:
    """Signs with the key "one"."""
    return lambda message: Signature("one", hashlib.sha256(b"one" + message).digest())


@pytest.fixture
def check() -> Check:
    """Knows the key "one"."""

    def check(message: bytes, signature: Signature) -> bool | None:
        if signature.key != "one":
            return None
        return hashlib.sha256(b"one" + message).digest() == signature.value

    return check
