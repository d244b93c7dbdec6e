"""The operator's socket: who may open it, what it makes of any line, and what a caller is told."""

import asyncio
import json
import logging
import os
import stat
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.control import LINE_LIMIT, PATH_LIMIT, Control, call
from protocol.errors import ConfigError, ProtocolError, QuorumError

HINT = "a request is an object with a method, one of add, fail, hang"


async def add(a, b=1):
    return {"sum": a + b}


async def fail():
    raise QuorumError("two signatures needed: ask again")


async def hang():
    await asyncio.Event().wait()


@asynccontextmanager
async def control(folder):
    made = Control(folder / "control.sock", {"add": add, "fail": fail, "hang": hang})
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def say(path, *lines):
    """The answers to raw lines on one connection, up to its end."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2 * LINE_LIMIT)
    answers = []
    try:
        for line in lines:
            writer.write(line + b"\n")
            answers.append(await reader.readline())
    finally:
        writer.close()
    return [json.loads(answer) if answer else None for answer in answers]


async def test_a_method_is_called_with_its_arguments(tmp_path):
    async with control(tmp_path) as made:
        assert await call(made.path, "add", 5, a=1, b=2) == {"sum": 3}
        assert await call(made.path, "add", 5, a=1) == {"sum": 2}
        request = json.dumps({"method": "add", "arguments": {"a": 4}}).encode()
        assert await say(made.path, request, request) == [{"result": {"sum": 5}}] * 2


async def test_a_refusal_is_told_in_its_own_words(tmp_path):
    async with control(tmp_path) as made:
        with pytest.raises(ProtocolError, match=r"^two signatures needed: ask again$"):
            await call(made.path, "fail", 5)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"17",
        b'"add"',
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"method": "stop"}',
        b'{"method": ["add"]}',
        b'{"method": null}',
        b'{"method": "add", "arguments": 1}',
        b'{"method": "add", "arguments": "ab"}',
    ],
)
async def test_a_line_that_is_no_request_is_answered_and_the_next_one_served(tmp_path, line):
    async with control(tmp_path) as made:
        good = b'{"method": "add", "arguments": {"a": 1}}'
        assert await say(made.path, line, good) == [{"error": HINT}, {"result": {"sum": 2}}]


@settings(max_examples=40)
@given(line=st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
def test_any_bytes_are_answered(tmp_path_factory, line):
    async def main():
        async with control(tmp_path_factory.mktemp("c")) as made:
            (answer,) = await say(made.path, line)
            assert answer == {"error": HINT}

    asyncio.run(main())


@pytest.mark.parametrize(
    "arguments", [{}, {"c": 1}, {"a": "x"}, {"a": None}, {"a": 1, "b": 2, "c": 3}, {"self": 1}]
)
async def test_wrong_arguments_are_named(tmp_path, arguments):
    async with control(tmp_path) as made:
        with pytest.raises(ProtocolError, match=r"^add: wrong arguments"):
            await call(made.path, "add", 5, **arguments)
        assert await call(made.path, "add", 5, a=1) == {"sum": 2}


async def test_a_line_that_is_too_long_ends_its_connection_alone(tmp_path):
    async with control(tmp_path) as made:
        long = b'{"method": "' + b"a" * (2 * LINE_LIMIT) + b'"}'
        with suppress(ConnectionError):  # cut while it was still being written
            assert await say(made.path, long) == [None]
        assert await call(made.path, "add", 5, a=1) == {"sum": 2}


async def test_the_socket_is_the_owners_alone_and_leaves_nothing_behind(tmp_path):
    before = os.umask(0)
    try:
        async with control(tmp_path) as made:
            mode = made.path.stat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


async def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path):
    async with control(tmp_path) as dead:
        stale = tmp_path / "kept"
        dead.path.rename(stale)
        stale.rename(dead.path)
        async with control(tmp_path) as made:
            assert await call(made.path, "add", 5, a=1) == {"sum": 2}
        assert not made.path.exists()


async def test_what_cannot_be_replaced_is_named(tmp_path):
    (tmp_path / "control.sock").mkdir()
    with pytest.raises(ConfigError, match=r"control\.sock: no control socket \("):
        async with control(tmp_path):
            pass
    missing = Control(tmp_path / "none" / "control.sock", {})
    with pytest.raises(ConfigError, match="no control socket"):
        await missing.start()
    await missing.stop()


async def test_a_folder_may_have_a_longer_name_than_a_sockets_address(tmp_path):
    folder = tmp_path / ("x" * PATH_LIMIT) / ("y" * PATH_LIMIT)
    folder.mkdir(parents=True)
    async with control(folder) as made:
        assert await call(made.path, "add", 5, a=1, b=2) == {"sum": 3}
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert not made.path.exists()


async def test_nobody_answers(tmp_path):
    path = tmp_path / "control.sock"
    with pytest.raises(ConfigError, match=r"control\.sock: no running node answers .*start it"):
        await call(path, "add", 5)
    async with control(tmp_path) as made:
        with pytest.raises(ConfigError, match=r"no running node answers \(too late\)"):
            await call(made.path, "hang", 0.01)


async def test_a_node_that_goes_away_in_the_middle_ends_quietly(tmp_path, caplog):
    async with control(tmp_path) as made:
        waiting = asyncio.create_task(call(made.path, "hang", 15))
        idle = await asyncio.open_unix_connection(made.path)
        while len(made._serving) < 2:
            await asyncio.sleep(0)
        await made.stop()
        with pytest.raises(ConfigError, match=r"no running node answers \(it hung up\)"):
            await waiting
        assert await idle[0].read() == b""
        idle[1].close()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
