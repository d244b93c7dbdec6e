"""What a signer signs, and what it refuses; whose turn it is; what its client does without it."""

import asyncio
import os
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal import SignGuard, mark_restored, read_guard
from actors.keyfile import create_key
from actors.signer_client import Signer
from actors.signer_core import OracleKey, SignerCore, guard_path
from actors.signer_dial import SocketLine
from actors.signer_frames import (
    FRAME_MAX,
    MESSAGE_MAX,
    STANDING,
    Answer,
    AskStanding,
    Fault,
    Hello,
    Ping,
    Recall,
    Require,
    Resume,
    Role,
    Seal,
    Settle,
    Sign,
    Standing,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    receive,
    send,
)
from actors.signer_program import Listener, open_core, peer_uid
from protocol import wire
from protocol.crypto.keys import SecretKey, verify
from protocol.crypto.tagged import tagged_hash
from protocol.errors import ConfigError, EncodingError, GuardError, ProtocolError, SignerError
from protocol.oracle import exercise, signing
from protocol.oracle.batch import BatchObservation, BatchReport
from protocol.oracle.expiry import MAGIC as EXP
from protocol.oracle.expiry import Expiry, ExpirySlot, exercise_subject
from protocol.oracle.heartbeat import Heartbeat, Status
from protocol.oracle.layout import ZERO32
from protocol.oracle.report import Grade, Report
from protocol.oracle.rotation import Rotation
from protocol.wire.frame import MAX_SIZE
from tests.builders.network import until
from tests.builders.oracles import CONFIG, FEED_ID, KEYS, ROUND, T0, make_config, observation
from tests.builders.signers import CoreDial, Serving

ORACLE, IDENTITY = KEYS[0], KEYS[7]
DIGEST, HASH = CONFIG.digest, sha256(b"x").digest()

REPORT = Report(
    config_digest=DIGEST,
    feed_id=FEED_ID,
    round=ROUND,
    price_e8=1,
    conf_e8=1,
    grade=Grade.FULL,
    observers=7,
    time=T0,
    observations_root=HASH,
    prev_report_hash=ZERO32,
)
SLOT = ExpirySlot(config_digest=DIGEST, feed_id=FEED_ID, start_round=1, target_round=ROUND)
EXPIRY = Expiry(
    slot=SLOT, end_round=ROUND, price_e8=5, high_e8=5, low_e8=5, rounds=1, report_hash=HASH
)
ROTATION = Rotation(DIGEST, HASH, ROUND, make_config(epoch=2))
BEAT = Heartbeat(config_digest=DIGEST, round=ROUND, status=Status.NO_DATA, time=T0)
OBSERVED = BatchObservation(config_digest=CONFIG.digest, round=ROUND, seq=1, n=2, root=HASH)
BATCH = BatchReport(config_digest=DIGEST, round=ROUND, n=2, root=HASH, prev_batch_hash=ZERO32)
FRAME = wire.Frame(config=DIGEST, sender=0, counter=1, time_ms=T0, kind="vote", body=b"x")

PAIRS = {
    "observation": (observation(), observation(price=2)),
    "observation batch": (OBSERVED, replace(OBSERVED, n=3)),
    "report": (REPORT, replace(REPORT, price_e8=2)),
    "batch": (BATCH, replace(BATCH, n=3)),
    "expiry": (EXPIRY, replace(EXPIRY, price_e8=4, low_e8=4)),
    "rotation": (ROTATION, replace(ROTATION, round=ROUND + 9)),
}
"""Two messages for one slot, of every kind that has slots."""


def envelope(frame=FRAME):
    parts = []
    wire.seal(frame, lambda data: parts.append(data) or bytes(64))
    return parts[0]


def guard(folder, key=ORACLE):
    return SignGuard.open(folder / "guard.journal", key.public, fsync=lambda _: None)


@contextmanager
def core_in(folder):
    core = SignerCore(
        {IDENTITY.public: IDENTITY}, {ORACLE.public: OracleKey(ORACLE, guard(folder))}
    )
    try:
        yield core
    finally:
        core.close()


@pytest.fixture
def core(tmp_path):
    with core_in(tmp_path) as held:
        yield held


def sign(core, message):
    return core.answer(Role.GUARD, Sign(ORACLE.public, message.encode()))[:64]


