"""How often wrong credentials may be tried: what is counted, and whom it holds up."""

from collections.abc import Callable

import pytest

from tekton.auth.principal import Principal, owner
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError
from tekton.gateway.errors import RateLimitedError
from tekton.gateway.logins import PER_ACCOUNT, PER_ADDRESS, LoginThrottle, account_of
from tekton.gateway.request import Request
from tekton.testing.clock import ManualClock

ELSEWHERE = "192.0.2.7:5000"
KEY = "tk_abcdefghijkl_"

MakeRequest = Callable[..., Request]


class Door:
    """A policy with a throttle. `valid` are the credentials that are, `asked` those that were looked at."""

    def __init__(self, make_request: MakeRequest) -> None:
        self.clock = ManualClock()
        self.valid = {"s3cret"}
        self.asked: list[str] = []
        self.reported: list[str] = []
        self.epoch = 0
        self._make_request = make_request
        self._policy = AccessPolicy(
            self.identify,
            epoch=lambda: self.epoch,
            report=lambda _, reason: self.reported.append(reason),
            logins=LoginThrottle(),
            clock=self.clock,
        )

    def identify(self, credential: str) -> Principal:
        self.asked.append(credential)
        if credential not in self.valid:
            raise InvalidCredentialError("unknown")
        return owner("credential")

    def knock(self, credential: str, client: str = ELSEWHERE) -> str:
        """What comes of it: the subject, or the code of the refusal."""
        request = self._make_request(("authorization", f"Bearer {credential}"), client=client)
        try:
            return self._policy.principal_of(request).subject
        except (InvalidCredentialError, RateLimitedError) as error:
            return error.code

    def guess(self, count: int, client: str = ELSEWHERE, prefix: str = "guess") -> list[str]:
        return [self.knock(f"{prefix}{number}", client) for number in range(count)]


@pytest.fixture
def door(make_request: MakeRequest) -> Door:
    return Door(make_request)


def test_of_two_thousand_guesses_from_an_address_a_hundred_are_looked_at(door: Door) -> None:
    answers = door.guess(2_000)

    assert answers == ["unauthenticated"] * PER_ADDRESS + ["rate_limited"] * (2_000 - PER_ADDRESS)
    assert len(door.asked) == len(door.reported) == PER_ADDRESS


def test_of_two_thousand_guesses_at_a_key_from_everywhere_five_are_looked_at(door: Door) -> None:
    answers = [door.knock(f"{KEY}{number}", f"192.0.2.{number % 256}:1") for number in range(2_000)]

    assert answers == ["unauthenticated"] * PER_ACCOUNT + ["rate_limited"] * (2_000 - PER_ACCOUNT)


def test_the_right_credential_is_answered_like_a_wrong_one_meanwhile(door: Door) -> None:
    door.guess(PER_ADDRESS)

    assert door.knock("s3cret") == door.knock("wrong") == "rate_limited"
    assert "s3cret" not in door.asked


def test_nobody_is_locked_out_for_good(door: Door) -> None:
    door.guess(PER_ADDRESS)

    door.clock.advance(60 / PER_ADDRESS)

    assert door.knock("s3cret") == "owner"


def test_a_refusal_does_not_make_it_longer(door: Door) -> None:
    door.guess(PER_ADDRESS)
    for _ in range(59):
        door.clock.advance(0.01)
        assert door.knock("s3cret") == "rate_limited"

    door.clock.advance(0.01)

    assert door.knock("s3cret") == "owner"


def test_an_account_comes_back_after_twelve_seconds(door: Door) -> None:
    door.valid.add(f"{KEY}right")
    door.guess(PER_ACCOUNT, prefix=KEY)

    door.clock.advance(11.9)
    assert door.knock(f"{KEY}right", "192.0.2.99:1") == "rate_limited"
    door.clock.advance(0.2)
    assert door.knock(f"{KEY}right", "192.0.2.99:1") == "owner"


def test_who_was_let_in_before_is_not_kept_out_by_those_who_guess(door: Door) -> None:
    door.knock("s3cret")
    door.guess(1000)
    assert door.knock("s3cret") == "owner"

    door.epoch += 1  # what was remembered counts no more: it is looked at again

    assert door.knock("s3cret") == "owner"


def test_who_has_lost_the_right_has_one_more_look_and_then_counts_as_a_stranger(door: Door) -> None:
    door.knock("s3cret")
    door.guess(1000)
    door.valid.clear()
    door.epoch += 1

    assert [door.knock("s3cret") for _ in range(2)] == ["unauthenticated", "rate_limited"]


def test_an_address_does_not_count_for_another(door: Door) -> None:
    door.guess(1000)

    assert door.knock("s3cret", "192.0.2.8:1") == "owner"


def test_the_addresses_of_an_ipv6_network_are_one(door: Door) -> None:
    for number in range(PER_ADDRESS):
        door.knock(f"guess{number}", f"[2001:db8::{number:x}]:1")

    assert door.knock("s3cret", "[2001:db8::ffff]:1") == "rate_limited"
    assert door.knock("s3cret", "[2001:db8:0:1::1]:1") == "owner"


def test_the_unix_socket_is_not_counted(door: Door) -> None:
    assert set(door.guess(1000, client="")) == {"unauthenticated"}


def test_programs_of_this_machine_do_not_keep_out_one_another(door: Door) -> None:
    """They all come from one address, and one that guesses must not keep components from showing new credentials."""
    for client in ("127.0.0.1:7", "[::1]:7"):
        assert set(door.guess(1000, client=client)) == {"unauthenticated"}
        assert door.knock("s3cret", client) == "owner"
    assert door.guess(PER_ACCOUNT + 1, client="127.0.0.1:7", prefix=KEY)[-1] == "rate_limited"


def test_the_memory_of_failures_has_an_end() -> None:
    throttle = LoginThrottle()

    for number in range(20_000):
        throttle.failed(f"10.0.{number // 256}.{number % 256}:1", f"account {number}", 0.0)

    assert len(throttle._addresses) <= 16_384
    assert len(throttle._accounts) <= 16_384


@pytest.mark.parametrize(
    ("credential", "account"),
    [
        ("tk_abcdefghijkl_xyz", "abcdefghijkl"),
        (f"tk_{'a' * 1000}_x", "a" * 64),
        ("tk_abc", None),
        ("tk__x", None),
        ("tk", None),
        ("", None),
        ("eyJhbGciOiJFZERTQSJ9.e30.x_y_z", None),
    ],
)
def test_a_key_names_its_account_and_nothing_else_does(credential: str, account: str | None) -> None:
    assert account_of(credential) == account
