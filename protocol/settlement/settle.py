"""SETTLE: one output per payout bit, the claim fee, and what comes back to each party.

P is the prover, Q the other side. The output of bit b, unit_sats << b, is Q's from the next block
on if it shows P's own payout message in which bit b speaks for Q (1 where P is the writer, 0 where
P is the holder); what is left after ``sweep_delay`` is P's. The claim fee, from Q's bond, is Q's if
the message gives P nothing at all. A prover could sign any message with its own keys, so it never
shows one here; a second one only helps Q.

A bit whose sweep would cost more than it holds, at the terms' ``max_feerate_sat_vb``, has no
output: it is paid to Q directly. Such bits hold little, or the terms are refused: who claims would
lose them, and who knows that could ask for their price.
"""

from dataclasses import dataclass
from typing import Final

from bitcoin.core import COutPoint

from protocol.bitcoin.tx import transaction, txin, txout
from protocol.crypto.winternitz import number_digits
from protocol.errors import TermsError
from protocol.options.payoff import units_max
from protocol.settlement.move import Draft, Paid
from protocol.settlement.onetime import OneTimePublics, payout_label
from protocol.settlement.path import (
    Lock,
    Message,
    SpendPath,
    presented_bit,
    presented_constant,
    widest_vsize,
)
from protocol.settlement.terms import ContractTerms, Role

ROUNDED_SHARE: Final = 64
"""Bits without an output hold at most this part of the collateral."""


@dataclass(frozen=True, slots=True)
class Split:
    """How SETTLE in one direction divides the contract."""

    terms: ContractTerms
    prover: Role
    bits: tuple[int, ...]
    """Those that have an output, in its order; the claim fee's follows them, if there is one."""
    locks: tuple[Lock, ...]

    @property
    def locked_sats(self) -> tuple[int, ...]:
        """What each locked output holds."""
        fee = self.terms.chain.claim_fee_sats
        bits = tuple(_bit_sats(self.terms, bit) for bit in self.bits)
        return (*bits, fee) if fee else bits

    @property
    def paid(self) -> tuple[Role, ...]:
        """Whose each output behind the locked ones is."""
        return Role.HOLDER, Role.WRITER

    @property
    def rounded_sats(self) -> int:
        """What the bits without an output hold: the other side's, whatever is claimed."""
        bits = set(range(self.terms.claim.payout_bits)) - set(self.bits)
        return sum(_bit_sats(self.terms, bit) for bit in bits)

    def amounts(self, left: int, paid: Paid) -> tuple[int, ...]:
        """The sats of every output: locked ones, the holder's, the writer's.

        Bonds come back less what they paid; what the reserve left is halved, an odd satoshi and
        what the collateral has beyond its units are the writer's, as they came.
        """
        claim, chain = self.terms.claim, self.terms.chain
        other = self.prover.other
        back = {role: chain.bond_sats - paid[role] for role in Role}
        back[other] -= chain.claim_fee_sats
        back[other] += self.rounded_sats
        units = units_max(claim.payout_bits) * claim.unit_sats
        back[Role.WRITER] += claim.collateral_sats - units
        spare = left - sum(self.locked_sats) - sum(back.values())
        back[Role.HOLDER] += spare // 2
        back[Role.WRITER] += spare - spare // 2
        return (*self.locked_sats, back[Role.HOLDER], back[Role.WRITER])

    def owner(self, output: int, units: int) -> Role:
        """Whose a locked output is when the prover commits to ``units``."""
        if output < len(self.bits):
            return Role.HOLDER if units >> self.bits[output] & 1 else Role.WRITER
        return self.prover.other if units == _nothing(self.terms, self.prover) else self.prover

    def draft(self, path: SpendPath) -> Draft:
        """SETTLE itself, spending KICKOFF by ``path``; the reserve pays for it."""
        scripts = tuple(self.terms.party(role).script for role in self.paid)
        return Draft(path.name, self.prover, None, ((path,),), self.locks, scripts, self.amounts)


def split_of(terms: ContractTerms, prover: Role, publics: OneTimePublics) -> Split:
    """SETTLE's outputs where ``publics`` are the prover's keys.

    TermsError for a claim fee that is dearer to sweep than it is worth, or if the bits that are
    hold too much.
    """
    label = payout_label(terms, prover)
    key, claim = publics.keys[label], terms.claim
    wants = prover is Role.WRITER
    bits, locks = [], []
    for bit in range(claim.payout_bits):
        lock = _lock(terms, prover, presented_bit(label, key, bit, wants))
        if _worth_it(terms, lock, _bit_sats(terms, bit)):
            bits.append(bit)
            locks.append(lock)
    fee = terms.chain.claim_fee_sats
    if fee:
        nothing = number_digits(_nothing(terms, prover), label.digits)
        lock = _lock(terms, prover, presented_constant(label, key, nothing))
        if not _worth_it(terms, lock, fee):
            raise TermsError(
                f"claim_fee_sats {fee} does not pay for its sweep at max_feerate_sat_vb"
                f" {terms.chain.max_feerate_sat_vb}: raise it, or give 0 for none"
            )
        locks.append(lock)
    split = Split(terms, prover, tuple(bits), tuple(locks))
    if split.rounded_sats * ROUNDED_SHARE > claim.collateral_sats:
        raise TermsError(
            f"max_feerate_sat_vb {terms.chain.max_feerate_sat_vb}: at that rate bits that hold"
            f" {split.rounded_sats} sats of the collateral are not worth their sweep, more than"
            f" 1/{ROUNDED_SHARE} of it: lower the rate or raise the collateral"
        )
    return split


def sweep_name(prover: Role, role: Role) -> str:
    """The name of the way in which ``role`` takes an output of ``prover``'s SETTLE."""
    return f"{prover.value}:SWEEP_{role.name}"


def _lock(terms: ContractTerms, prover: Role, evidence: Message) -> Lock:
    other = prover.other
    shown = SpendPath(
        sweep_name(prover, other),
        {other: terms.party(other).challenger_key},
        messages=(evidence,),
        blocks=1,
    )
    late = SpendPath(
        sweep_name(prover, prover),
        {prover: terms.party(prover).prover_key},
        blocks=terms.chain.sweep_delay,
    )
    return Lock.of((shown, late))


def _worth_it(terms: ContractTerms, lock: Lock, sats: int) -> bool:
    """Whether ``sats`` pay either party for a transaction that sweeps nothing else, and for its
    output."""
    for path in lock.paths:
        (role,) = path.signers
        party = terms.party(role)
        alone = transaction([txin(COutPoint())], [txout(0, party.script)])
        fee = terms.chain.max_feerate_sat_vb * widest_vsize(alone, [lock], [[path]])
        if sats < fee + party.dust_sats:
            return False
    return True


def _bit_sats(terms: ContractTerms, bit: int) -> int:
    return terms.claim.unit_sats << bit


def _nothing(terms: ContractTerms, prover: Role) -> int:
    """The units with which ``prover`` gets nothing."""
    return 0 if prover is Role.HOLDER else units_max(terms.claim.payout_bits)