# What is signed


@pytest.mark.parametrize("kind", PAIRS)
def test_a_slot_has_one_message_and_the_journal_has_it_first(core, tmp_path, kind):
    first, second = PAIRS[kind]
    signature = sign(core, first)
    assert verify(ORACLE.public, signing.digest(first), signature)
    assert first.encode() in (tmp_path / "guard.journal").read_bytes()
    with pytest.raises(GuardError):
        sign(core, second)
    assert verify(ORACLE.public, signing.digest(first), sign(core, first)), "the same one again"
    core.close()
    with core_in(tmp_path) as later, pytest.raises(GuardError):
        sign(later, second)


def test_nothing_is_signed_that_is_not_on_disk(tmp_path):
    def full(_):
        raise OSError(28, "No space left on device")

    broken = SignGuard.open(tmp_path / "guard.journal", ORACLE.public, fsync=lambda _: None)
    broken._journal._fsync = full
    core = SignerCore({}, {ORACLE.public: OracleKey(ORACLE, broken)})
    for _ in range(2):
        with pytest.raises(GuardError):
            sign(core, REPORT)
    core.close()


def test_a_heartbeat_has_no_slot(core, tmp_path):
    size = (tmp_path / "guard.journal").stat().st_size
    for time in (T0, T0 + 1):
        beat = replace(BEAT, time=time)
        assert verify(ORACLE.public, beat.message, sign(core, beat))
    assert (tmp_path / "guard.journal").stat().st_size == size


def test_a_frame_is_sealed_by_the_identity_key_alone(core):
    signature = core.answer(Role.FRAMES, Seal(IDENTITY.public, envelope()))
    assert wire.unseal(envelope() + signature, IDENTITY.public) == FRAME


def test_an_observation_takes_the_next_number(core):
    """A number from the future would stop this oracle for ever: peers remember it."""
    with pytest.raises(GuardError, match="seq 9: the sign guard's next number is 1"):
        sign(core, observation(seq=9))
    assert sign(core, observation())


def test_an_exercise_is_decided_once_and_never_signed(core):
    def settle(round_id):
        return core.answer(Role.GUARD, Settle(ORACLE.public, HASH, round_id))

    assert settle(5) == settle(5)
    with pytest.raises(GuardError):
        settle(6)
    recalled = core.answer(Role.GUARD, Recall(ORACLE.public, exercise.MAGIC, HASH))
    assert int.from_bytes(recalled) == 5


# What is refused

FORGED = {
    "a bare hash": HASH,
    "the hash of a message": signing.digest(EXPIRY),
    "nothing that begins like a message": b"\0" * 152,
    "an unknown magic": b"OBS2" + observation().encode()[4:],
    "an exercise": exercise.MAGIC + bytes(72) + bytes(44),
    "a frame": envelope(),
    "a report with a byte more": REPORT.encode() + b"\0",
    "a report with a byte less": REPORT.encode()[:-1],
    "a report under an observation's magic": b"OBS1" + REPORT.encode()[4:],
    "an expiry of a rule that is not": EXPIRY.encode()[:153] + b"\7" + EXPIRY.encode()[154:],
    "two messages": REPORT.encode() + EXPIRY.encode(),
}


@pytest.mark.parametrize("what", FORGED)
def test_an_oracle_key_signs_no_other_bytes(core, tmp_path, what):
    size = (tmp_path / "guard.journal").stat().st_size
    with pytest.raises(EncodingError):
        core.answer(Role.GUARD, Sign(ORACLE.public, FORGED[what]))
    assert (tmp_path / "guard.journal").stat().st_size == size


@pytest.mark.parametrize("message", [first.encode() for first, _ in PAIRS.values()] + [HASH, b"x"])
def test_an_identity_key_signs_nothing_but_frames(core, message):
    with pytest.raises(EncodingError):
        core.answer(Role.FRAMES, Seal(IDENTITY.public, message))


@pytest.mark.parametrize(
    "request_",
    [
        Sign(IDENTITY.public, REPORT.encode()),
        Sign(KEYS[5].public, REPORT.encode()),
        Recall(IDENTITY.public, EXP, HASH),
    ],
)
def test_a_key_serves_one_purpose(core, request_):
    with pytest.raises(ConfigError, match="no key"):
        core.answer(Role.GUARD, request_)
    with pytest.raises(ConfigError, match="no key"):
        core.answer(Role.FRAMES, Seal(ORACLE.public, envelope()))


