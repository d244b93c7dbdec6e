"""[terms] of a party's file: a contract in a person's units, and what it is to the protocol."""

from dataclasses import fields, replace
from typing import Annotated, Final

from msgspec import Meta

from actors.network import Table
from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.errors import ConfigError
from protocol.options.instrument import parse_instrument
from protocol.options.payoff import PAYOUT_BITS
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from protocol.settlement.terms import ChainTerms, ClaimTerms
from protocol.units import Sats

Amount = Annotated[int, Meta(ge=0, le=MAX_MONEY_SATS)]
Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
U16 = Annotated[int, Meta(ge=0, le=2**16 - 1)]

_CHAIN: Final = tuple(field.name for field in fields(ChainTerms))


class Offer(Table, frozen=True):
    """Amounts in sats, fee rates in sat/vB, windows and delays in blocks; what each one does is in
    ``protocol.settlement.claim_terms`` and ``chain_terms``.

    ``rounds`` of the oracles count, up to and including that of expiry: an American option can be
    exercised in them, a barrier is watched over them. The last ``twap_rounds`` of them are averaged
    for the price that settles; 0 takes the price of the round of expiry. Where that round is
    missing, the first one within ``grace_s`` seconds behind it stands in.
    """

    instrument: Annotated[str, Meta(min_length=1)]
    quantity_sats: Amount
    collateral_sats: Amount
    premium_sats: Amount
    bond_sats: Amount
    expiry_height: Number
    refund_height: Number
    rounds: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 1
    twap_rounds: U16 = 0
    grace_s: Annotated[int, Meta(ge=600, le=10**7)] = 600
    payout_bits: U16 = PAYOUT_BITS
    claim_fee_sats: Amount = 0
    feerate_sat_vb: Number = 2
    max_feerate_sat_vb: Number = 10
    move_window: U16 = 6
    challenge_window: U16 = 12
    sweep_delay: U16 = 12
    log4_steps: U16 = 12
    width: U16 = 20
    anchored: bool = True

    def claim(self, oracles: OracleConfig, feed: Feed) -> ClaimTerms:
        """What decides the payout: the price at the instrument's expiry, as a quorum of ``oracles``
        signs it. EncodingError or TermsError name a field that makes no sense."""
        instrument = parse_instrument(self.instrument)
        if instrument.underlying != feed.symbol.split("/")[0]:
            raise ConfigError(f"instrument {self.instrument}: the feed is {feed.symbol}")
        expiry = oracles.round_at(instrument.expiry_ms)
        claim = ClaimTerms.of_instrument(
            instrument,
            oracles,
            feed.feed_id,
            Sats(self.quantity_sats),
            Sats(self.collateral_sats),
            start_round=max(expiry - self.rounds + 1, 0),
            twap_rounds=self.twap_rounds,
            payout_bits=self.payout_bits,
        )
        return replace(claim, grace_rounds=-(-1000 * self.grace_s // oracles.interval_ms))

    @property
    def chain(self) -> ChainTerms:
        """What the contract costs and when; TermsError names a field that makes no sense."""
        return ChainTerms(**{name: getattr(self, name) for name in _CHAIN})
