"""Whole disputes about the settlement program, played by two parties and audited by a stranger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.audit_command import retraced
from actors.chain_contracts import read_contract
from actors.config import CHAIN_NODE
from actors.dispute_play import lie_named, play
from actors.dispute_play_stage import CONTRACT, Stage
from protocol.settlement.dispute.audit import audit
from protocol.settlement.dispute.explain import explain
from protocol.settlement.dispute.story import story_of
from protocol.settlement.terms import Role
from regtest.kernel import KernelChain
from riscv_vm.isa import LOG4_STEPS_DEFAULT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GAMES = [
    *(("step", "middle"), ("payout", "middle"), ("root", "middle"), ("stall", "middle")),
    *(("wrong-opcode", "middle"), ("wrong-pc", "first"), ("future", "middle")),
    *(("wrong-initial", "first"), ("other-input", "middle"), ("wrong-value", "last")),
    *(("block", "middle"), ("node-6", "middle"), ("no-refute", "middle")),
    *(("silent-execute", "middle"), ("challenge", "middle"), ("assert-stale-way", "middle")),
    *(("assert-pc-record", "middle"), ("silent-pick-3", "middle"), ("no-take", "middle")),
]


@pytest.fixture(scope="module", params=[20, 32])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("stage")
    return Stage.create(folder, "kernel", request.param, lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "game"


@pytest.mark.parametrize("number", range(len(GAMES)), ids=[lie for lie, _ in GAMES])
def test_a_stranger_judges_as_the_parties_do(stage: Stage, folder: Path, number: int) -> None:
    """The chain and the public part of the contract file are all that the auditor has."""
    (lie, place), prover = GAMES[number], list(Role)[number % 2]
    game = play(stage, lie_named(lie, LOG4_STEPS_DEFAULT), prover, place, 0, folder)
    assert game.ok
    graph = read_contract(folder / CONTRACT).graph()
    with KernelChain(folder / CHAIN_NODE) as chain:
        story = story_of(graph, chain)
    found = audit(story, lambda data: retraced(graph, data))
    told = [explain(story, act) for act in story.acts]
    assert [one.txid for one in told[1:]] == [move.txid for move in game.moves]
    assert all(act.objection == "" for act in story.acts)
    claim = found.claim
    assert claim is not None and claim.prover is prover
    # Where both lie, who falls silent loses, whatever is true.
    honest = lie == "no-refute" or (game.side == "challenger" and lie != "no-take")
    assert claim.is_true == honest
    assert found.challenger_is_right is (not honest)
    liars = {told.party for told in found.lies}
    assert (prover in liars) is not honest
    assert (prover.other in liars) is honest
    wronged = {"no-refute": prover, "no-take": prover.other, "silent-pick-3": None}.get(lie)
    assert found.wronged is wronged, found.reason
    if game.winner == "challenger":
        assert found.shares[prover].due_sats == 0
    for role, share in found.shares.items():
        assert share.right
        if share.open_sats == 0 and game.winner == "challenger":
            assert share.arrived_sats == game.received_sats[role.value]
    assert found.decided.name.endswith(game.leaf) or game.fault == "REFUTED"
