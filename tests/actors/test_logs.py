"""Logs: one JSON object a line, and no secret in any of them."""

import json
import logging
import subprocess
import sys
from enum import IntEnum, StrEnum
from hashlib import sha256
from pathlib import Path

import pytest

from actors.keyfile import create_key
from actors.logs import JsonLines, command_of, event, open_log
from actors.metrics import Registry
from actors.transport import Transport
from actors.transport_link import Identity
from actors.transport_options import Host, Peer
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.messages import AGGREGATOR

SECRET = sha256(b"an oracle's secret").digest()
HASH = sha256(b"a report").digest()


@pytest.fixture
def log(tmp_path):
    """A logger and a function that reads what it wrote."""
    path, root = tmp_path / "log", logging.getLogger()
    level, handler = root.level, open_log(tmp_path / "log", logging.DEBUG)
    yield (
        logging.getLogger("actors.test"),
        lambda: [json.loads(line) for line in path.read_text().splitlines()],
    )
    root.removeHandler(handler)
    root.setLevel(level)
    handler.close()


class Grade(StrEnum):
    FULL = "full"


class Number(IntEnum):
    TWO = 2


def test_a_line(log):
    logger, lines = log
    event(
        logger,
        "certified",
        round=1790359200,
        oracle=Number.TWO,
        grade=Grade.FULL,
        report=HASH,
        full=True,
        fault=None,
        path=Path("oracle.toml"),
    )
    (line,) = lines()
    assert line.pop("time").startswith("20")
    assert line.pop("program")  # the folder of the file
    assert line == {
        "level": "INFO",
        "operator": "",
        "logger": "actors.test",
        "event": "certified",
        "round": 1790359200,
        "oracle": 2,
        "grade": "full",
        "report": HASH.hex(),
        "full": True,
        "fault": None,
        "path": "oracle.toml",
    }


def test_levels(log):
    logger, lines = log
    logger.setLevel(logging.WARNING)
    event(logger, "quiet")
    event(logger, "loud", logging.ERROR, event="shadows nothing")
    logger.setLevel(logging.NOTSET)
    (line,) = lines()
    assert (line["event"], line["event_"], line["level"]) == ("loud", "shadows nothing", "ERROR")


REFUSED = [
    ("signer", SecretKey(SECRET)),
    ("secret", SECRET),
    ("secret", SECRET.hex()),
    ("oracle_key", SECRET),
    ("SEED", SECRET.hex()),
    ("nonce", SECRET),
    ("password", "hunter2"),
    ("what", SECRET.hex()),
    ("what", f"loaded {SECRET.hex()} from disk"),
    ("what", SECRET.hex().upper()),
    ("what", "x" * 970 + SECRET.hex()),
    ("what", str(int.from_bytes(SECRET))),
    ("what", int.from_bytes(SECRET)),
    ("what", -int.from_bytes(SECRET)),
    ("what", SECRET + b"\0"),
    ("what", bytearray(SECRET)),
    ("what", memoryview(SECRET)),
    ("what", [SECRET]),
    ("what", {"key": SECRET}),
    ("what", 0.5),
    ("what", ValueError(SECRET.hex())),
    ("path", Path(SECRET.hex())),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda part: str(type(part).__name__))
def test_refused_fields(log, name, value):
    logger, lines = log
    event(logger, "careless", **{name: value})
    (line,) = lines()
    text = json.dumps(line).lower()
    assert SECRET.hex()[:40] not in text
    assert str(int.from_bytes(SECRET))[:40] not in text
    assert "hunter2" not in text
    assert "refused" in line[name] or "hex digits" in line[name]


def test_exceptions_and_other_libraries(log):
    logger, lines = log
    try:
        try:
            raise ValueError(f"bad key {SECRET.hex()}")
        except ValueError as error:
            raise ExceptionGroup("two", [OSError(SECRET.hex()), KeyError("b")]) from error
    except ExceptionGroup:
        logger.exception("failed with %s", SECRET.hex())
    (line,) = lines()
    assert SECRET.hex() not in json.dumps(line)
    assert line["event"] == "failed with <64 hex digits>"
    assert line["errors"][1:] == ["OSError: <64 hex digits>", "KeyError: 'b'"]
    assert line["at"][-1].startswith("test_logs.py:")