def test_a_connection_serves_one_purpose(core):
    for role, request in (
        (Role.FRAMES, Sign(ORACLE.public, REPORT.encode())),
        (Role.FRAMES, Resume(ORACLE.public, 0, 0)),
        (Role.GUARD, Seal(IDENTITY.public, envelope())),
        (Role.GUARD, Hello(bytes(16), Role.GUARD)),
    ):
        with pytest.raises(EncodingError):
            core.answer(role, request)


def test_an_american_contract_has_one_expiry_whoever_asks(core):
    def expiry(contract, target, subject_round):
        slot = replace(SLOT, target_round=target, subject=exercise_subject(contract, subject_round))
        return replace(EXPIRY, slot=slot, end_round=target)

    other = sha256(b"other").digest()
    with pytest.raises(GuardError, match="no contract with subject"):
        sign(core, expiry(HASH, 5, 5))
    core.answer(Role.GUARD, Settle(ORACLE.public, HASH, 5))
    assert sign(core, expiry(HASH, 5, 5))
    for contract, target, subject_round in ((HASH, 6, 6), (HASH, 6, 5), (other, 5, 5)):
        with pytest.raises(GuardError, match="no contract with subject"):
            sign(core, expiry(contract, target, subject_round))


@pytest.mark.parametrize("pair", [(observation(), OBSERVED), (REPORT, BATCH)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_configuration_has_one_feed_or_a_batch_of_several(core, pair, turned):
    first, second = reversed(pair) if turned else pair
    assert sign(core, first)
    if not isinstance(second, Report | BatchReport):
        second = replace(second, seq=2)
    with pytest.raises(GuardError, match="rotate to a new epoch"):
        sign(core, second)


def test_a_guard_that_was_not_restored_does_not_resume(core):
    with pytest.raises(GuardError, match="nothing to resume"):
        core.answer(Role.GUARD, Resume(ORACLE.public, 10**9, 10**9))
    assert sign(core, observation())


def test_a_restored_guard_signs_once_it_has_resumed(tmp_path):
    guard(tmp_path).close()
    mark_restored(tmp_path / "guard.journal")
    with core_in(tmp_path) as core:
        standing = STANDING.decode(core.answer(Role.GUARD, AskStanding(ORACLE.public)))
        assert standing == Standing(0, -1, 1)
        with pytest.raises(GuardError, match="restored"):
            sign(core, observation())
        core.answer(Role.GUARD, Resume(ORACLE.public, 40, ROUND))
        with pytest.raises(GuardError, match="may have been signed"):
            sign(core, observation(seq=41))
        assert sign(core, observation(seq=41, round=ROUND + 1))


FEW = st.integers(1, 3)
ANY = st.one_of(
    st.binary(max_size=250),
    st.sampled_from([m.encode() for pair in PAIRS.values() for m in pair]),
    st.builds(lambda r, s, p: observation(round=r, seq=s, price=p).encode(), FEW, FEW, FEW),
    st.builds(lambda r, p: replace(REPORT, round=r, price_e8=p).encode(), FEW, FEW),
    st.builds(lambda r, n: replace(BATCH, round=r, n=n).encode(), FEW, FEW),
    st.tuples(st.sampled_from([*signing._DECODE]), st.binary(min_size=80, max_size=200)).map(
        b"".join
    ),
)
ASKED = st.tuples(st.sampled_from(["sign", "sign", "sign", "seal", "settle", "require"]), ANY)


@settings(max_examples=40, deadline=None)
@given(st.lists(ASKED, max_size=25))
def test_whatever_a_hostile_client_asks_no_slot_gets_two_signatures(tmp_path_factory, asked):
    """All signatures that it can get are checked against what they can be signatures of."""
    signed: dict[bytes, bytes] = {}
    with core_in(tmp_path_factory.mktemp("guard")) as core:
        for what, data in asked:
            requests = {
                "sign": (Role.GUARD, Sign(ORACLE.public, data)),
                "seal": (Role.FRAMES, Seal(IDENTITY.public, data)),
                "settle": (Role.GUARD, Settle(ORACLE.public, sha256(data).digest(), len(data))),
                "require": (Role.GUARD, Require(ORACLE.public, len(data) % 2)),
            }
            try:
                got = core.answer(*requests[what])
            except ProtocolError:
                continue
            if what == "seal":
                assert wire.frame.read(data)
            if what == "sign":
                message = signing.decode(data)
                assert verify(ORACLE.public, signing.digest(message), got[:64])
                assert signed.setdefault(slot(message), data) == data


def slot(message):
    """What must be signed once, without the code that decides it."""
    data = message.encode()
    ends = {b"OBS1": 76, b"OBB1": 44, b"RPT1": 76, b"BAT1": 44, b"ROT1": 36}
    if data[:4] == b"EXP1":
        return data[:116] + data[153:158]
    return data if data[:4] == b"HBT1" else data[: ends[data[:4]]]


# The frames between node and signer


@pytest.mark.parametrize(
    "request_",
    [
        Hello(bytes(16), Role.FRAMES),
        Sign(HASH, b"x"),
        Settle(HASH, HASH, 2**64 - 1),
        Recall(HASH, b"OBS1", HASH, HASH),
        AskStanding(HASH),
        Require(HASH, 3, None),
        Require(HASH, 3, 4),
        Resume(HASH, 3, 0),
        Seal(HASH, b"x"),
        Ping(),
    ],
)
def test_requests_round_trip(request_):
    assert decode_request(encode_request(request_)) == request_


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"sign": {"public": HASH}},
        {"sign": {"public": HASH, "message": b""}},
        {"sign": {"public": HASH, "message": bytes(MESSAGE_MAX + 1)}},
        {"sign": {"public": b"", "message": b"x"}},
        {"sign": {"hash": HASH, "public": HASH, "message": b"x"}},
        {"hash": {"public": HASH, "hash": HASH}},
        {"ping": {}, "seal": {}},
        {"resume": {"public": HASH, "number": 3, "floor": -1}},
        {"hello": {"session": bytes(16), "role": "guard", "version": 2}},
        {"hello": {"session": bytes(16), "role": "root", "version": 1}},
        [],
        None,
    ],
)
def test_what_is_no_request(plain):
    with pytest.raises(EncodingError):
        decode_request(msgpack.packb(plain))


