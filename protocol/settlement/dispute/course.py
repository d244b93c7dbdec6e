"""The dispute of one direction as drafts, from KICKOFF's output on (dispute.md 3).

    KICKOFF -+- SETTLE                        the window passes
             +- CHALLENGE - REVEAL_1 - PICK_1 - .. - REVEAL_k - PICK_k - EXECUTE -+- VERDICT
                            SETTLE_round_t    or C is silent    SETTLE_execute   -+
                                                                 ASSERT_t -+- TAKE_t
                                                   REFUTE_t, SETTLE_assert_t -+

P, the prover, reveals four nodes a round and in round k the four records; C, the challenger, picks
one. An output waits for one of them:

    for P   its next move from the next block on, or C alone after ``move_window``: TIMEOUT
    for C   its next move from the next block on, or a SETTLE, which both have signed, after
            ``move_window``; after ``challenge_window`` where C needs time: CHALLENGE, VERDICT

VERDICT, TIMEOUT and REFUTE have one signer and are no drafts; everything else is pre-signed. ASSERT
has two outputs: V holds the pot, K what the dearest REFUTE costs. TAKE spends both, after
``challenge_window``; REFUTE spends K before, so that V is left to SETTLE_assert. Where an assertion
does not fit one transaction, ASSERT_t_path signs its lower nodes first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Protocol

from bitcoin.core import COutPoint

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.tx import transaction, txin, txout
from protocol.dispute.claim import FAN
from protocol.dispute.leaves import execute, moves
from protocol.dispute.leaves.catalog import verdict_leaves
from protocol.dispute.leaves.execute import Borders
from protocol.dispute.leaves.said import Said
from protocol.dispute.leaves.template import Template
from protocol.dispute.leaves.verdict_assert import (
    assert_leaves,
    assert_path,
    refute_leaves,
    shapes,
)
from protocol.dispute.leaves.verdict_open import Shape
from protocol.dispute.premises import Premises
from protocol.settlement.direction import timeout_name
from protocol.settlement.dispute.leaf import Keys, LeafPath, lock_of
from protocol.settlement.move import Amounts, Beside, Draft, Inputs, Paid, all_of_it
from protocol.settlement.party_terms import PartyTerms, Role
from protocol.settlement.path import Lock, SpendPath, widest_vsize

EXECUTE: Final = "EXECUTE"


class Windows(Protocol):
    """How long each side may take, in blocks, and what a virtual byte may cost."""

    @property
    def move_window(self) -> int: ...

    @property
    def challenge_window(self) -> int: ...

    @property
    def feerate_sat_vb(self) -> int: ...

    @property
    def max_feerate_sat_vb(self) -> int: ...


class DisputeTerms(Protocol):
    """What a dispute asks of the terms around it."""

    @property
    def chain(self) -> Windows: ...

    def party(self, role: Role) -> PartyTerms: ...


class Ending(Protocol):
    """What SETTLE pays once the claim was challenged and stood."""

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Of its first outputs."""

    @property
    def scripts(self) -> tuple[bytes, ...]:
        """Of the outputs behind them."""

    def amounts(self, left: int, paid: Paid, /) -> tuple[int, ...]:
        """The sats of every output."""


