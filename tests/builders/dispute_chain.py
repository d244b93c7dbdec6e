"""Disputes on a chain: a contract about a small program, both sides, every move in a block.

Nothing is known but what blocks hold: after each transaction the state of the game is the one that
``Reader`` makes of it. What the terms fix of a claim, the program reads as its price.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from random import Random
from unittest.mock import patch

from bitcoin.core import CTransaction

from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.assertion import Assertion
from protocol.dispute.claim import Fault, Party
from protocol.dispute.play import Execute, Play, Take, Wait
from protocol.dispute.play import Move as GameMove
from protocol.dispute.premises import Premises
from protocol.dispute.sides import challenger_move
from protocol.errors import DisputeError, ProtocolError
from protocol.oracle.expiry import ExpirySlot
from protocol.settlement.contract import Contract
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.reading import assertion_of, fault_of, move_of
from protocol.settlement.dispute.spends import (
    Spend,
    signed_by_label,
    spends_of,
    timeout_spend,
)
from protocol.settlement.graph import Graph
from protocol.settlement.move import ANCHOR_SCRIPT
from protocol.settlement.onetime import SignedMessage
from protocol.settlement.presign import assemble
from protocol.settlement.reading import Reader
from protocol.settlement.spending import alone_tx
from protocol.settlement.terms import ContractTerms, Role
from regtest.chain import rule_broken
from riscv_vm.image import ProgramImage
from tests.builders.contracts import (
    AUX,
    KEYS,
    NONFINAL,
    SPENT,
    Deal,
    Stage,
    claim_of_bits,
    contract_of,
    contract_terms,
)
from tests.builders.disputes import Run, settling_program

UNITS = 0x5A
"""What the small programs find right."""


def small_terms(log4_steps: int, width: int = 20, **changes: object) -> ContractTerms:
    """Terms about a trace that is too short for the settlement program, but not for ours."""
    slot = ExpirySlot(
        config_digest=UNITS.to_bytes(4) + bytes(28),
        feed_id=b"\xfe" * 32,
        start_round=100,
        target_round=110,
    )
    chain = {"log4_steps": log4_steps, "width": width, "bond_sats": 900_000, **changes}
    with patch("protocol.settlement.terms.steps_max", lambda quorum: 1):
        return contract_terms(claim_of_bits(slot=slot), **chain)


def claim_data(premises: Premises, units: int) -> bytes:
    """A claim of ``units`` that the terms allow; what it publishes besides is arbitrary."""
    rng = Random(units)
    digits = [rng.randrange(16) for _ in range(premises.layout.size - 2)]
    return premises.layout.data((*digits, *divmod(units, 16)))


@dataclass(frozen=True, repr=False)
class Setting:
    """A contract, one of its directions, and the honest run of a true claim."""

    terms: ContractTerms
    judge: ProgramImage | None
    """None for the settlement guest."""
    prover: Role

    @cached_property
    def contract(self) -> Contract:
        return contract_of(self.terms, self.judge)

    @property
    def course(self) -> Course:
        return self.contract.courses[self.prover]

    @property
    def premises(self) -> Premises:
        return self.course.premises

    def run(self, units: int = UNITS) -> Run:
        return run_of(self.premises, claim_data(self.premises, units))


@lru_cache(maxsize=64)
def run_of(premises: Premises, data: bytes) -> Run:
    return Run(premises, data)


@lru_cache(maxsize=8)
def setting(
    log4_steps: int, width: int = 20, prover: Role = Role.HOLDER, size: int = 20, turns: int = 1
) -> Setting:
    image = settling_program(Random(log4_steps), size, turns)
    return Setting(small_terms(log4_steps, width), image, prover)


@dataclass(repr=False)
class Table:
    """One game on a chain. ``txs`` are its transactions by name, the last one the newest."""

    stage: Stage
    setting: Setting
    made: Deal
    play: Play
    reader: Reader
    heard: dict[Label, SignedMessage] = field(default_factory=dict)
    guards: dict[Role, dict[Label, Digits]] = field(default_factory=lambda: {r: {} for r in Role})
    txs: dict[str, CTransaction] = field(default_factory=dict)
    fault: Fault | None = None
    newest: str = "FUND"

    @classmethod
    def fund(cls, stage: Stage, about: Setting) -> "Table":
        """FUND in a block, after both have signed everything else."""
        made = stage.fund(about.terms, about.judge)
        return cls(stage, about, made, Play(about.premises), Reader(made.graph))

    @property
    def graph(self) -> Graph:
        return self.made.graph

    @property
    def course(self) -> Course:
        return self.setting.course

    def role(self, party: Party) -> Role:
        prover = self.setting.prover
        return prover if party is Party.PROVER else prover.other

    # Making transactions

    def transactions(self, move: GameMove, party: Party) -> list[tuple[Spend, CTransaction]]:
        """What says ``move``, signed by ``party``, whether or not it is right."""
        role = self.role(party)
        after = self._after(move)
        values = signed_by_label(self.course, *after)
        made = []
        for spend in spends_of(self.course, self.play, move):
            way = self._way(spend)
            own = {m.label: values[m.label] for m in way.messages if m.label.role == role.value}
            messages = {**self.heard, **self._signed(role, own)}
            made.append((spend, self._finished(spend, role, messages)))
        return made

    def _after(self, move: GameMove) -> tuple[object, ...]:
        """Transcript and assertion with ``move`` in them, without asking whether it holds."""
        if isinstance(move, Execute):
            return replace(self.play.said, fragment=move.fragment), None
        if isinstance(move, Assertion):
            return self.play.said, move
        try:
            return self.play.apply(move).said, self.play.assertion
        except DisputeError:
            return self.play.said, self.play.assertion

    def _signed(self, role: Role, values: Mapping[Label, Digits]) -> dict[Label, SignedMessage]:
        return self.made.one_time[role].sign(values, self.guards[role])

    def _way(self, spend: Spend):
        move = self.graph.move(spend.move)
        if spend.output is not None:
            return move.locks[spend.output].path(spend.way)
        return move.way(spend.way)[1]

    def _finished(
        self, spend: Spend, role: Role, messages: Mapping[Label, SignedMessage]
    ) -> CTransaction:
        if spend.output is None:
            move = self.graph.move(spend.move)
            return assemble(move, self.made.signatures, messages, way=spend.way, hints=spend.hints)
        return alone_tx(self.graph, role, [spend], KEYS[role], AUX, messages)

    # On the chain

    def act(self, move: GameMove, party: Party) -> None:
        """``move`` in a block each, and the game as the blocks tell it."""
        for spend, tx in self.transactions(move, party):
            waited = confirm(self.stage, tx)
            window = self.course.terms.chain.challenge_window if isinstance(move, Take) else 1
            assert waited == window - 1, f"{spend.way} had to wait {waited} blocks"
            self._read(spend.way, tx)

    def _read(self, name: str, tx: CTransaction) -> None:
        seen = self.reader.read(tx)
        assert seen is not None
        self.txs[name] = tx
        if seen.move is None:
            self.fault = fault_of(seen)
            self.play = self.play.expire() if self.fault is Fault.TIMEOUT else self.play
            return
        self.newest = seen.move
        said = move_of(self.course, seen) or assertion_of(self.course, seen, self.heard)
        self.heard |= seen.messages
        if said is not None:
            self.play = self.play.apply(said)

    def wait(self) -> None:
        """Nobody moves: the other side ends it as soon as a block may hold that."""
        if self.play.wait is Wait.REFUTE:
            self.play = self.play.expire()
            return
        spend = timeout_spend(self.course, self.play, self.newest)
        other = Party.CHALLENGER if self.play.turn is Party.PROVER else Party.PROVER
        tx = self._finished(spend, self.role(other), self.heard)
        waited = confirm(self.stage, tx)
        assert waited == self._window() - 1, f"{spend.way} came after {waited} blocks"
        self.play = self.play.expire()
        self.txs[spend.way] = tx
        self.fault = self.play.outcome.fault

    def _window(self) -> int:
        """The blocks that the waiting side has: what the design says, not the code."""
        chain = self.course.terms.chain
        match self.play.wait:
            case Wait.WINDOW | Wait.VERDICT:
                return chain.challenge_window
            case Wait.TAKE:
                return chain.challenge_window + chain.move_window
        return chain.move_window

    def try_act(self, move: GameMove, party: Party) -> bool:
        """``act`` if the game allows the move; else the chain refuses what would say it."""
        try:
            self.play.apply(move)
        except DisputeError:
            self.refuse(move, party)
            return False
        self.act(move, party)
        return True

    def refuse(self, move: GameMove, party: Party) -> bool:
        """No block may hold ``move``; False if it cannot even be written for a leaf."""
        try:
            _, tx = self.transactions(move, party)[-1]
        except ProtocolError:
            return False
        verdict = self.stage.chain.check(tx)
        assert not verdict.consensus, f"{move} is accepted"
        return True

    def play_out(
        self, prover: Callable[[Play], object], challenger: Callable[[Play], object]
    ) -> Party:
        """The game to its end: who got the pot, by the blocks."""
        for _ in range(100):
            party = self.play.turn
            if party is None:
                break
            move = prover(self.play) if party is Party.PROVER else challenger(self.play)
            if move is None or not self.try_act(move, party):
                self.wait()
            elif self.fault is not None:
                if self.fault is Fault.REFUTED:
                    self.play = self.play.apply(move)
                    self.settle_after_refute()
                else:
                    self.play = self.play.apply(move)
        return self.play.outcome.winner

    def settle_after_refute(self) -> None:
        """TAKE is dead; V goes to SETTLE_assert."""
        turn = self.play.assertion.place.turn
        spend = Spend(self.course.name(f"TAKE_{turn}"), self.course.name(f"TAKE_{turn}"))
        take = self._finished(spend, self.role(Party.CHALLENGER), self.heard)
        verdict = self.stage.chain.check(take)
        assert rule_broken(verdict.consensus_reason) == SPENT
        name = self.course.name(f"SETTLE_assert_{turn}")
        settle = self._finished(Spend(name, name), self.role(Party.PROVER), self.heard)
        confirm(self.stage, settle)
        self.txs[name] = settle

    # Who has what

    @property
    def last(self) -> str:
        """The name of the newest transaction."""
        return list(self.txs)[-1]

    def received(self, party: Party) -> int:
        """What the party's own script holds of the newest transaction."""
        script = self.course.terms.party(self.role(party)).script
        outs = self.txs[self.last].vout
        return sum(int(out.nValue) for out in outs if bytes(out.scriptPubKey) == script)

    def burnt(self) -> int:
        """What fees and anchors have taken of FUND's output, and REFUTE for the prover."""
        outs = self.txs[self.last].vout
        left = sum(int(out.nValue) for out in outs if bytes(out.scriptPubKey) != ANCHOR_SCRIPT)
        return self.graph.contract.value_sats - left


def confirm(stage: Stage, tx: CTransaction) -> int:
    """``tx`` in the first block that may hold it; the blocks that it had to wait for.

    Bitcoin Core relays it; a node with rules of its own may not, then a miner is given it.
    """
    waited = 0
    while not (verdict := stage.chain.check(tx)).consensus:
        stage.refused(tx, NONFINAL)
        stage.chain.mine()
        waited += 1
    assert verdict.relayed is not False, verdict.policy_reason
    if verdict.accepted:
        stage.broadcast(tx)
    else:
        stage.chain.mine(txs=[tx])
    return waited


def honest_challenger(play: Play) -> object:
    """C's honest move from its own run of what was published."""
    data = play.premises.layout.data(play.said.input_digits)
    return challenger_move(play, run_of(play.premises, data))
