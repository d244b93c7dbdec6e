"""The programs of a network in one process: what they keep, tell and fetch; restarts."""

import asyncio
import json
import secrets
import shutil
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from urllib.error import HTTPError

import pytest
from websockets.asyncio.client import connect

from actors.control import call
from actors.feeds.simulated.exchanges import SimulatedExchanges
from actors.history import History
from actors.journal import Journal, read_guard
from actors.keyfile import load_key
from actors.oracle import OracleProgram
from actors.program import SWITCH_S, run
from protocol import wire
from protocol.errors import GuardError, ProtocolError
from protocol.oracle.evidence import Evidence
from protocol.oracle.exercise import ExerciseNotice, notice_message
from protocol.oracle.expiry import ExpiryCertificate
from protocol.oracle.observation import SignedObservation
from protocol.oracle.report import Grade
from protocol.wire.frame import Notice
from tests.builders.epochs import HOLDER
from tests.builders.operators import until
from tests.builders.running import AGGREGATOR, ORACLES, MovedClock, Programs


@pytest.fixture
def clock():
    return MovedClock()


@pytest.fixture
def exchanges(clock):
    with SimulatedExchanges(7, clock.now_ms, tick_ms=50) as running:
        yield running


@pytest.fixture
async def net(tmp_path, exchanges, clock):
    async with Programs(tmp_path / "net", exchanges, clock) as running:
        yield running


async def ask(net, name, method, **arguments):
    path = net.folder / "data" / name / "control.sock"
    return await call(path, method, 15, **arguments)


async def test_everybody_keeps_the_same_chain_and_says_where_it_stands(net):
    certificates = await net.certified(4)
    for before, after in pairwise(certificates):
        assert after.previous_hash == before.hash
    last = certificates[-1].round
    for name in net.names:
        await until(lambda name=name: net.round(name) >= last)
        assert certificates[0].encode() in net[name].history.after(-1)
        status = await ask(net, name, "status")
        assert status["name"] == name
        assert status["round"] >= last
        assert status["certificates"] >= 4
        assert len(status["connected"]) == 3
        assert status["metrics"] == net[name].metrics.port
        recent = await ask(net, name, "certificates")
        assert [entry[:2] for entry in recent][:1] == [[certificates[0].round, "FULL"]]
        times = [at_ns for _, _, at_ns in recent]
        assert times == sorted(times)
    for name in ORACLES:
        assert set((await ask(net, name, "status"))["venues"].values()) == {True}
        sights = await ask(net, name, "sights")
        assert all(frame_ns <= signed_ns for _, frame_ns, signed_ns in sights)
        assert net[name].ready() == (3, 3)


async def test_an_observer_is_shown_certificates_and_no_old_one_as_news(net):
    await net.certified(1)
    await net.stop("charlie")
    missed = net.round()
    await net.certified(3, after=missed)
    charlie = net.start("charlie")
    await until(lambda: charlie.transport._server is not None)
    seen = []
    async with connect(f"ws://127.0.0.1:{charlie.operator.listen.port}/certificates") as socket:
        while len(seen) < 3:
            notice = Notice.decode(await asyncio.wait_for(socket.recv(), 15))
            certificate = wire.decode(notice.kind, notice.body)
            certificate.check(charlie.operator.network.config)
            seen.append(certificate.round)
    assert seen == sorted(seen)
    await until(lambda: {c.round for c in _all(charlie)} >= set(range(missed, seen[0])))


def _all(program):
    with closing(History.read(program.history.path)) as history:
        return list(history.newest_first())


async def test_missed_certificates_are_fetched_after_a_restart(net):
    await net.certified(1)
    await net.stop("bravo")
    before = net.round()
    missed = await net.certified(3, after=before)
    bravo = net.start("bravo")
    await until(lambda: len(bravo.history) and net.round("bravo") > missed[-1].round)
    await until(lambda: {c.hash for c in missed} <= {c.hash for c in _all(bravo)})


async def test_a_hole_that_a_crash_has_left_is_filled_after_the_restart(net):
    await net.certified(1)
    await net.stop("bravo")
    missed = await net.certified(3, after=net.round())
    with closing(History.open(net.folder / "data/bravo/history.sqlite")) as history:
        history.append(missed[-1].encode())  # the newest came first, and then the crash
    bravo = net.start("bravo")
    await until(lambda: {c.hash for c in missed} <= {c.hash for c in _all(bravo)})