def test_answers_round_trip():
    for answer in (Answer(), Answer(data=bytes(64)), Answer(Fault.GUARD, "no")):
        assert decode_answer(encode_answer(answer)) == answer


# One client at a time


@pytest.fixture
def serving(core, tmp_path):
    running = Serving(core, tmp_path / "signer.sock")
    yield running
    running.end()


def test_the_socket_is_the_owners_alone(serving, tmp_path):
    path = tmp_path / "signer.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()
    with pytest.raises(GuardError, match="in use by another process"):
        Listener(path)
    assert path.exists()


def test_the_newest_session_fences_the_one_before(serving):
    with ExitStack() as lines:
        old, answer = serving.line(Role.GUARD, b"a" * 16)
        lines.callback(old.close)
        frames, _ = serving.line(Role.FRAMES, b"a" * 16)
        lines.callback(frames.close)
        assert answer.fault is Fault.NONE
        new, answer = serving.line(Role.GUARD, b"b" * 16)
        lines.callback(new.close)
        assert answer.fault is Fault.NONE
        assert old.ask(Sign(ORACLE.public, REPORT.encode())).fault is Fault.FENCED
        assert frames.ask(Seal(IDENTITY.public, envelope())).fault is Fault.FENCED
        again, answer = serving.line(Role.GUARD, b"a" * 16)
        lines.callback(again.close)
        assert answer.fault is Fault.FENCED, "a session that was fenced does not come back"
        assert new.ask(Sign(ORACLE.public, REPORT.encode())).fault is Fault.NONE


def test_new_is_who_has_connected_last_however_late_it_says_so(serving):
    with ExitStack() as lines:
        early = serving.dial.line(Role.GUARD)
        lines.callback(early.close)
        new, answer = serving.line(Role.GUARD, b"b" * 16)
        lines.callback(new.close)
        assert answer.fault is Fault.NONE
        for _ in range(2):
            assert early.ask(Hello(b"a" * 16, Role.GUARD)).fault is Fault.FENCED
            early, _ = serving.dial.line(Role.FRAMES), early.close()  # as of the same session
            lines.callback(early.close)
        assert new.ask(Ping()).fault is Fault.NONE


