"""Verifying tokens of a control plane that may be anything: real sockets, and a server that does what it likes."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from tekton.auth.keys import LEEWAY, KeyRing, SigningKey
from tekton.auth.policy import Policy, PolicyRole
from tekton.auth.tokens import TokenIssuer
from tekton.gateway.sse import event
from tekton.testing.clock import ManualClock
from tekton.utils import remote_auth
from tekton.utils.control_plane import ControlPlane
from tekton.utils.remote_auth import STALE_LIFE, UNKNOWN_KEY_PAUSE, RemoteAuth, UnverifiableError
from tekton.utils.tekton_errors import InvalidTokenError

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]

PATIENCE = 30


class Plane:
    """What a component takes for its control plane: keys and policy as the test wants them, or something else."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.ring = KeyRing.generate(clock.time() - 1_000)
        self.roles: dict[str, PolicyRole] = {}
        self.principals = {"ada": ["monitor"]}
        self.revoked: dict[str, int | None] = {}
        self.keys: Answer | None = None
        self.policy: Answer | None = None
        self.asked: list[str] = []
        self.url = ""
        self._changed = asyncio.Condition()
        self._version = 0
        self._open: set[asyncio.Task[Any]] = set()

    def token(self, *roles: str, subject: str = "ada", audience: str = "greeter", **claims: object) -> str:
        return TokenIssuer(self.ring).issue(subject, roles, 600, claims, self.clock.time(), audience=audience)

    def sign(self, header: dict[str, Any] | None = None, **claims: object) -> str:
        """A token with the right signature and anything in it."""
        now = int(self.clock.time())
        stated = {"iss": "tekton", "sub": "ada", "aud": "greeter", "iat": now, "exp": now + 60, "jti": "a", **claims}
        payload = json.dumps({name: value for name, value in stated.items() if value is not None}).encode()
        key = self.ring.signing_key(now)
        assert key.private is not None
        return jwt.PyJWS().encode(payload, key.private, "EdDSA", {"typ": "at+jwt", "kid": key.kid, **(header or {})})

    async def change(self) -> None:
        """Tell the policy as it is now to those who listen."""
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
                self.asked.append(path)
                if path == "/events/auth":
                    await (self.policy or self._tell_policy)(writer)
                    return
                await (self.keys or self._tell_keys)(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has had enough, or the test has
        finally:
            self._open.discard(task)
            writer.close()

    async def stop(self) -> None:
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open)

    async def _tell_keys(self, writer: asyncio.StreamWriter) -> None:
        await answer(json.dumps(self.ring.jwks(self.clock.time())).encode())(writer)

    async def _tell_policy(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            version = self._version
            names = [key["kid"] for key in self.ring.jwks(self.clock.time())["keys"]]
            policy = Policy(names, self.roles, self.principals, self.revoked)
            writer.write(event(remote_auth.msgspec.json.encode(policy), "policy"))
            await writer.drain()
            async with self._changed:
                await self._changed.wait_for(lambda: self._version > version)  # noqa: B023


def answer(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> Answer:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return send


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    """An answer that goes on and never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flood(writer: asyncio.StreamWriter) -> None:
    """A hundred mebibytes, without saying so before."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1600):
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    raise OSError


SECRET_KEY = {"kty": "oct", "k": "AAAA", "kid": "a", "alg": "HS256"}
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a", "alg": "RS256"}
FORGED_NAME = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "another"}

FAULTS: dict[str, Answer] = {
    "silent": silence,
    "dripping": drip,
    "huge": flood,
    "hanging up": hang_up,
    "redirecting": answer(b"", b"HTTP/1.1 302 Found\r\nLocation: /elsewhere"),
    "moved": answer(b"", b"HTTP/1.1 308 Permanent Redirect\r\nLocation: http://127.0.0.1:1/"),
    "failing": answer(b"oops", b"HTTP/1.1 500 Internal Server Error"),
    "missing": answer(b'{"keys": []}', b"HTTP/1.1 404 Not Found"),
    "no http": answer(b"", b"SSH-2.0-OpenSSH_9.2"),
    "garbage": answer(b"\xff\x00\xfe"),
    "empty": answer(b""),
    "deep": answer(b"[" * 50_000),
    "a list": answer(b"[]"),
    "a number": answer(b"1"),
    "no keys": answer(b"{}"),
    "keys that are none": answer(b'{"keys": {"a": 1}}'),
    "a text as a key": answer(b'{"keys": ["a"]}'),
    "a secret": answer(json.dumps({"keys": [SECRET_KEY]}).encode()),
    "of another kind": answer(json.dumps({"keys": [RSA]}).encode()),
    "with a name that is not the key's": answer(json.dumps({"keys": [FORGED_NAME]}).encode()),
    "too many": answer(json.dumps({"keys": [KeyRing.generate(0).jwks(0)["keys"][0] for _ in range(65)]}).encode()),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_auth, "BACKOFF", (0.02, 0.02))


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    plane = Plane(ManualClock())
    listener = await asyncio.start_server(plane, "127.0.0.1", 0)
    async with listener:
        plane.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield plane
        await plane.stop()


@asynccontextmanager
async def verifying(plane: Plane, component_id: str = "greeter") -> AsyncIterator[RemoteAuth]:
    auth = RemoteAuth(ControlPlane(plane.url), component_id, clock=plane.clock)
    try:
        async with asyncio.timeout(PATIENCE):
            while auth.lacks(plane.token()):
                await auth.catch_up(plane.token())
            yield auth
    finally:
        await auth.stop()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (nothing tells when it changes)
        await asyncio.sleep(0.01)


def accepts(auth: RemoteAuth, token: str) -> bool:
    try:
        auth.identify(token)
    except (InvalidTokenError, UnverifiableError):
        return False
    return True


def refusal(auth: RemoteAuth, token: str) -> str:
    with pytest.raises(InvalidTokenError) as refused:
        auth.identify(token)
    return refused.value.reason


async def test_a_token_says_who_shows_it_and_the_policy_which_of_its_roles_count(plane: Plane) -> None:
    plane.roles["deployer"] = PolicyRole(["components:control"], ["greet*"])
    plane.principals["ada"] = ["deployer", "monitor"]

    async with verifying(plane) as auth:
        principal = auth.identify(plane.token("deployer", "admin"))

    assert (principal.subject, principal.roles, principal.via) == ("ada", ("deployer",), "token")
    assert principal.grants.allows("components:control", "greeter")
    assert not principal.grants.allows("components:control", "engram")
    assert principal.expires_at == plane.clock.time() + 600 + LEEWAY


async def test_a_role_that_is_taken_from_a_subject_counts_no_more(plane: Plane) -> None:
    async with verifying(plane) as auth:
        token = plane.token("monitor")
        assert auth.identify(token).roles == ("monitor",)

        plane.principals = {}
        before = auth.epoch
        await plane.change()
        while auth.epoch == before:
            await auth.wait_changed()
        assert auth.identify(token).roles == ()


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "tekton"}, "is for somebody else"),
        ({"aud": "engram"}, "is for somebody else"),
        ({"aud": "greeter2"}, "is for somebody else"),
        ({"aud": "greete"}, "is for somebody else"),
        ({"aud": "GREETER"}, "is for somebody else"),
        ({"aud": None}, "is for somebody else"),
        ({"aud": ""}, "is for somebody else"),
        ({"aud": ["greeter"]}, "is for somebody else"),
        ({"aud": ["tekton", "greeter"]}, "is for somebody else"),
        ({"iss": "tekton2"}, "is of another issuer"),
        ({"iss": "tekto"}, "is of another issuer"),
        ({"iss": "https://tekton"}, "is of another issuer"),
        ({"iss": None}, "is of another issuer"),
        ({"exp": None}, "has a time that is none"),
    ],
)
async def test_a_token_for_somebody_else_or_by_somebody_else_is_refused(
    plane: Plane, claims: dict[str, Any], reason: str
) -> None:
    async with verifying(plane) as auth:
        assert accepts(auth, plane.sign())
        assert refusal(auth, plane.sign(**claims)) == reason


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "id+jwt"},
        {"kid": "../../../../etc/passwd"},
        {"kid": "' OR 1=1 --"},
        {"kid": ""},
        {"kid": "k" * 4000},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"jwk": KeyRing.generate(0).jwks(0)["keys"][0]},
        {"crit": ["exp"]},
    ],
    ids=lambda header: next(iter(header)) + str(next(iter(header.values())))[:8],
)
async def test_what_a_token_says_of_keys_is_looked_up_in_memory_and_otherwise_refused(
    plane: Plane, header: dict[str, Any]
) -> None:
    async with verifying(plane) as auth:
        before = list(plane.asked)
        token = plane.sign(header)
        assert not auth.lacks(token)
        assert not accepts(auth, token)
        assert plane.asked == before


