"""Disputes with real processes: players that die come back, players that misbehave lose."""

import os
import shutil
import signal
from dataclasses import replace

import pytest

from actors import placement
from actors.challenger import Challenger
from actors.coordinator import Coordinator
from actors.faults import forge
from actors.outcomes import value
from actors.prover import Job, Prover
from protocol.dispute.game import Fault, Party
from protocol.errors import ConfigError, DisputeError, TermsError
from protocol.settlement.claim import claim_of
from protocol.settlement.terms import settlement_image
from riscv_vm.prove import prove
from riscv_vm.record import Record
from tests.fault.coordinator_child import certified, settings

START_S = 120.0


class Table:
    """A funded contract with a false claim on it, and the job that the liar committed to."""

    def __init__(self, folder, move_ms):
        self.settings = settings(folder, move_ms)
        self.coordinator = Coordinator(self.settings)
        self.coordinator.fund()
        self.image = settlement_image(self.coordinator.terms)
        claim = claim_of(self.coordinator.terms, certified(self.coordinator))
        self.honest = self.coordinator.honest_payout(claim.certificate.encode())
        claim = replace(claim, units=claim.units + 1)
        execution = Job(claim.encode(), 12, 20, 8).execution(self.image)
        forged = forge(execution, prove(execution).steps)
        self.job = Job(claim.encode(), 12, 20, 8, forged.forgery)
        self.coordinator.claim(claim, prove(forged).root, 12, 20)

    def paid(self):
        return self.coordinator.settle(prove(self.job.execution(self.image)).root)


@pytest.fixture
def table(cluster, tmp_path, request):
    table = Table(tmp_path, getattr(request, "param", 500))
    yield table
    table.coordinator.close()


@pytest.fixture
def start(cluster, request):
    started = []

    def start(kind, actor, *args):
        name = f"{request.node.name}-{len(started)}"
        started.append(placement.start(kind, name, actor, *args))
        return started[-1]

    yield start
    for actor in started:
        placement.stop(actor)


@pytest.mark.ray
@pytest.mark.parametrize("table", [30_000], indirect=True)
@pytest.mark.parametrize("victim", ["prover", "challenger"])
def test_a_player_that_is_killed_is_asked_again(table, start, victim):
    players = {
        "prover": start(placement.PROVER, Prover, table.image),
        "challenger": start(placement.CHALLENGER, Challenger, table.image),
    }
    pids = {name: value(player.pid.remote(), START_S) for name, player in players.items()}
    os.kill(pids[victim], signal.SIGKILL)
    verdict = table.coordinator.dispute(players["prover"], table.job, players["challenger"])
    assert (verdict.winner, verdict.fault) == (Party.CHALLENGER, Fault.EXECUTE)
    assert table.paid() == table.honest


class Rude:
    """A player that answers ``reply``, or raises it."""

    def __init__(self, reply):
        self._reply = reply

    def answer(self, job, game):
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply

    choose = answer


REPLIES = [
    None,
    7,
    "abcd",
    [1, 2, 3, 4],
    ["a" * 20] * 4,
    [bytes(20)] * 3,
    [bytes(19)] * 4,
    [Record(-1, 0, 0)] * 4,
    ZeroDivisionError("bug"),
    ValueError("no"),
    TimeoutError("later"),
    DisputeError("I will not"),
]


@pytest.mark.ray
@pytest.mark.parametrize("reply", REPLIES, ids=repr)
def test_a_prover_that_says_anything_but_a_move_has_fallen_silent(table, start, reply):
    rude = start(placement.CHALLENGER, Rude, reply)
    verdict = table.coordinator.dispute(rude, table.job, rude)
    assert (verdict.winner, verdict.fault) == (Party.CHALLENGER, Fault.TIMEOUT)
    with pytest.raises(TermsError, match="does not follow"):
        table.paid()
    table.coordinator.refund()
    assert [tx.name for tx in table.coordinator.transactions()] == ["FUND", "REFUND"]


@pytest.mark.ray
@pytest.mark.parametrize("table", [5_000], indirect=True)
@pytest.mark.parametrize("reply", [None, 4, 1.0, True, "0", ValueError("no")])
def test_a_challenger_that_says_anything_but_a_digit_loses(table, start, reply):
    prover = start(placement.PROVER, Prover, table.image)
    value(prover.pid.remote(), START_S)
    rude = start(placement.CHALLENGER, Rude, reply)
    verdict = table.coordinator.dispute(prover, table.job, rude)
    assert (verdict.winner, verdict.fault) == (Party.PROVER, Fault.TIMEOUT)
    with pytest.raises(TermsError, match="does not follow"):
        table.coordinator.refund()


def test_a_journal_belongs_to_one_contract(tmp_path):
    first = settings(tmp_path / "a")
    Coordinator(first).close()
    (tmp_path / "a" / "terms").unlink()
    shutil.rmtree(tmp_path / "a" / "keys")
    with pytest.raises(ConfigError, match="another contract"):
        Coordinator(settings(tmp_path / "a"))
