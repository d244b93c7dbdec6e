"""What each side is due at the end of a contract, and what it got, to the satoshi.

Dues follow from the rules of the contract (protocol/settlement/settle.py, dispute/forfeit.py) and
from what the chain shows was paid on the way, not from the outputs that both signed: so that one
checks the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.bitcoin.tx import outpoint_key, txid
from protocol.options.payoff import units_max
from protocol.settlement.contract import CLOSE, REFUND
from protocol.settlement.dispute.story import Act, Story
from protocol.settlement.move import ANCHOR_SCRIPT, FUND
from protocol.settlement.terms import Role

_PAID_BY_PROVER: Final = ("INPUT", "KICKOFF", "REVEAL", "EXECUTE")
_PAID_BY_CHALLENGER: Final = ("CHALLENGE", "PICK", "ASSERT")
_SHARED: Final = (CLOSE, REFUND)


@dataclass(frozen=True, slots=True)
class Share:
    """One side's money at the end."""

    due_sats: int
    took_sats: int
    """What it was paid and what it took alone, before the fees that it chose for that."""
    open_sats: int
    """Locked outputs that are its, and that nobody has spent."""
    arrived_sats: int
    """What its script holds of it."""

    @property
    def right(self) -> bool:
        """Did it get what it was due, or can it still?"""
        return self.took_sats + self.open_sats == self.due_sats


def final_of(story: Story) -> Act | None:
    """The transaction that divides the contract's money; None while none has."""
    return next((act for act in story.acts if _divides(act)), None)


def shares_of(story: Story, units: int | None) -> dict[Role, Share]:
    """Both sides' money where ``units`` were claimed (None where no claim is on the chain);
    nothing while the contract is not settled."""
    final = final_of(story)
    if final is None:
        return {}
    money = _Money.of(story)
    due = _dues(story, final, money, units)
    return {role: money.share(role, due[role], units) for role in Role}


@dataclass(frozen=True, slots=True)
class _Money:
    """The contract's outputs on the chain."""

    story: Story
    held: Mapping[bytes, int]
    """The sats of each locked output, by outpoint."""

    @classmethod
    def of(cls, story: Story) -> "_Money":
        txs = {txid(act.tx): act.tx for act in story.acts}
        held = {
            key: int(txs[key[:32]].vout[int.from_bytes(key[32:], "little")].nValue)
            for key in story.graph.locks
            if key[:32] in txs
        }
        return cls(story, held)

    def spent(self, act: Act) -> int:
        """What ``act`` takes from locked outputs."""
        keys = (outpoint_key(spend.prevout) for spend in act.tx.vin)
        return sum(self.held.get(key, 0) for key in keys)

    def locked(self, act: Act) -> int:
        """What ``act`` leaves in locked outputs."""
        return sum(sats for key, sats in self.held.items() if key[:32] == txid(act.tx))

    def paid(self, kinds: tuple[str, ...]) -> int:
        """What moves of these kinds cost, fees and anchors."""
        moves = [act for act in self.story.acts if act.move and act.field.startswith(kinds)]
        return sum(self.spent(act) - self.locked(act) for act in moves)

    def share(self, role: Role, due: int, units: int | None) -> Share:
        """What ``role`` has."""
        acts, script = self.story.acts, self.story.graph.contract.terms.party(role).script
        took = arrived = 0
        for act in acts:
            plain = _paid_to(act, script) if act.name != FUND else 0
            arrived += plain
            took += self.spent(act) if _alone(act) is role else 0 if _alone(act) else plain
        return Share(due, took, self._open(role, units), arrived)

    def _open(self, role: Role, units: int | None) -> int:
        """What ``role`` can still sweep of SETTLE."""
        final, prover = final_of(self.story), self.story.prover
        if final is None or prover is None or units is None:
            return 0
        spent = {outpoint_key(s.prevout) for act in self.story.acts for s in act.tx.vin}
        mine = [
            sats
            for key, sats in self.held.items()
            if key[:32] == txid(final.tx) and key not in spent
            if _owner(self.story, int.from_bytes(key[32:], "little"), units) is role
        ]
        return sum(mine)


def _divides(act: Act) -> bool:
    if act.name in _SHARED or act.field.startswith(("SETTLE", "TAKE", "TIMEOUT")):
        return True
    return _alone(act) is not None and not act.field.startswith(("SWEEP", "REFUTE"))


def _alone(act: Act) -> Role | None:
    """Who signed it alone; None where both did."""
    if act.way is None or len(act.way.signers) > 1:
        return None
    (role,) = act.way.signers
    return role