async def test_a_token_of_another_control_plane_is_refused(plane: Plane) -> None:
    stranger = Plane(plane.clock)

    async with verifying(plane) as auth:
        assert refusal(auth, stranger.token()) == "is signed with no key of ours"


async def test_a_component_called_as_the_control_plane_accepts_no_token_for_that(plane: Plane) -> None:
    async with verifying(plane, "tekton") as auth:
        assert refusal(auth, plane.token(audience="tekton")) == "is for somebody else"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_without_keys_nothing_is_accepted_and_with_them_everything_again(
    plane: Plane, fault: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_auth, "TIMEOUT", 0.25)
    plane.keys = fault

    async with verifying(plane) as auth:
        with pytest.raises(UnverifiableError):
            auth.identify(plane.token())
        assert "/elsewhere" not in plane.asked

        plane.keys = None
        await until(lambda: accepts(auth, plane.token()))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_keys_that_are_known_go_on_to_be_used_when_they_cannot_be_had_anew(
    plane: Plane, fault: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_auth, "TIMEOUT", 0.25)
    monkeypatch.setattr(remote_auth, "KEYS_LIFE", 0.02)

    async with verifying(plane) as auth:
        token = plane.token()
        await until(lambda: accepts(auth, token))
        plane.keys = fault
        seen = len(plane.asked)
        await until(lambda: len(plane.asked) >= seen + 2)
        assert accepts(auth, token)