def test_what_ends_a_thread_is_in_the_log(serving, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a mistake")

    line, _ = serving.line(Role.GUARD, bytes(16))
    monkeypatch.setattr(SignerCore, "answer", broken)
    with pytest.raises(EOFError):
        line.ask(Ping())
    line.close()
    assert "a mistake" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        encode_request(Ping()),
        encode_request(Sign(ORACLE.public, REPORT.encode())),
        b"\xc1",
        b"",
    ],
)
def test_who_does_not_greet_is_hung_up_on(serving, data):
    end = socket.socket(socket.AF_UNIX)
    with end:
        end.settimeout(10)
        end.connect(str(serving.listener.path))
        send(end, data)
        assert decode_answer(receive(end)).fault is Fault.REFUSED
        with pytest.raises(EOFError):
            receive(end)


def test_a_frame_that_is_too_long_is_not_read(serving):
    end = socket.socket(socket.AF_UNIX)
    with end:
        end.settimeout(10)
        end.connect(str(serving.listener.path))
        end.sendall((FRAME_MAX + 1).to_bytes(4))
        assert "more than" in decode_answer(receive(end)).text


def test_a_signer_waits_for_the_guard_that_another_one_has(core, tmp_path):
    paths = {name: tmp_path / f"{name}.key" for name in ("identity", "oracle")}
    for path in paths.values():
        create_key(path)
    folder = tmp_path / "data"
    before = SignerCore.open(folder, paths)
    opened = []
    waiting = threading.Thread(target=lambda: opened.append(open_core(folder, paths)))
    waiting.start()
    assert not opened
    before.close()
    waiting.join(60)
    opened[0].close()


def test_a_signer_waits_for_a_compaction_and_for_nothing_else(core, tmp_path, monkeypatch):
    causes = [FileNotFoundError(), BlockingIOError(), PermissionError()]

    def fails(*_):
        raise GuardError("guard.journal") from causes.pop(0)

    monkeypatch.setattr(SignerCore, "open", fails)
    with pytest.raises(GuardError):
        open_core(tmp_path, {})
    assert not causes


# The client


def test_the_client_is_a_guard_and_signs_what_it_recorded(serving):
    signer = Signer(serving.dial)
    key = signer.oracle(ORACLE.public)
    assert key.next_seq() == 1
    seen = observation()
    with pytest.raises(GuardError, match="recorded before it is signed"):
        key.sign(seen.message)
    key.record(b"OBS1", DIGEST, FEED_ID, ROUND, seen.encode())
    assert verify(ORACLE.public, seen.message, key.sign(seen.message))
    with pytest.raises(GuardError, match="recorded before it is signed"):
        key.sign(seen.message)
    assert key.recall(b"OBS1", DIGEST, FEED_ID) == seen.encode()
    assert key.next_seq() == 2
    assert key.recall_once(EXP, SLOT.slot_id) is None
    key.record_once(EXP, SLOT.slot_id, EXPIRY.encode())
    key.sign(EXPIRY.hash)
    assert key.recall_once(EXP, SLOT.slot_id) == EXPIRY.encode()
    assert verify(ORACLE.public, EXPIRY.hash, key.sign(EXPIRY.hash)), "what is recalled, again"
    key.record_once(exercise.MAGIC, HASH, (7).to_bytes(8))
    assert key.recall_once(exercise.MAGIC, HASH) == (7).to_bytes(8)
    assert verify(ORACLE.public, BEAT.message, key.beat(BEAT))
    sealed = wire.seal(FRAME, signer.identity(IDENTITY.public).seal)
    assert wire.unseal(sealed, IDENTITY.public) == FRAME
    with pytest.raises(GuardError, match="peers have seen 99"):
        key.require_seq(99)
    with pytest.raises(GuardError):
        key.record(b"RPT1", DIGEST, FEED_ID, ROUND, REPORT.encode())
    signer.close()