async def test_a_liar_is_convicted_on_every_disk_and_stays_out_after_a_restart(net):
    await net.certified(1)
    key = load_key(net.folder / "keys" / "charlie" / "oracle.key")
    charlie = net["charlie"]
    held = {}

    def observed():
        held.update(net[AGGREGATOR].member.node.inbox.held(net.round()))
        return 2 in held

    await until(observed)
    honest = held[2].observation
    lie = replace(honest, price_e8=honest.price_e8 + 1)
    signed = SignedObservation(2, lie, key.sign(lie.message, secrets.token_bytes(32)))
    net["alpha"].node.hear(1, signed)  # bravo passes on what charlie told it alone
    for name in ("alpha", "bravo", AGGREGATOR):
        await until(lambda name=name: 2 in net[name].member.node.inbox.convicted)
    after = net.round()
    (certificate,) = (await net.certified(2, after=after))[-1:]
    assert certificate.report.observers == 0b011
    assert certificate.grades == (Grade.DEGRADED,)
    config = charlie.operator.network.config
    for name in ("alpha", "bravo", AGGREGATOR):
        await net.stop(name)
        journal, records = Journal.open(net.folder / "data" / name / "evidence.journal")
        journal.close()
        assert [Evidence.decode(record).check(config) for record in records] == [2]
        again = net.start(name)
        assert set(again.member.node.inbox.convicted) == {2}
    (certificate,) = (await net.certified(1, after=certificate.round))[-1:]
    assert certificate.report.observers == 0b011


@pytest.mark.parametrize("name", [AGGREGATOR, "alpha"])
async def test_a_folder_has_one_program(net, name):
    await net.certified(1)
    with pytest.raises(GuardError, match="in use by another process; stop it first"):
        net.make(name)
    await net.certified(1, after=net.round())


def copy_of(net, name):
    """A program on a copy of an oracle's folder: no lock reaches that far."""
    first = net[name].operator
    second = replace(first, folder=net.folder / "copy", listen=replace(first.listen, port=0))
    shutil.copytree(first.folder, second.folder, ignore=shutil.ignore_patterns("*.sock"))
    return OracleProgram(second, net.clock)


def recorded(program):
    """The highest number on the disk of an oracle's sign guard."""
    return read_guard(program.operator.folder / "guard.journal").seq


async def test_a_copy_of_an_oracle_that_runs_elsewhere_is_refused_by_what_peers_have_seen(net):
    await net.certified(1)
    double = copy_of(net, "charlie")
    copied = recorded(double)
    peers = [net[name].oracle.inbox for name in ("alpha", "bravo")]
    await until(lambda: all(inbox.newest(2).observation.seq > copied for inbox in peers))
    with pytest.raises(GuardError, match=f"ends at seq {copied}, peers have seen .* an old copy"):
        await asyncio.wait_for(double.serve(), 30)
    assert recorded(double) == copied
    await until(lambda: net["charlie"].transport.connected == {0, 1, 255})
    (certificate,) = (await net.certified(3, after=net.round()))[-1:]
    assert certificate.report.observers == 0b111
    assert net[AGGREGATOR].member.node.inbox.convicted == {}


async def test_a_copy_of_an_oracle_that_does_not_ask_its_peers_convicts_it(net):
    """The two sign different things, and that is proof."""
    await net.certified(1)
    program = copy_of(net, "charlie")
    program.recollection.receive = lambda sender, *_: program.recollection._answered.add(sender)
    double = asyncio.create_task(program.serve())
    try:
        for name in ("alpha", "bravo", AGGREGATOR):
            await until(lambda name=name: 2 in net[name].member.node.inbox.convicted)
    finally:
        double.cancel()
        with suppress(asyncio.CancelledError):
            await double
    certificates = await net.certified(2, after=net.round())
    assert certificates[-1].report.observers == 0b011
    assert certificates[-1].signers == (0, 1)


async def test_health_says_when_the_price_is_old(net, clock):
    program = net[AGGREGATOR]
    await net.certified(1)
    assert await net.page(AGGREGATOR, "/healthz") == "ok"
    await net.stop("alpha")
    await net.stop("bravo")
    clock.ahead_ms += 10_000
    assert program.fault() == "the newest certificate is 10 s old"
    with pytest.raises(HTTPError) as caught:
        await net.page(AGGREGATOR, "/healthz")
    assert caught.value.code == 503
    assert caught.value.read() == b"the newest certificate is 10 s old"


def test_a_program_without_a_certificate_is_not_healthy(tmp_path, exchanges, clock):
    program = Programs(tmp_path / "net", exchanges, clock).make("alpha")
    assert program.fault() == "no certificate yet"
    program.history.close()