@dataclass(frozen=True, slots=True)
class Course:
    """The dispute where ``prover`` proves; ``challenge`` is its first draft.

    ``published`` are the messages that publish the input's digits, in order. What convicts the
    prover by signatures of both, TAKE, spends ``seals`` too.
    """

    terms: DisputeTerms
    prover: Role
    ending: Ending
    premises: Premises
    keys: Keys = field(repr=False)
    published: tuple[Said, ...] = ()
    seals: tuple[Beside, ...] = ()
    challenge: Draft = field(init=False, repr=False)
    verdicts: tuple[LeafPath, ...] = field(init=False, repr=False)
    """What convicts the prover after EXECUTE, for the challenger alone."""

    def __post_init__(self) -> None:
        """ScriptError if a leaf or a transaction does not fit its limits."""
        leaves = _verdict_leaves(self.premises, self.published)
        verdicts = tuple(
            self._leaf(leaf, self._challenger, f"VERDICT_{leaf.name}") for leaf in leaves
        )
        object.__setattr__(self, "verdicts", verdicts)
        draft = self._execute()
        for turn in range(self.premises.log4_steps, 0, -1):
            draft = self._round(turn, draft)
        ways = ((SpendPath(self.name("CHALLENGE"), self._both, blocks=1),),)
        object.__setattr__(self, "challenge", self._asked("CHALLENGE", ways, draft))

    def name(self, what: str) -> str:
        """The full name of a move or of a way."""
        return f"{self.prover.value}:{what.replace(' ', '_')}"

    # The moves

    def _round(self, turn: int, then: Draft) -> Draft:
        """REVEAL_turn, with PICK_turn and ``then``, the prover's move behind that."""
        k, width = self.premises.log4_steps, self.premises.width
        digit = self._leaf(moves.digit(k, turn), self._both, f"PICK_{turn}")
        pick = self._asked(f"PICK_{turn}", ((digit,),), then)
        window = self.terms.chain.move_window
        settle = self._settle(f"round_{turn}", window)
        shown = moves.reveal_block(k) if turn == k else moves.reveal(width, turn)
        reveal = self._leaf(shown, self._both, f"REVEAL_{turn}")
        return self._pass_on(self.prover, f"REVEAL_{turn}", ((reveal,),), settle, pick)

    def _execute(self) -> Draft:
        """EXECUTE, one way an instruction, and what C may do about it."""
        borders = Borders.of(self.premises)
        ways = tuple(
            self._leaf(execute.template(name, borders), self._both, f"{EXECUTE}_{name}")
            for name in execute.names()
        )
        settle = self._settle("execute", self.terms.chain.challenge_window)
        then = (settle, *map(self._assert, self.asserted))
        return self._pass_on(self.prover, EXECUTE, (ways,), *then, others=self.verdicts)

    def _assert(self, turn: int) -> Draft:
        """ASSERT_turn; what signs its lower nodes comes before where that does not fit."""
        k, width = self.premises.log4_steps, self.premises.width
        every = [Shape(k, width, turn, child) for child in range(FAN - 1)]
        ways = tuple(
            self._leaf(leaf, self._both) for shape in every for leaf in assert_leaves(shape)
        )
        connector, sats = self._connector(every[0])
        take = self._take(turn, connector)
        window = self.terms.chain.challenge_window + self.terms.chain.move_window
        settle = self._settle(f"assert_{turn}", window)
        value = lock_of([settle.inputs[0][0], take.inputs[0][0]])

        def amounts(left: int, _paid: Paid) -> tuple[int, ...]:
            return left - sats, sats

        name, role, then = f"ASSERT_{turn}", self.prover.other, (settle, take)
        draft = self._draft(name, role, (ways,), (value, connector), amounts, then)
        lower = assert_path(every[0])
        if lower is None:
            return draft
        path = ((self._leaf(lower, self._both, f"ASSERT_{turn}_path"),),)
        silent = self._settle(f"path_{turn}", self.terms.chain.move_window)
        return self._pass_on(role, f"ASSERT_{turn}_path", path, silent, draft)

    def _connector(self, shape: Shape) -> tuple[Lock, int]:
        """K, and its sats: they pay for any REFUTE at ``max_feerate_sat_vb``."""
        window = self.terms.chain.challenge_window
        name = self.name(f"TAKE_{shape.turn}_CONNECTOR")
        refutes = [self._leaf(leaf, self._prover) for leaf in refute_leaves(shape)]
        lock = lock_of([SpendPath(name, self._both, blocks=window), *refutes])
        script = self.terms.party(self.prover).script
        sats = self.terms.chain.max_feerate_sat_vb * alone_vsize(lock, refutes, script)
        return lock, sats + dust_limit_sats(script)

    def _take(self, turn: int, connector: Lock) -> Draft:
        """TAKE_turn: C takes V and K."""
        window = self.terms.chain.challenge_window
        value = SpendPath(self.name(f"TAKE_{turn}"), self._both, blocks=window)
        role = self.prover.other
        return Draft(
            name=self.name(f"TAKE_{turn}"),
            prover=self.prover,
            payer=role,
            inputs=((value,), (connector.paths[0],)),
            locks=(),
            plain=(self.terms.party(role).script,),
            amounts=all_of_it,
            beside=tuple(self._sealed(seal, value.name) for seal in self.seals),
        )

    def _settle(self, stage: str, blocks: int) -> Draft:
        """SETTLE_stage: what the claim says, and C's bond goes to P."""
        way = SpendPath(self.name(f"SETTLE_{stage}"), self._both, blocks=blocks)
        return Draft(
            name=way.name,
            prover=self.prover,
            payer=None,
            inputs=((way,),),
            locks=self.ending.locks,
            plain=self.ending.scripts,
            amounts=self.ending.amounts,
        )

    def _sealed(self, seal: Beside, taken: str) -> Beside:
        """``seal`` as it is spent together with ``taken``; names of ways differ within a graph."""
        return replace(seal, way=replace(seal.way, name=f"{taken}_SEAL"))

    # What they are made of

    def _asked(self, what: str, inputs: Inputs, then: Draft) -> Draft:
        """A move of C, after which P moves by ``then`` or loses."""
        other = self.prover.other
        late = SpendPath(
            timeout_name(self.prover),
            self._challenger,
            blocks=self.terms.chain.move_window,
        )
        lock = lock_of([late, *then.inputs[0]])
        return self._draft(what, other, inputs, (lock,), all_of_it, (then,))

    def _pass_on(
        self,
        payer: Role,
        what: str,
        inputs: Inputs,
        *then: Draft,
        others: tuple[SpendPath, ...] = (),
    ) -> Draft:
        """A move whose one output goes on by ``then``, the first being cheapest, or ``others``."""
        ways = [way for draft in then for way in draft.inputs[0]]
        return self._draft(what, payer, inputs, (lock_of([*ways, *others]),), all_of_it, then)

    def _draft(
        self,
        what: str,
        payer: Role,
        inputs: Inputs,
        locks: tuple[Lock, ...],
        amounts: Amounts,
        then: tuple[Draft, ...],
    ) -> Draft:
        return Draft(self.name(what), self.prover, payer, inputs, locks, (), amounts, then)

    def _leaf(
        self, template: Template, signers: dict[Role, bytes], name: str | None = None
    ) -> LeafPath:
        own = self.name(name or template.name)
        return LeafPath(own, signers, blocks=1, template=template, keys=self.keys)

    @property
    def _both(self) -> dict[Role, bytes]:
        return self._prover | self._challenger

    @property
    def _prover(self) -> dict[Role, bytes]:
        return {self.prover: self.terms.party(self.prover).prover_key}

    @property
    def _challenger(self) -> dict[Role, bytes]:
        other = self.prover.other
        return {other: self.terms.party(other).challenger_key}

    @property
    def asserted(self) -> tuple[int, ...]:
        """The turns below whose nodes an OPEN is too deep for a verdict, so that C asserts it."""
        deep = shapes(self.premises.log4_steps, self.premises.width)
        return tuple(sorted({shape.turn for shape in deep}))

    @property
    def executed(self) -> Lock:
        """EXECUTE's output."""
        return next(draft for draft in self.walk() if draft.name == self.name(EXECUTE)).locks[0]

    @property
    def clock_blocks(self) -> int:
        """How long a dispute lasts from KICKOFF on if everybody lets every window pass but the
        last block of it, the prover's sweeps included."""
        return self.terms.chain.challenge_window + _longest(self.challenge)

    def walk(self) -> Iterator[Draft]:
        """Every draft of the dispute."""
        waiting = [self.challenge]
        while waiting:
            draft = waiting.pop()
            yield draft
            waiting += draft.then


@lru_cache(maxsize=2)
def _verdict_leaves(premises: Premises, published: tuple[Said, ...]) -> tuple[Template, ...]:
    """Both directions of a contract have the same."""
    return tuple(verdict_leaves(premises, published))


def alone_vsize(lock: Lock, ways: Sequence[LeafPath], script: bytes) -> int:
    """The virtual bytes of a transaction that spends ``lock`` by the dearest of ``ways`` and pays
    to ``script``."""
    tx = transaction([txin(COutPoint())], [txout(0, script)])
    return widest_vsize(tx, [lock], [ways])


def _longest(draft: Draft) -> int:
    """The windows of the longest way down from ``draft``, in blocks."""
    waits = [way.blocks for lock in draft.locks for way in lock.paths]
    return max(waits, default=0) + max(map(_longest, draft.then), default=0)