async def test_what_is_known_holds_for_an_hour_without_the_control_plane(plane: Plane) -> None:
    async with verifying(plane) as auth:
        plane.keys = plane.policy = silence
        await plane.stop()
        await until(lambda: not auth._connected)

        plane.clock.advance(STALE_LIFE)
        assert accepts(auth, plane.token())
        epoch = auth.epoch

        plane.clock.suspend(1)
        with pytest.raises(UnverifiableError):
            auth.identify(plane.token())
        assert auth.epoch != epoch


async def test_a_token_expires_without_the_control_plane_too(plane: Plane) -> None:
    async with verifying(plane) as auth:
        token = plane.token()
        plane.keys = plane.policy = silence
        await plane.stop()

        plane.clock.advance(600 + LEEWAY + 1)
        assert refusal(auth, token) == "has expired"


async def test_a_key_is_asked_for_when_a_token_names_it_once_for_all_who_wait(plane: Plane) -> None:
    async with verifying(plane) as auth:
        plane.ring.replace([*plane.ring.keys, SigningKey.generate(plane.clock.time(), plane.clock.time())])
        token = plane.token()
        asked = plane.asked.count("/.well-known/jwks.json")
        plane.clock.advance(UNKNOWN_KEY_PAUSE)

        assert auth.lacks(token)
        await asyncio.gather(*(auth.catch_up(token) for _ in range(50)))

        assert accepts(auth, token)
        assert plane.asked.count("/.well-known/jwks.json") == asked + 1


async def test_keys_that_do_not_exist_are_asked_for_at_most_every_ten_seconds(plane: Plane) -> None:
    async with verifying(plane) as auth:
        asked = plane.asked.count("/.well-known/jwks.json")
        for _ in range(5):
            plane.clock.advance(UNKNOWN_KEY_PAUSE)
            for number in range(20):
                token = plane.sign({"kid": f"unknown-{number}"})
                if auth.lacks(token):
                    await auth.catch_up(token)
                assert not auth.lacks(token)

        assert plane.asked.count("/.well-known/jwks.json") == asked + 5


async def test_a_key_that_the_policy_names_is_known_before_it_signs(plane: Plane) -> None:
    async with verifying(plane) as auth:
        plane.ring.rotate(plane.clock.time())
        new = plane.ring.keys[-1]
        await plane.change()
        while not auth._knows(new.kid):
            await auth.wait_changed()

        plane.clock.advance(plane.ring.publish_delay)
        assert plane.ring.signing_key(plane.clock.time()) is new
        assert not auth.lacks(plane.token())
        assert accepts(auth, plane.token())