def test_a_line_is_one_line(log):
    logger, lines = log
    event(logger, "two\nlines", what='"},\n{"level": "forged"\u2028\x1b[31m')
    logger.info("plain\nmessage")
    assert [line["event"] for line in lines()] == ["two\nlines", "plain\nmessage"]
    assert lines()[0]["what"].endswith("\x1b[31m")


def test_long_text_is_cut(log):
    logger, lines = log
    event(logger, "long", what="-" * 100_000)
    assert len(lines()[0]["what"]) == 1000


def test_stderr(capsys):
    root = logging.getLogger()
    level, handler = root.level, open_log()
    event(logging.getLogger("actors.test"), "hello")
    root.removeHandler(handler)
    root.setLevel(level)
    assert json.loads(capsys.readouterr().err)["event"] == "hello"


def test_who_writes(tmp_path, monkeypatch, capsys):
    for arguments, program in (
        (["/usr/bin/oracle-vm", "oracle", "run"], "oracle"),
        (["/x/actors/cli.py", "api", "run"], "api"),
        (["/x/actors/local/keeper.py", "folder"], "keeper"),
    ):
        assert command_of(arguments) == program
    monkeypatch.setattr(sys, "argv", ["oracle-vm", "oracle", "run"])
    for named, operator in (("", "alpha"), ("bravo", "bravo")):
        monkeypatch.setenv("ORACLE_VM_OPERATOR", named)
        root = logging.getLogger()
        level, handler = root.level, open_log(operator="alpha")
        event(logging.getLogger("actors.test"), "hello")
        root.removeHandler(handler)
        root.setLevel(level)
        line = json.loads(capsys.readouterr().err)
        assert (line["program"], line["operator"]) == ("oracle", operator)


def test_what_nobody_has_caught_is_a_line_too():
    code = (
        "from actors.logs import open_log; open_log(); import warnings; warnings.warn('old'); 1 / 0"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    warned, died = map(json.loads, run.stderr.splitlines())
    assert (warned["level"], "old" in warned["event"]) == ("WARNING", True)
    assert (died["event"], died["errors"]) == (
        "uncaught",
        ["ZeroDivisionError: division by zero"],
    )
    assert run.returncode == 1


def test_no_such_folder(tmp_path):
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_log(tmp_path / "missing" / "log")


async def test_a_key_never_shows(log, tmp_path):
    """A key that is loaded and used: not in reprs, logs, metrics or tracebacks."""
    logger, lines = log
    key = create_key(tmp_path / "identity.key")
    secret = (tmp_path / "identity.key").read_text().strip()
    identity = Identity(0, key, HASH, Host())
    transport = Transport(
        me=AGGREGATOR,
        key=key,
        roster={AGGREGATOR: Peer(key.public)},
        listen=("127.0.0.1", 0),
        digest=HASH,
        receive=print,
    )
    registry = Registry()
    async with transport:
        event(logger, "using", identity=identity, transport=transport, host=Host(), key=key)
        logger.warning("using %r %r %r", identity, transport, key)
        try:
            registry.gauge("gauge", "A gauge.", key=(repr(key),)).set(1, key=key, seed=secret)
        except ConfigError:
            logger.exception("refused %r", key)
    shown = json.dumps(lines()) + registry.text() + repr(identity) + repr(transport)
    assert len(lines()) >= 3
    assert secret not in shown
    assert bytes.fromhex(secret) not in shown.encode()


def test_format_of_a_foreign_record():
    record = logging.LogRecord("x", logging.INFO, "f", 1, "m", (), None)
    record.fields = "not a mapping"
    assert json.loads(JsonLines().format(record))["event"] == "m"
    record.exc_info = (None, None, None)
    assert "errors" not in json.loads(JsonLines().format(record))
