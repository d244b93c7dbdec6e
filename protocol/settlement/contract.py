"""The contract of two parties: one Taproot output that both must sign to move.

The writer locks the collateral, the holder pays the premium. Three transactions:

    FUND     both parties' coins -> contract output, premium to the writer, changes  (funding.py)
    CLOSE    contract output -> payout to the holder, the rest to the writer          (spending.py)
    REFUND   contract output -> collateral to the writer, from ``refund_height`` on   (spending.py)

The contract output holds the collateral and the fee of its own spend, so that CLOSE and REFUND
pay out exactly what the terms say. Half of that fee comes from each party (see ``funding.py``).
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from protocol.bitcoin.address import MAINNET, encode_address
from protocol.bitcoin.fees import OVERHEAD_WEIGHT, dust_limit_sats, fee_sats, output_weight
from protocol.bitcoin.script import LOCKTIME_THRESHOLD, after_height, null_data, two_of_two
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, TaprootOutput, taproot_output, tweak_public
from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.errors import ScriptError, TermsError

ANCHOR_BYTES = 32
MAX_FEERATE_SAT_VB = 1_000

_INPUT_WEIGHT = 4 * (32 + 4 + 1 + 4)
_SIGNATURE_WEIGHT = 1 + 64


class Role(Enum):
    """A side of the contract."""

    HOLDER = "holder"
    WRITER = "writer"

    @property
    def other(self) -> "Role":
        return Role.WRITER if self is Role.HOLDER else Role.HOLDER


class SpendPath(Enum):
    """A way to spend the contract output."""

    CLOSE = "close"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class ContractKeys:
    """The x-only public keys (32 bytes) that sign for each side. TermsError if they cannot."""

    holder: bytes
    writer: bytes

    def __post_init__(self) -> None:
        for role in Role:
            try:
                tweak_public(self.of(role))
            except ScriptError as error:
                raise TermsError(f"the {role.value}'s key is no x-only public key") from error
        if self.holder == self.writer:
            raise TermsError("holder and writer need different keys")

    def of(self, role: Role) -> bytes:
        return self.holder if role is Role.HOLDER else self.writer


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """What the parties agree on in bitcoin. TermsError if it cannot be honoured."""

    collateral_sats: int
    """Locked by the writer; bounds every payout."""
    premium_sats: int
    """Paid by the holder to the writer in FUND; zero for none."""
    refund_height: int
    """REFUND is valid in the blocks above this height."""
    holder_script: bytes
    """Output script that the payout goes to."""
    writer_script: bytes
    """Output script that premium, remainder and refund go to."""
    feerate_sat_vb: int = 2
    """Fee rate of all three transactions."""
    anchored: bool = True
    """CLOSE may carry a 32-byte OP_RETURN; its fee is reserved either way."""

    def __post_init__(self) -> None:
        for role in Role:
            try:
                encode_address(self.script_of(role), MAINNET)
            except ScriptError as error:
                raise TermsError(f"the {role.value}'s payout script has no address form") from error
        if not 1 <= self.feerate_sat_vb <= MAX_FEERATE_SAT_VB:
            raise TermsError(f"feerate_sat_vb must lie between 1 and {MAX_FEERATE_SAT_VB}")
        if not 0 < self.refund_height < LOCKTIME_THRESHOLD:
            raise TermsError("refund_height must be a block height above 0")
        least = max(self.dust_sats(role) for role in Role)
        if not least <= self.collateral_sats <= MAX_MONEY_SATS // 2:
            raise TermsError(
                f"collateral_sats must be at least {least}, the dust limit, and half of all money"
                f" at most, not {self.collateral_sats}"
            )
        least = self.dust_sats(Role.WRITER)
        if self.premium_sats and not least <= self.premium_sats <= MAX_MONEY_SATS // 4:
            raise TermsError(
                f"premium_sats must be 0 or at least {least}, the dust limit, and a quarter of all"
                f" money at most, not {self.premium_sats}"
            )

    def script_of(self, role: Role) -> bytes:
        return self.holder_script if role is Role.HOLDER else self.writer_script

    def dust_sats(self, role: Role) -> int:
        """The least amount that makes an output of this party."""
        return dust_limit_sats(self.script_of(role))


@dataclass(frozen=True, slots=True)
class Contract:
    """Keys and terms, and the output that follows from them."""

    keys: ContractKeys
    terms: ContractTerms

    @property
    def output(self) -> TaprootOutput:
        """NUMS internal key; leaves CLOSE and REFUND, each signed by both."""
        return _contract_output(self.keys, self.terms.refund_height)

    @property
    def script_pubkey(self) -> bytes:
        return self.output.script_pubkey

    def leaf(self, path: SpendPath) -> TapLeaf:
        return _leaf(self.keys, self.terms.refund_height, path)

    @property
    def spend_fee_sats(self) -> int:
        """The fee that CLOSE and REFUND pay, whatever their outputs: that of the largest CLOSE."""
        terms = self.terms
        weight = OVERHEAD_WEIGHT + _INPUT_WEIGHT + self.witness_weight(SpendPath.REFUND)
        weight += sum(output_weight(terms.script_of(role)) for role in Role)
        if terms.anchored:
            weight += output_weight(null_data(bytes(ANCHOR_BYTES)))
        return fee_sats(weight, terms.feerate_sat_vb)

    def witness_weight(self, path: SpendPath) -> int:
        """Two signatures, the leaf and its control block."""
        leaf = self.leaf(path)
        control = self.output.control_block(leaf)
        return 1 + 2 * _SIGNATURE_WEIGHT + 1 + len(leaf.script) + 1 + len(control)

    @property
    def value_sats(self) -> int:
        """What the contract output holds: the collateral and the fee of its spend."""
        return self.terms.collateral_sats + self.spend_fee_sats

    def payouts(self, payout_sats: int) -> tuple[int, int]:
        """What holder and writer receive when the holder is due ``payout_sats``.

        A share below its dust limit makes no output: the other side receives it (the holder's is
        tested first). TermsError if the collateral does not cover the payout.
        """
        total = self.terms.collateral_sats
        if not 0 <= payout_sats <= total:
            raise TermsError(f"payout_sats must lie between 0 and {total}, not {payout_sats}")
        if payout_sats < self.terms.dust_sats(Role.HOLDER):
            return 0, total
        if total - payout_sats < self.terms.dust_sats(Role.WRITER):
            return total, 0
        return payout_sats, total - payout_sats


def _leaf(keys: ContractKeys, refund_height: int, path: SpendPath) -> TapLeaf:
    both = two_of_two(keys.holder, keys.writer)
    return TapLeaf(both if path is SpendPath.CLOSE else after_height(refund_height, both))


@lru_cache(maxsize=256)
def _contract_output(keys: ContractKeys, refund_height: int) -> TaprootOutput:
    leaves = (_leaf(keys, refund_height, path) for path in (SpendPath.CLOSE, SpendPath.REFUND))
    close, refund = leaves
    return taproot_output(NUMS_KEY, (close, refund))