async def test_a_key_that_is_withdrawn_verifies_no_more_even_if_the_others_cannot_be_had(plane: Plane) -> None:
    async with verifying(plane) as auth:
        stolen = plane.token()
        plane.keys = silence
        plane.ring.rotate(plane.clock.time(), overlap=False)
        await plane.change()
        while accepts(auth, stolen):
            await auth.wait_changed()


async def test_a_token_that_is_revoked_is_refused_whatever_its_spelling(plane: Plane) -> None:
    async with verifying(plane) as auth:
        token = plane.token()
        token_id = auth.identify(token).token_id
        plane.revoked[f"token:{token_id}"] = None
        await plane.change()
        while accepts(auth, token):
            await auth.wait_changed()

        assert refusal(auth, token) == "is revoked"
        assert not accepts(auth, token + "=")
        assert accepts(auth, plane.token())


async def test_what_a_subject_got_before_a_revocation_is_refused_and_what_it_gets_later_is_not(plane: Plane) -> None:
    async with verifying(plane) as auth:
        token = plane.token()
        plane.revoked["subject:ada"] = int(plane.clock.time())
        await plane.change()
        while accepts(auth, token):
            await auth.wait_changed()

        plane.clock.advance(1)
        assert accepts(auth, plane.token())
        assert accepts(auth, plane.token(subject="eve"))


async def test_tokens_that_a_secret_has_signed_are_refused(plane: Plane) -> None:
    plane.keys = answer(b'{"keys": []}')

    async with verifying(plane) as auth:
        assert refusal(auth, plane.token()) == "cannot be verified: the control plane has no public keys"


@pytest.mark.parametrize(
    "policy",
    [b"{", b"[]", b"{}", b'{"keys":[],"roles":{"a":{"permissions":["x:y"],"components":null}}}', b"[" * 50_000],
    ids=["broken", "list", "empty", "unknown permission", "deep"],
)
async def test_a_policy_that_cannot_be_read_is_not_used(plane: Plane, policy: bytes) -> None:
    async def broken(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + event(policy, "policy"))
        await writer.drain()

    plane.policy = broken
    async with verifying(plane) as auth:
        with pytest.raises(UnverifiableError):
            auth.identify(plane.token())

        plane.policy = None
        await until(lambda: accepts(auth, plane.token()))


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden", b"503 Service Unavailable", b"302 Found"])
async def test_without_a_policy_nothing_is_accepted(plane: Plane, status: bytes) -> None:
    plane.policy = answer(b"", b"HTTP/1.1 " + status)

    async with verifying(plane) as auth:
        with pytest.raises(UnverifiableError):
            auth.identify(plane.token())


async def test_a_stream_that_has_fallen_silent_is_opened_anew(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_auth, "SILENCE", 0.05)

    async with verifying(plane) as auth:
        await until(lambda: plane.asked.count("/events/auth") >= 3)
        assert accepts(auth, plane.token())


async def test_nothing_is_asked_before_a_token_is_shown(plane: Plane) -> None:
    auth = RemoteAuth(ControlPlane(plane.url), "greeter", clock=plane.clock)
    try:
        assert auth.lacks(plane.token())
        with pytest.raises(UnverifiableError):
            auth.identify(plane.token())
        assert plane.asked == []
    finally:
        await auth.stop()


@pytest.mark.parametrize("token", ["", ".", "..", "a", "é.b.c", "{}", "e30.e30.", "W10.a.b", "a" * 8192, "\x00"])
async def test_what_is_no_token_is_not_asked_about(plane: Plane, token: str) -> None:
    async with verifying(plane) as auth:
        asked = list(plane.asked)
        plane.clock.advance(UNKNOWN_KEY_PAUSE)
        assert not auth.lacks(token)
        assert not accepts(auth, token)
        assert plane.asked == asked


async def test_a_name_of_a_key_that_is_no_text_is_no_name(plane: Plane) -> None:
    head = urlsafe_b64encode(b'{"kid": 1}').rstrip(b"=").decode()

    async with verifying(plane) as auth:
        plane.clock.advance(UNKNOWN_KEY_PAUSE)
        assert not auth.lacks(f"{head}.a.b")
