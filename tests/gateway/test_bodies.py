"""Reading bodies: size, deadline, media type."""

import asyncio
from typing import Any

import pytest

from tekton.gateway.bodies import BodyReader
from tekton.gateway.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    MalformedRequestError,
    UnsupportedMediaTypeError,
)

JSON = ("content-type", "application/json")
CHUNKED = ("transfer-encoding", "chunked")


def length(size: int) -> tuple[str, str]:
    return "content-length", str(size)


@pytest.fixture
def reader() -> BodyReader:
    return BodyReader(timeout=60)


async def test_a_body_is_read_whole(reader: BodyReader, exchange: Any, headers: Any) -> None:
    proto = exchange()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.read(proto, headers(JSON, length(2)), 10))
        await asyncio.sleep(0)
        proto.bodies[0].future.set_result(b"{}")

    assert task.result() == b"{}"


@pytest.mark.parametrize("pairs", [[], [length(0)], [JSON, length(0)]])
def test_an_absent_body_is_none_and_needs_no_media_type(
    reader: BodyReader, exchange: Any, headers: Any, pairs: list[tuple[str, str]]
) -> None:
    assert reader.read(exchange(), headers(*pairs), 10) is None


async def test_a_body_that_is_not_wanted_is_taken_whatever_it_is(
    reader: BodyReader, exchange: Any, headers: Any
) -> None:
    assert await reader.read(exchange([b"?", b""]), headers(CHUNKED), 10, "nothing") == b""
    assert await reader.read(exchange([b"?", b""]), headers(CHUNKED), 10, "anything") == b"?"
    with pytest.raises(BodyTooLargeError):
        reader.read(exchange(), headers(length(11)), 10, "nothing")


async def test_an_announced_length_above_the_limit_is_refused_unread(
    reader: BodyReader, exchange: Any, headers: Any
) -> None:
    proto = exchange()

    with pytest.raises(BodyTooLargeError):
        await reader.read(proto, headers(JSON, length(11)), 10)

    assert not proto.bodies


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/JSON; charset=utf-8", "application/problem+json", "application/vnd.x+json ;a=b"],
)
async def test_json_media_types_are_accepted(reader: BodyReader, exchange: Any, headers: Any, media_type: str) -> None:
    pairs = headers(("content-type", media_type), CHUNKED)

    assert await reader.read(exchange([b"{}", b""]), pairs, 10) == b"{}"


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/jsonx", "application/x-www-form-urlencoded", "json", ""]
)
async def test_other_media_types_are_refused(reader: BodyReader, exchange: Any, headers: Any, media_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        await reader.read(exchange(), headers(("content-type", media_type), length(2)), 10)


async def test_a_body_without_media_type_is_refused(reader: BodyReader, exchange: Any, headers: Any) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="no content type"):
        await reader.read(exchange(), headers(length(2)), 10)


async def test_pieces_are_refused_at_the_first_byte_too_many(reader: BodyReader, exchange: Any, headers: Any) -> None:
    assert await reader.read(exchange([b"x" * 5, b"x" * 5, b""]), headers(JSON, CHUNKED), 10) == b"x" * 10
    with pytest.raises(BodyTooLargeError):
        await reader.read(exchange([b"x" * 5, b"x" * 6]), headers(JSON, CHUNKED), 10)


async def test_pieces_that_break_off_are_malformed(reader: BodyReader, exchange: Any, headers: Any) -> None:
    with pytest.raises(MalformedRequestError):
        await reader.read(exchange([b"{}", b"", b""]), headers(JSON, CHUNKED), 10)


async def test_a_body_that_breaks_off_is_malformed(reader: BodyReader, exchange: Any, headers: Any) -> None:
    proto = exchange()
    asyncio.get_running_loop().call_soon(lambda: proto.bodies[0].future.set_exception(RuntimeError("closed")))

    with pytest.raises(MalformedRequestError):
        await reader.read(proto, headers(JSON, length(2)), 10)


async def test_bodies_that_do_not_come_in_time_are_given_up_each_in_its_turn(exchange: Any, headers: Any) -> None:
    reader = BodyReader(timeout=0.02)
    given_up: list[int] = []

    async def read(number: int) -> None:
        await asyncio.sleep(number * 0.005)
        with pytest.raises(BodyTimeoutError):
            await reader.read(exchange(), headers(JSON, length(2)), 10)
        given_up.append(number)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(read(number))

    assert given_up == [0, 1, 2, 3]


async def test_pieces_that_do_not_come_in_time_are_given_up(exchange: Any, headers: Any) -> None:
    class Slow:
        async def __aiter__(self) -> Any:
            yield b"{"
            await asyncio.Event().wait()

    with pytest.raises(BodyTimeoutError):
        await BodyReader(timeout=0.01).read(Slow(), headers(JSON, CHUNKED), 10)  # type: ignore[arg-type]


async def test_the_cancellation_of_a_reader_is_not_a_timeout(reader: BodyReader, exchange: Any, headers: Any) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(reader.read(exchange(), headers(JSON, length(2)), 10))
        await asyncio.sleep(0)
        task.cancel()

    assert task.cancelled()
    assert not reader._waiting