def test_the_client_of_a_session_that_was_fenced_never_comes_back(serving):
    old = Signer(serving.dial)
    new = Signer(serving.dial)
    with pytest.raises(SignerError, match="a newer node has connected"):
        old.check()
    with pytest.raises(SignerError, match="a newer node has connected"):
        old.oracle(ORACLE.public)
    new.check()
    assert new.fault is None
    assert new.oracle(ORACLE.public).next_seq() == 1
    old.close()
    new.close()


def test_a_signer_that_restarts_is_found_again(core, tmp_path, monkeypatch):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.0)
    path = tmp_path / "signer.sock"
    first = Serving(core, path)
    signer = Signer(first.dial)
    key = signer.oracle(ORACLE.public)
    first.end()
    signer.check()
    assert "does not answer" in signer.fault
    with pytest.raises(SignerError, match="does not answer"):
        key.record(b"RPT1", DIGEST, FEED_ID, ROUND, REPORT.encode())
    signer.check()
    assert "no signer answers" in signer.fault
    second = Serving(core, path)
    signer.check()
    assert signer.fault is None
    assert signer.reconnects == 1
    key.record(b"RPT1", DIGEST, FEED_ID, ROUND, REPORT.encode())
    assert verify(ORACLE.public, REPORT.hash, key.sign(REPORT.hash))
    signer.close()
    second.end()


def test_a_signer_that_comes_back_with_an_old_guard_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.0)
    path, folders = tmp_path / "signer.sock", [tmp_path / "new", tmp_path / "old"]
    for folder in folders:
        folder.mkdir()
    with core_in(folders[0]) as core:
        first = Serving(core, path)
        signer = Signer(first.dial)
        key = signer.oracle(ORACLE.public)
        key.record(b"RPT1", DIGEST, FEED_ID, ROUND, REPORT.encode())
        assert (key.seq, key.next_seq()) == (1, 2)
        first.end()
    with core_in(folders[1]) as core:
        second = Serving(core, path)
        signer.check()
        with pytest.raises(SignerError, match="an old copy"):
            signer.check()
        with pytest.raises(SignerError, match="an old copy"):
            signer.check()
        second.end()
    signer.close()


def test_a_signer_that_comes_back_restored_sends_the_node_to_its_peers(tmp_path, monkeypatch):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.0)
    path = tmp_path / "signer.sock"
    with core_in(tmp_path) as core:
        first = Serving(core, path)
        signer = Signer(first.dial)
        signer.oracle(ORACLE.public)
        first.end()
    mark_restored(tmp_path / "guard.journal")
    with core_in(tmp_path) as core:
        second = Serving(core, path)
        signer.check()
        with pytest.raises(SignerError, match="this node has to start again"):
            signer.check()
        second.end()
    signer.close()


def test_an_answer_that_is_late_is_waited_for_once_and_belongs_to_no_other_question():
    ours, theirs = socket.socketpair()
    with theirs:
        line = SocketLine(ours, 0.05, 0.05)
        with pytest.raises(TimeoutError):
            line.ask(Ping())
        assert line.is_late
        with pytest.raises(TimeoutError):
            line.ask(AskStanding(HASH))
        assert decode_request(receive(theirs)) == Ping()
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)  # nothing else was asked
        theirs.setblocking(True)
        send(theirs, encode_answer(Answer(data=b"late")))
        send(theirs, encode_answer(Answer(data=b"in time")))
        assert line.ask(AskStanding(HASH)).data == b"in time"
        assert not line.is_late
        line.close()
        line.close()


@pytest.mark.parametrize("sent", [b"\0\0\0\x09half", b""])
def test_a_line_that_breaks_off_is_no_late_one(sent):
    ours, theirs = socket.socketpair()
    with theirs:
        line = SocketLine(ours, 0.05, 0.05)
        theirs.sendall(sent)
        asked = b"x" if sent else bytes(MAX_SIZE)  # more than a socket takes
        with pytest.raises(EOFError):
            line.ask(Seal(HASH, asked))
        assert not line.is_late
        line.close()


