"""A party that lies on purpose (``party run --lie NAME``): to see what becomes of it.

A lie is told about a claim, which is known when it is made: until then, and wherever it claims or
challenges nothing, the party is honest. Started again it tells the same.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

from protocol.dispute.claim import Party as Side
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.scene import Past, Scene
from protocol.dispute.play import Play
from protocol.dispute.premises import Premises
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ConfigError, TermsError
from protocol.options.payoff import units_max
from protocol.settlement.claim import Claim, claim_of
from protocol.settlement.party import Party
from protocol.settlement.terms import ContractTerms, Role, contract_id
from riscv_vm.execution import Execution
from riscv_vm.forge import Forgery
from riscv_vm.isa import LOG4_STEPS_DEFAULT
from riscv_vm.prove import prove


def require_lie(name: str, side: Side | None = None) -> None:
    """ConfigError if there is no such lie, or if the other side tells it."""
    lies = catalogue(LOG4_STEPS_DEFAULT)
    if name not in lies:
        raise ConfigError(f"--lie {name}: no such lie; `oracle-vm dispute list` names all")
    if side not in (None, lies[name].side):
        raise ConfigError(f"--lie {name}: told by a {lies[name].side}, not by a {side}")


def lying(name: str, party: Callable[[], Party]) -> Strategy:
    """How ``party()``, once it claims or challenges, tells the lie of that name. TermsError then if
    it cannot be told about the claim."""
    lies = LyingParty(name, party)
    return Strategy(
        claim=lambda data: lies.own().claim(data),
        root=lambda data, root: lies.own().root(data, root),
        prover=lambda play, history, data: lies.own().prover(play, history, data),
        challenger=lambda play, history: lies.about(play).challenger(play, history),
        silent=lambda play: lies.silent(play),
    )


class LyingParty:
    """The strategy of each claim that a liar meets, made when it is first needed."""

    def __init__(self, name: str, party: Callable[[], Party]) -> None:
        require_lie(name)
        self._name = name
        self._party = party
        self._told = cache(self._tell)
        self._trace = cache(self._run)

    def own(self) -> Strategy:
        """About its own claim, from the certificate that it knows."""
        party = self._party()
        known = party.facts.known
        assert known is not None, "a claim follows from a certificate"
        return self._told(party.role, claim_of(self._terms, known.certificate).encode())

    def about(self, play: Play) -> Strategy:
        """About the other side's claim, as that has published it."""
        party = self._party()
        return self._told(party.role.other, play.premises.layout.data(play.said.input_digits))

    def silent(self, play: Play) -> bool:
        """Whichever side it is on in this game."""
        facts = self._party().facts
        if facts.proof is not None and facts.known is not None:
            return self.own().silent(play)
        return play.said.root is not None and self.about(play).silent(play)

    @property
    def _terms(self) -> ContractTerms:
        terms = self._party().terms
        assert terms is not None, "there is nothing to lie about without terms"
        return terms

    def _tell(self, prover: Role, data: bytes) -> Strategy:
        terms, graph = self._terms, self._party().graph
        assert graph is not None, "the contract is funded"
        premises = graph.contract.courses[prover].premises
        lie = catalogue(premises.log4_steps)[self._name]
        own = prover is self._party().role
        if lie.side is not (Side.PROVER if own else Side.CHALLENGER):
            return HONEST

        def trace(data: bytes, forgery: Forgery | None) -> Past:
            return self._trace(premises, data, forgery)

        scene = Scene(premises, data, false_claim(terms, prover, data), trace)
        seed = contract_id(terms).hex()
        step = scene.past.steps // 2
        sides = lie.sides(scene, lambda purpose: Random(f"{seed} {purpose}"), step)
        if sides is None:
            raise TermsError(f"--lie {self._name}: this claim gives no occasion; choose another")
        return sides.prover if own else sides.challenger

    def _run(self, premises: Premises, data: bytes, forgery: Forgery | None) -> Past:
        shape = {"log4_steps": premises.log4_steps, "width": premises.width}
        return prove(Execution(premises.image, data, forgery=forgery, **shape))


def false_claim(terms: ContractTerms, prover: Role, data: bytes) -> bytes:
    """The true claim ``data`` with one unit more for its prover."""
    true = Claim.decode(data)
    more = true.units + (1 if prover is Role.HOLDER else -1)
    if not 0 <= more <= units_max(terms.claim.payout_bits):
        raise TermsError(f"a claim of {true.units} units gives all: there is no more to claim")
    return replace(true, units=more).encode()