async def test_spot_and_twap_expiries_are_signed_once_the_round_is_there(net):
    certificates = await net.certified(4)
    config = net[AGGREGATOR].operator.network.config
    start, target = certificates[0].round, certificates[3].round
    await until(lambda: all(net.round(name) >= target for name in ORACLES))
    window = {"feed": "BTC/USD", "start": start + 1, "target": target, "grace": 10}
    for more in ({}, {"window": 2}):
        answer = await ask(net, AGGREGATOR, "expire", **window, **more)
        assert bytes.fromhex(answer["config"]) == config.encode()
        expiry = ExpiryCertificate.decode(bytes.fromhex(answer["expiry"]))
        expiry.check(config)
        assert expiry.expiry.slot.target_round == target
        if not more:
            assert expiry.expiry.price_e8 == certificates[3].report.price_e8
        again = await ask(net, AGGREGATOR, "expire", **window, **more)
        decoded = ExpiryCertificate.decode(bytes.fromhex(again["expiry"]))
        assert decoded.expiry == expiry.expiry
    all_of_them = await ask(net, AGGREGATOR, "expire", **window, quorum=3)
    decoded = ExpiryCertificate.decode(bytes.fromhex(all_of_them["expiry"]))
    assert [signature[0] for signature in decoded.signatures] == [0, 1, 2]
    for quorum in (1, 4):
        with pytest.raises(ProtocolError, match=f"quorum {quorum}: it must lie between 2 and 3"):
            await ask(net, AGGREGATOR, "expire", **window, quorum=quorum)
    with pytest.raises(ProtocolError, match=r"2 signatures needed: .*refused .*wait"):
        await ask(net, AGGREGATOR, "expire", **window | {"target": target + 1_000_000})
    with pytest.raises(ProtocolError, match="this network prices BTC/USD"):
        await ask(net, AGGREGATOR, "expire", **window | {"feed": "ETH/USD"})


async def test_an_expiry_names_the_oracles_that_did_not_sign(net, monkeypatch):
    (certificate,) = await net.certified(1, "charlie")
    await net.stop("alpha")
    await net.stop("bravo")
    monkeypatch.setattr("actors.aggregator.EXPIRE_S", 0.5)
    with pytest.raises(ProtocolError) as caught:
        await ask(
            net,
            AGGREGATOR,
            "expire",
            feed="BTC/USD",
            start=certificate.round,
            target=certificate.round,
            grace=0,
        )
    assert "oracle 0 gave no answer within 0.5 s; oracle 1 gave no answer" in str(caught.value)
    assert f"oracle 2 signed {certificate.report.price_e8} of round" in str(caught.value)


async def test_an_expiry_that_no_quorum_can_sign_any_more_is_refused_at_once(net, monkeypatch):
    """Two oracles refuse, the third has a moment left. Two at a time may ask the same."""
    (certificate,) = await net.certified(1)
    await net.stop("charlie")
    for name in ("alpha", "bravo"):
        await until(lambda name=name: net.round(name) >= certificate.round)
    monkeypatch.setattr("actors.aggregator.EXPIRE_S", 3_600)
    slot = {"feed": "BTC/USD", "start": certificate.round, "grace": 0}
    late = slot | {"target": certificate.round + 1_000_000}
    asked = [ask(net, AGGREGATOR, "expire", **late) for _ in range(2)]
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(answer, ProtocolError)
        assert str(answer).count(" refused (") == 2
        assert str(answer).endswith("; oracle 2 gave no answer within 0.5 s")
    good = await ask(net, AGGREGATOR, "expire", **slot | {"target": certificate.round})
    assert "expiry" in good


async def test_an_oracle_signs_nothing_before_peers_have_said_what_they_remember(net):
    (certificate,) = await net.certified(1)
    for name in ORACLES:
        await net.stop(name)
    heartbeats = net[AGGREGATOR].member.heartbeats
    before = heartbeats.get(0)
    alpha = net.start("alpha")
    guarded = recorded(alpha)
    await until(lambda: 0 in net[AGGREGATOR].transport.connected)
    slot = dict.fromkeys(("start", "target"), certificate.round)
    with pytest.raises(ProtocolError, match=r"oracle 0 refused \(peers have not said yet what"):
        await ask(net, AGGREGATOR, "expire", feed="BTC/USD", grace=0, **slot)
    config = alpha.operator.network.config
    due = config.round_at(net.clock.now_ms()) + 2
    await until(lambda: alpha.ready()[0] == 3 and config.round_at(net.clock.now_ms()) > due)
    assert recorded(alpha) == guarded
    assert heartbeats.get(0) is before
    net.start("bravo")
    await net.certified(1, after=net.round())
    assert alpha.recollection.missing == {2}
    assert "expiry" in await ask(net, AGGREGATOR, "expire", feed="BTC/USD", grace=0, **slot)