def test_a_frame_that_is_late_is_lost_and_the_session_goes_on(serving, monkeypatch):
    """As long as a frozen signer may come back, each frame costs the loop nothing."""
    monkeypatch.setattr("actors.signer_dial.DEADLINES_S", {Role.GUARD: 60.0, Role.FRAMES: 0.05})
    thaw, answer = threading.Event(), SignerCore.answer

    def frozen(core, role, request):
        if isinstance(request, Seal):
            thaw.wait(60)
        return answer(core, role, request)

    monkeypatch.setattr(SignerCore, "answer", frozen)
    signer = Signer(serving.dial)
    identity = signer.identity(IDENTITY.public)
    try:
        for _ in range(3):
            with pytest.raises(SignerError, match="does not answer in time"):
                identity.seal(envelope())
        signer.check()
        assert signer.fault == "the signer does not answer in time"
        thaw.set()
        sealed = []

        def seals():
            with suppress(SignerError):
                sealed.append(identity.seal(envelope()))
            return sealed

        until(seals, "it answers again")
        assert verify(IDENTITY.public, wire.digest(envelope()), sealed[0])
        assert signer.reconnects == 0
    finally:
        thaw.set()
        signer.close()


async def test_work_is_tried_again_until_the_signer_answers(core, tmp_path, monkeypatch):
    monkeypatch.setattr("actors.signer_client.RETRY_CAP_S", 0.0)
    monkeypatch.setattr("actors.signer_client.RETRY_S", 0.01)
    first = Serving(core, tmp_path / "signer.sock")
    signer = Signer(first.dial)
    first.end()
    work = asyncio.create_task(signer.retry(lambda: signer.oracle(ORACLE.public).seq))
    await asyncio.to_thread(signer.check)
    assert not work.done()
    second = Serving(core, tmp_path / "signer.sock")
    await asyncio.to_thread(signer.check)
    assert await work == 0
    newer = Signer(second.dial)
    with pytest.raises(SignerError, match="a newer node has connected"):
        await signer.retry(signer.check)
    newer.close()
    signer.close()
    second.end()


def test_a_key_that_the_signer_has_not(core):
    signer = Signer(CoreDial(core))
    with pytest.raises(ConfigError, match=r"\[keys\] oracle: the signer holds .* the roster says"):
        signer.oracle(KEYS[3].public)
    with pytest.raises(ConfigError, match=r"\[keys\] identity: the signer holds"):
        signer.identity(KEYS[3].public)


# Several keys


def test_every_oracle_key_has_a_guard_of_its_own(tmp_path):
    """The keys of epochs that are over still sign the expiries of their contracts."""
    paths = {name: tmp_path / f"{i}.key" for i, name in enumerate(("identity", "oracle"))}
    paths["oracle[1]"] = tmp_path / "2.key"
    first, second = (create_key(path) for path in paths.values() if path.name != "0.key")
    create_key(paths["identity"])
    folder = tmp_path / "data"
    for _ in range(2):
        core = SignerCore.open(folder, paths)
        assert set(core.oracles) == {first.public, second.public}
        for key in (first, second):
            assert core.answer(Role.GUARD, Sign(key.public, EXPIRY.encode()))
        core.close()
    assert {read_guard(path).public for path in folder.iterdir()} == {first.public, second.public}
    assert guard_path(folder, first.public) == folder / "guard.journal"
    turned = {"oracle": paths["oracle[1]"], "oracle[1]": paths["oracle"]}
    core = SignerCore.open(folder, turned)
    assert core.oracles[second.public].guard.seq == 1, "the order of the list means nothing"
    core.close()
    paths["oracle[2]"] = tmp_path / "copy.key"
    paths["oracle[2]"].write_bytes(paths["oracle"].read_bytes())
    paths["oracle[2]"].chmod(0o600)
    with pytest.raises(ConfigError, match=r"oracle\[2\]: the same key as oracle"):
        SignerCore.open(folder, paths)


def test_no_tag_is_shared():
    """A signature for one kind is none for another, and none for a frame."""
    messages = [first for first, _ in PAIRS.values()] + [BEAT]
    data = REPORT.encode()
    digests = {wire.digest(data), tagged_hash("", data)}
    for message in messages:
        digests.add(signing.digest(message))
    assert len(digests) == len(messages) + 2


def test_a_secret_key_is_in_nothing_that_a_node_holds(core):
    signer = Signer(CoreDial(core))
    key, identity = signer.oracle(ORACLE.public), signer.identity(IDENTITY.public)
    for held in (key, identity):
        assert not any(isinstance(value, SecretKey) for value in vars(held).values())
