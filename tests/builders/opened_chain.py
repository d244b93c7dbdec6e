"""Disputes about an opened input on a chain: KICKOFF shows the root alone, the course follows.

There is no contract around it: one output of both parties, KICKOFF, SETTLE, which pays all of it to
the prover, and the dispute. ``Table`` plays it as it plays a contract's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from bitcoin.core import COutPoint, CTransaction

from protocol.bitcoin.tx import outpoint, txid, txout
from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.claim import Party
from protocol.dispute.leaves import said
from protocol.dispute.play import Play
from protocol.settlement.dispute.course import Course
from protocol.settlement.dispute.leaf import Keys
from protocol.settlement.dispute.spends import Spend
from protocol.settlement.graph import Tree, placed
from protocol.settlement.move import FUND, Draft, Paid, all_of_it, priced
from protocol.settlement.onetime import OneTimeKeys, SignedMessage
from protocol.settlement.path import Lock, SpendPath, revealed
from protocol.settlement.presign import assemble, presign, require_signatures
from protocol.settlement.reading import Reader
from protocol.settlement.spending import Taken, fresh_tx
from protocol.settlement.terms import ContractTerms, Role
from tests.builders.contracts import AUX, KEYS, Stage, one_time_of
from tests.builders.dispute_chain import Table, small_terms
from tests.builders.disputes import Run
from tests.builders.opened import opened_run

VALUE_SATS = 3_000_000


@dataclass(frozen=True)
class AllToProver:
    """What SETTLE pays."""

    scripts: tuple[bytes, ...]
    locks: tuple[Lock, ...] = ()

    def amounts(self, left: int, _paid: Paid) -> tuple[int, ...]:
        return (left,)


@dataclass(frozen=True)
class OpenedSetting:
    """Terms, a run that halts on an opened input, and who proves that."""

    terms: ContractTerms
    honest: Run
    prover: Role

    @property
    def premises(self):
        return self.honest.premises

    @cached_property
    def keys(self) -> Keys:
        bundles = {role: keys.public for role, keys in one_time_of(self.terms).items()}
        return Keys.of(self.terms, self.prover, bundles)

    @cached_property
    def course(self) -> Course:
        ending = AllToProver((self.terms.party(self.prover).script,))
        return Course(self.terms, self.prover, ending, self.premises, self.keys)

    def kickoff(self) -> Draft:
        """KICKOFF, SETTLE and the dispute."""
        course, name, chain = self.course, self.prover.value, self.terms.chain
        prover, other = self.terms.party(self.prover), self.terms.party(self.prover.other)
        both = {self.prover: prover.prover_key, self.prover.other: other.challenger_key}
        settle = SpendPath(f"{name}:SETTLE", both, blocks=chain.challenge_window)
        ends = course.ending
        end = Draft(settle.name, self.prover, None, ((settle,),), (), ends.scripts, ends.amounts)
        place = said.root(self.premises.width)
        shown = revealed(self.keys.messages[place].label, self.keys.one_time[place])
        way = SpendPath(f"{name}:KICKOFF", both, messages=(shown,), blocks=1)
        lock = Lock.of([settle, course.challenge.inputs[0][0]])
        then = (end, course.challenge)
        return Draft(way.name, self.prover, self.prover, ((way,),), (lock,), (), all_of_it, then)

    def graph(self, fund: COutPoint, draft: Draft) -> Tree:
        root = Lock.of(list(draft.inputs[0]))
        held = [(root, VALUE_SATS)]
        found = priced(draft, FUND, held, self.terms.chain.feerate_sat_vb, dict.fromkeys(Role, 0))
        return Tree(root, fund, placed({move.name: move for move in found}, fund))


@lru_cache(maxsize=8)
def opened_setting(
    size: int, log4_steps: int, width: int = 20, prover: Role = Role.HOLDER
) -> OpenedSetting:
    run = opened_run(size, log4_steps, width)
    return OpenedSetting(small_terms(log4_steps, width, bond_sats=3_000_000), run, prover)


@dataclass(frozen=True)
class Made:
    """What both have signed."""

    graph: Tree
    one_time: Mapping[Role, OneTimeKeys]
    signatures: Mapping[Role, Mapping[str, bytes]]


@dataclass(repr=False)
class OpenedTable(Table):
    """A game about an opened input on a chain."""

    guards: dict[Role, dict[Label, Digits]] = field(default_factory=lambda: {r: {} for r in Role})

    @classmethod
    def fund(cls, stage: Stage, about: OpenedSetting) -> "OpenedTable":
        draft = about.kickoff()
        root = Lock.of(list(draft.inputs[0]))
        paid = stage.wallets[about.prover].pay([txout(VALUE_SATS, root.script_pubkey)], AUX)
        graph = about.graph(outpoint(txid(paid), 0), draft)
        signatures = {role: presign(graph, role, KEYS[role], AUX) for role in Role}
        for role in Role:
            require_signatures(graph, role, signatures[role])
        stage.broadcast(paid)
        made = Made(graph, one_time_of(about.terms), signatures)
        return cls(stage, about, made, Play(about.premises), Reader(graph))

    def _finished(
        self, spend: Spend, role: Role, messages: Mapping[Label, SignedMessage]
    ) -> CTransaction:
        move = self.graph.move(spend.move)
        if spend.output is None:
            return assemble(move, self.made.signatures, messages, way=spend.way, hints=spend.hints)
        taken = Taken.of(move, spend.output, spend.way, messages, spend.hints)
        return fresh_tx(self.course.terms, role, [taken], KEYS[role], AUX)

    def has_all(self, party: Party) -> bool:
        """Whether ``party`` has what FUND held, less fees and anchors, and the other side nothing.

        Of an assertion that was refuted K is burnt as well.
        """
        other = Party.CHALLENGER if party is Party.PROVER else Party.PROVER
        return self.received(other) == 0 < self.received(party)