async def test_a_wrong_expiry_is_refused_in_a_sentence(net):
    window = {"feed": "BTC/USD", "start": 1, "target": 2, "grace": 0, "contract": "00" * 44}
    await until(lambda: hasattr(net[AGGREGATOR], "metrics"))
    await until(lambda: net[AGGREGATOR].metrics._server is not None)
    for wrong in ({"exercise": -1}, {"exercise": 2**64}, {"exercise": "x"}, {"contract": "zz"}):
        with pytest.raises(ProtocolError):
            await ask(net, AGGREGATOR, "expire", **window | wrong)
    assert (await ask(net, AGGREGATOR, "status"))["name"] == AGGREGATOR


async def test_an_american_contract_is_settled_in_the_round_of_its_first_notice(net, clock):
    """From the holder's notice over the control socket to the certified exercise."""
    (first,) = await net.certified(1)
    config = net[AGGREGATOR].operator.network.config
    await until(lambda: len(net[AGGREGATOR].transport.connected) == 3)
    exercise = config.round_at(clock.now_ms() + 62_000)
    preimage = b"CON1" + HOLDER.public + (exercise + 1000).to_bytes(8) + b"whatever else"
    notice = notice_of(preimage, exercise)
    forged = replace(notice, signature=bytes(64))
    late = notice_of(preimage, config.round_at(clock.now_ms() + 50_000))
    for one in (forged, late, notice, notice):
        assert await ask(net, AGGREGATOR, "notice", notice=one.encode().hex()) is None
    contract = notice.contract.contract_id
    for name in ORACLES:
        notices = net[name].signer.notices
        await until(lambda notices=notices: notices.exercise_round(contract) == exercise)
        assert sum(notices.refused.values()) == 2
    with pytest.raises(ProtocolError, match="write the bytes in hex"):
        await ask(net, AGGREGATOR, "notice", notice="xy")
    with pytest.raises(ProtocolError, match="EXN1"):
        await ask(net, AGGREGATOR, "notice", notice="00" * 100)

    def expire(target):
        slot = {"start": first.round, "target": target, "grace": 100, "exercise": target}
        return ask(net, AGGREGATOR, "expire", feed="BTC/USD", contract=preimage.hex(), **slot)

    with pytest.raises(ProtocolError, match=f"the contract is settled in round {exercise}"):
        await expire(exercise + 1000)
    clock.ahead_ms += 62_000
    await until(lambda: all(net.round(name) > exercise for name in net.names))
    answer = await expire(exercise)
    expiry = ExpiryCertificate.decode(bytes.fromhex(answer["expiry"]))
    expiry.check(config)
    assert expiry.expiry.slot.subject == notice.contract.subject(exercise)
    assert expiry.expiry.end_round >= exercise


def notice_of(preimage, exercise):
    unsigned = ExerciseNotice(preimage, exercise, bytes(64))
    message = notice_message(unsigned.contract.contract_id, exercise)
    return replace(unsigned, signature=HOLDER.sign(message, bytes(32)))


async def test_a_round_that_the_aggregator_holds_is_certified_by_the_oracles(net):
    await net.certified(1)
    program = net[AGGREGATOR]
    held = net.round() + 3
    await program.hold(held)
    await until(lambda: net.round() >= held)
    await program.release(held)
    assert program._held == {}
    await net.certified(1, after=net.round())


async def test_a_process_of_its_own_is_tuned_and_one_that_is_shared_is_not(net, monkeypatch):
    tuned = []
    monkeypatch.setattr("gc.freeze", lambda: tuned.append("freeze"))
    monkeypatch.setattr("sys.setswitchinterval", tuned.append)
    await net.stop("charlie")
    net.start("charlie")
    await net.certified(1, "charlie")
    assert tuned == []

    async def serve():
        assert tuned == [SWITCH_S, "freeze"]

    await run(SimpleNamespace(serve=serve))


async def test_logs_are_json_with_the_round(net, capsys, caplog):
    caplog.set_level("INFO")
    (certificate,) = await net.certified(1)
    lines = [r.fields for r in caplog.records if r.message == "certified"]
    assert {"round": certificate.round, "grade": "FULL"}.items() <= lines[0].items()
    assert json.dumps(lines)
