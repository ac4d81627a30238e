"""Tests of tekton.core.capability_service: who serves a capability, and with what a fallback is called."""

import msgspec
import pytest

from tekton.core.capability_service import Fallback, merged, serve

LOCAL, CLOUD = Fallback("local", {"model": "small"}), Fallback("cloud")


@pytest.mark.parametrize(
    ("usable", "state", "served_by"),
    [
        ("rhetor spare local cloud", "normal", ("rhetor", "spare")),
        ("spare local", "normal", ("spare",)),
        ("local cloud", "fallback", ("local",)),
        ("cloud", "fallback", ("cloud",)),
        ("", "unavailable", ()),
    ],
)
def test_fallbacks_serve_in_their_order_while_nobody_else_can_be_used(
    usable: str, state: str, served_by: tuple[str, ...]
) -> None:
    service = serve("chat", ["rhetor", "spare"], [LOCAL, CLOUD], usable.split().__contains__)

    assert (service.state, service.served_by) == (state, served_by)


def test_a_fallback_that_offers_the_capability_itself_stays_a_fallback() -> None:
    everybody = serve("chat", ["local", "rhetor"], [LOCAL], lambda _: True)
    alone = serve("chat", ["local", "rhetor"], [LOCAL], lambda name: name == "local")

    assert (everybody.served_by, everybody.primary, everybody.fallback) == (("rhetor",), ("rhetor",), None)
    assert (alone.state, alone.fallback) == ("fallback", LOCAL)


class Wish(msgspec.Struct):
    text: str
    model: str = "large"


@pytest.mark.parametrize("data", [{"text": "a", "model": "large"}, Wish("a")])
def test_the_parameters_take_the_place_of_members_of_the_data(data: object) -> None:
    assert merged(data, {"model": "small"}) == {"text": "a", "model": "small"}


def test_without_parameters_any_data_is_what_it_was() -> None:
    data = ["a"]

    assert merged(data, {}) is data
    assert merged(None, {"model": "small"}) == {"model": "small"}


def test_parameters_have_no_place_in_data_that_is_no_object() -> None:
    with pytest.raises(TypeError, match="list"):
        merged(["a"], {"model": "small"})
