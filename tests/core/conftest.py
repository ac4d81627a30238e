"""Fixtures of the core tests."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import RegistryStore

_P = ParamSpec("_P")
_T = TypeVar("_T")


class InlineExecutor(Executor):
    """Does the work where it is submitted. A thread would race against virtual time."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def make_inline_registry(store: RegistryStore | None = None) -> ComponentRegistry:
    """A registry (in memory without *store*) that commits without a thread."""
    return ComponentRegistry(store=store, executor=InlineExecutor())


@pytest.fixture
def inline_registry() -> ComponentRegistry:
    """A registry in memory for tests in virtual time."""
    return make_inline_registry()


@pytest.fixture
def new_inline_registry() -> Callable[..., ComponentRegistry]:
    """Makes registries for tests in virtual time that need several."""
    return make_inline_registry