def _paid_to(act: Act, script: bytes) -> int:
    return sum(int(out.nValue) for out in act.tx.vout if bytes(out.scriptPubKey) == script)


def _dues(story: Story, final: Act, money: _Money, units: int | None) -> dict[Role, int]:
    terms, prover = story.graph.contract.terms, story.prover
    if final.name == CLOSE:  # both agreed on it, whatever it pays
        return {role: _paid_to(final, terms.party(role).script) for role in Role}
    plain = (out for out in final.tx.vout if bytes(out.scriptPubKey) != ANCHOR_SCRIPT)
    left = sum(int(out.nValue) for out in plain)
    bond, collateral = terms.chain.bond_sats, terms.claim.collateral_sats
    if final.name == REFUND or prover is None:
        return _with_halves({Role.HOLDER: bond, Role.WRITER: bond + collateral}, left)
    alone = _alone(final)
    if alone is not None:
        return {alone: money.spent(final), alone.other: 0}
    if final.field.startswith("TAKE"):
        return {prover: 0, prover.other: left}
    assert units is not None, "SETTLE comes after KICKOFF"
    if final.field == "SETTLE":
        return _settled(story, money, left, units)
    return _forfeited(story, money, left, units)


def _settled(story: Story, money: _Money, left: int, units: int) -> dict[Role, int]:
    """Nobody challenged: the claim, the bonds less what they paid, and half the spare reserve."""
    terms, prover = story.graph.contract.terms, story.prover
    assert prover is not None
    claim, chain, other = terms.claim, terms.chain, prover.other
    due = _bits(story, units)
    for role in Role:
        due[role] += chain.bond_sats
    due[prover] -= money.paid(_PAID_BY_PROVER)
    due[other] += _rounded(story)
    due[Role.WRITER] += claim.collateral_sats - units_max(claim.payout_bits) * claim.unit_sats
    if _gains(story, units):
        due[prover] += chain.claim_fee_sats
        due[other] -= chain.claim_fee_sats
    return _with_halves(due, left)


def _forfeited(story: Story, money: _Money, left: int, units: int) -> dict[Role, int]:
    """The claim stood a challenge: the other side gets what is its without the bond."""
    terms, prover = story.graph.contract.terms, story.prover
    assert prover is not None
    claim, other = terms.claim, prover.other
    due = _bits(story, units)
    owed = _rounded(story)
    if other is Role.WRITER:
        owed += claim.collateral_sats - units_max(claim.payout_bits) * claim.unit_sats
    due[other] += owed if owed >= terms.party(other).dust_sats else 0
    if not _gains(story, units):
        due[other] += terms.chain.claim_fee_sats
    refuted = (act for act in story.acts if act.field.startswith("REFUTE"))
    due[prover] = left - due[other] + sum(map(money.spent, refuted))
    return due


def _bits(story: Story, units: int) -> dict[Role, int]:
    """The payout bits that have an output: the holder's where they are set."""
    due = dict.fromkeys(Role, 0)
    for bit, sats in _outputs(story):
        due[Role.HOLDER if units >> bit & 1 else Role.WRITER] += sats
    return due


def _outputs(story: Story) -> Iterator[tuple[int, int]]:
    """The payout bits with an output, and the sats of each."""
    assert story.prover is not None
    unit = story.graph.contract.terms.claim.unit_sats
    for bit in story.graph.contract.splits[story.prover].bits:
        yield bit, unit << bit


def _rounded(story: Story) -> int:
    """What the payout bits without an output hold."""
    claim = story.graph.contract.terms.claim
    return units_max(claim.payout_bits) * claim.unit_sats - sum(s for _, s in _outputs(story))


def _gains(story: Story, units: int) -> bool:
    """Does the claim give its prover anything?"""
    nothing = 0 if story.prover is Role.HOLDER else units_max(_payout_bits(story))
    return units != nothing


def _payout_bits(story: Story) -> int:
    return story.graph.contract.terms.claim.payout_bits


def _owner(story: Story, output: int, units: int) -> Role:
    """Whose a locked output of SETTLE is."""
    prover = story.prover
    assert prover is not None
    bits = [bit for bit, _ in _outputs(story)]
    if output < len(bits):
        return Role.HOLDER if units >> bits[output] & 1 else Role.WRITER
    return prover if _gains(story, units) else prover.other


def _with_halves(due: dict[Role, int], left: int) -> dict[Role, int]:
    """And half of what the reserve has left, an odd satoshi to the writer."""
    spare = left - sum(due.values())
    due[Role.HOLDER] += spare // 2
    due[Role.WRITER] += spare - spare // 2
    return due
