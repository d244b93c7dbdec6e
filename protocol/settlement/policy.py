"""What a party agrees to, and how long it waits."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from protocol.errors import TermsError
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms

MARGIN_BLOCKS: Final = 2
"""A window has so many blocks beside those that a transaction takes to count: one for the answer,
one in case that it is late."""

Range = tuple[int, int]
"""From the first to the second, both included."""

ANY: Final[Range] = (0, 2**63)


class Close(StrEnum):
    """Whether a party closes together with the other."""

    OFFER = "offer"
    """It offers, and answers."""
    ANSWER = "answer"
    """It answers only."""
    NEVER = "never"
    """It claims, or waits for the other side's claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The contracts that a party enters. Heights are counted from the best block."""

    configs: frozenset[bytes] = frozenset()
    """Digests of the oracle configurations it trusts; empty for any."""
    feeds: frozenset[bytes] = frozenset()
    """32-byte feed ids; empty for any."""
    contracts: frozenset[tuple[ClaimTerms, ChainTerms]] = frozenset()
    """What it has quoted, to the last field; empty for any."""
    collateral_sats: Range = ANY
    premium_sats: Range = ANY
    bond_sats: Range = ANY
    claim_fee_sats: Range = ANY
    feerate_sat_vb: Range = (1, 100)
    max_feerate_sat_vb: Range = (1, 1_000)
    expiry_blocks: Range = (0, 200_000)
    refund_blocks: Range = (1, 400_000)
    """Between expiry_height and refund_height."""
    move_window: Range = (3, 2_016)
    challenge_window: Range = (3, 2_016)
    sweep_delay: Range = (3, 4_032)

    def require(self, terms: ContractTerms, height: int) -> None:
        """TermsError naming the first term that this party does not agree to."""
        slot = terms.claim.slot
        if self.configs and slot.config_digest not in self.configs:
            raise TermsError("the oracles: this party trusts other configurations")
        if self.feeds and slot.feed_id not in self.feeds:
            raise TermsError("feed_id: this party deals in other feeds")
        if self.contracts and (terms.claim, terms.chain) not in self.contracts:
            raise TermsError(f"terms: this party has quoted others{self._difference(terms)}")
        for name, (least, most), value in self._values(terms, height):
            if not least <= value <= most:
                raise TermsError(f"{name} {value}: this party agrees to {least} to {most}")

    def _difference(self, terms: ContractTerms) -> str:
        """The first field in which ``terms`` are not those of the one contract that it quoted."""
        if len(self.contracts) > 1:
            return ""
        [(claim, chain)] = self.contracts
        return next(
            f": {field.name} {getattr(asked, field.name)}, not {getattr(quoted, field.name)}"
            for quoted, asked in ((claim, terms.claim), (chain, terms.chain))
            for field in fields(quoted)
            if getattr(quoted, field.name) != getattr(asked, field.name)
        )

    def _values(self, terms: ContractTerms, height: int) -> Iterator[tuple[str, Range, int]]:
        chain = terms.chain
        yield "collateral_sats", self.collateral_sats, terms.claim.collateral_sats
        yield "blocks to expiry_height", self.expiry_blocks, chain.expiry_height - height
        lasts = chain.refund_height - chain.expiry_height
        yield "blocks from expiry_height to refund_height", self.refund_blocks, lasts
        for name in (
            "premium_sats",
            "bond_sats",
            "claim_fee_sats",
            "feerate_sat_vb",
            "max_feerate_sat_vb",
            "move_window",
            "challenge_window",
            "sweep_delay",
        ):
            yield name, getattr(self, name), getattr(chain, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one party behaves. ``script`` is the output script that it is paid to."""

    script: bytes
    limits: Limits = Limits()
    depth: int = 3
    """Confirmations with which a transition counts."""
    close: Close = Close.OFFER
    claims: bool = True
    """Whether it claims when the other side does not close with it."""
    claim_after_ms: int = 600_000
    """Of silence, since it knew the certificate and FUND counted."""
    claim_after_blocks: int = 6
    """Likewise; whichever comes first."""
    claim_margin_blocks: int = 6
    """A claim begins so many blocks before refund_height at the latest."""
    quote_ttl_ms: int = 120_000
    """The writer signs FUND so long after Accept, the holder takes its coins back so long after
    its witnesses."""
    stuck_blocks: int = 2
    """So many blocks a transaction may wait in the mempool before this party acts as if it were
    not there, and pays more for its own."""
    repeat_ms: int = 5_000
    """After so much silence it asks again."""
    sweep_feerate_sat_vb: int | None = None
    """Of what it signs alone, at first; None for the contract's."""

    def require(self, terms: ContractTerms, height: int) -> None:
        """TermsError naming the first term that this party does not agree to, or whose window is
        too short for it to answer what counts."""
        self.limits.require(terms, height)
        for name in ("move_window", "challenge_window"):
            window, least = getattr(terms.chain, name), self.depth + MARGIN_BLOCKS
            if window < least:
                raise TermsError(
                    f"{name} {window}: this party answers what {self.depth} blocks hold, it agrees"
                    f" to {least} or more"
                )

    def fresh_feerate_sat_vb(self, chain: ChainTerms) -> int:
        """Of what it signs alone, at first: never so much that an output does not pay for its
        sweep."""
        own = self.sweep_feerate_sat_vb
        return chain.feerate_sat_vb if own is None else min(own, chain.max_feerate_sat_vb)

    def confirmations(self, window: int) -> int:
        """With which a transaction is answered within ``window`` blocks: ``depth``, or fewer where
        its time would be over (for a party that has agreed to such terms nevertheless)."""
        return max(1, min(self.depth, window - MARGIN_BLOCKS))
