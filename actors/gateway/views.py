"""The market's values as the JSON of ``models``."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from actors.history import AnyCertificate
from actors.history_export import price_text
from actors.market import Index, Market
from actors.market_desk import Dispute
from actors.market_source import NodeState
from protocol.options.book import Contract, Settlement
from protocol.options.instrument import MONTHS, Instrument, KnockOut
from protocol.options.margin import Margin
from protocol.options.sheet import Conditions, Quote
from protocol.oracle import report
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.units import E8, Sats

Json = dict[str, Any]

DAYS: Final = 365
POINTS: Final = 100
BATCH_TAG: Final = "btcfi/oracle/batch/v1"
"""Of the tagged hash that oracles sign where they certify several feeds at once."""
_BARRIERS: Final = {KnockOut.UP: "up-and-out", KnockOut.DOWN: "down-and-out"}


def priced(quoted: Quote, spot: float) -> Json:
    """``models.Priced``; ``spot`` in dollars."""
    greeks = quoted.greeks
    return {
        "instrument": quoted.instrument.name,
        "price_usd": f"{greeks.price:.8f}",
        "price_sats": max(round(greeks.price / spot * E8), 0),
        "vol": quoted.vol,
        "delta": greeks.delta,
        "gamma": greeks.gamma,
        "theta_per_day": greeks.theta / DAYS,
        "vega_per_point": greeks.vega / POINTS,
        "rho_per_point": greeks.rho / POINTS,
        "dividend_rho_per_point": greeks.dividend_rho / POINTS,
    }


def quote(
    quoted: Quote,
    conditions: Conditions,
    quantity_sats: Sats,
    collateral_sats: Sats,
    premium_sats: Sats,
    closing_ms: int,
) -> Json:
    """``models.Quote``."""
    return {
        **priced(quoted, conditions.spot),
        "quantity_sats": quantity_sats,
        "collateral_sats": collateral_sats,
        "premium_sats": premium_sats,
        **moment(conditions),
        "orders_until_ms": quoted.instrument.expiry_ms - closing_ms,
        "expiry_ms": quoted.instrument.expiry_ms,
    }


def moment(conditions: Conditions) -> Json:
    """At which certified price."""
    return {
        "round": conditions.round,
        "index_usd": price_text(conditions.index_e8),
        "at_ms": conditions.at_ms,
    }


def instrument(listed: Instrument) -> Json:
    """``models.Instrument``."""
    barrier = listed.barrier
    return {
        "instrument": listed.name,
        "underlying": listed.underlying,
        "expiry_ms": listed.expiry_ms,
        "strike_usd": price_text(listed.strike_e8),
        "kind": listed.kind.name.lower(),
        "style": "american" if listed.is_american else "european",
        "payoff": "binary" if listed.is_binary else "vanilla",
        "barrier": None if barrier is None else _BARRIERS[barrier.direction],
        "barrier_usd": None if barrier is None else price_text(barrier.level_e8),
    }


def expiry_name(instrument: Instrument) -> str:
    """Its expiry as names write it."""
    day = instrument.expiry
    return f"{day.day:02}{MONTHS[day.month - 1]}{day.year % 100:02}"


def index(market: Market, found: Index) -> Json:
    """``models.Index``."""
    certificate = found.certificate
    network = market.networks.of(found.report.config_digest)
    signatures = dict(certificate.signatures)
    if isinstance(certificate, BatchCertificate):
        tag, signed = BATCH_TAG, certificate.report.encode()
        proof = certificate.feed_certificate(found.feed.feed_id).encode()
    else:
        tag, signed, proof = report.TAG, found.report.encode(), certificate.encode()
    is_own = found.feed == market.config.feed
    return {
        "asset": found.feed.symbol.split("/")[0],
        "feed": found.feed.symbol,
        "round": found.report.round,
        "time_ms": found.report.time,
        "price_usd": price_text(found.report.price_e8),
        "conf_usd": price_text(found.report.conf_e8),
        "grade": found.report.grade.name,
        "quorum": network.config.quorum,
        "sources": [
            {
                "index": number,
                "name": name,
                "key": network.config.oracles[number].hex(),
                "observed": bool(found.report.observers >> number & 1),
                "signature": signatures[number].hex() if number in signatures else None,
            }
            for number, name in enumerate(network.names)
        ],
        "tag": tag,
        "signed": signed.hex(),
        "message": certificate.hash.hex(),
        "certificate": proof.hex(),
        "config": network.config.encode().hex(),
        "vol": market.vol if is_own else None,
        "vol_assumed": is_own and market.is_vol_assumed,
    }


def certificate(market: Market, found: AnyCertificate) -> Json:
    """``models.CertificateRow``."""
    symbols = {feed.feed_id: feed.symbol for feed in market.config.network.feeds}
    return {
        "round": found.round,
        "time_ms": found.time,
        "prices": {
            symbols.get(feed_id, feed_id.hex()): price_text(price_e8)
            for feed_id, price_e8 in found.prices.items()
        },
        "signers": list(found.signers),
        "hash": found.hash.hex(),
        "previous_hash": found.previous_hash.hex(),
        "certificate": found.encode().hex(),
        "config": market.networks.epochs.of(found.report.config_digest).encode().hex(),
    }


def margin(found: Margin) -> Json:
    """``models.Margin``."""
    return {
        "collateral_sats": found.collateral_sats,
        "mark_sats": found.mark_sats,
        "intrinsic_sats": found.intrinsic_sats,
        "most_sats": found.most_sats,
        "free_sats": found.free_sats,
        "cap_usd": None if found.cap_e8 is None else price_text(found.cap_e8),
    }


def contract(found: Contract) -> Json:
    """``models.Contract``."""
    return {
        "id": found.id,
        "instrument": found.instrument.name,
        "quantity_sats": found.quantity_sats,
        "collateral_sats": found.collateral_sats,
        "premium_sats": found.premium_sats,
        "round": found.round,
        "index_usd": price_text(found.index_e8),
        "opened_ms": found.opened_ms,
        "expiry_ms": found.instrument.expiry_ms,
        "stage": found.stage.value,
        "outcome": found.outcome,
        "fault": found.fault,
        "contract_id": found.contract_id,
        "exercise_round": found.exercise_round,
        "knocked_round": found.knocked_round,
        "settlement": None if found.settlement is None else settlement(found.settlement),
    }


def settlement(found: Settlement) -> Json:
    """``models.Settlement``."""
    return {
        "round": found.round,
        "price_usd": price_text(found.price_e8),
        "payout_sats": found.payout_sats,
    }


def marked(found: Contract, held: Margin | None) -> Json:
    """``models.Marked``."""
    return contract(found) | {"margin": None if held is None else margin(held)}


def dispute(number: int, found: Dispute) -> Json:
    """``models.Dispute``."""
    fields = asdict(found)
    return {
        "id": number,
        **fields,
        "digits": list(found.digits),
        "transactions": list(found.transactions),
    }


def status(market: Market) -> Json:
    """``models.Status``."""
    network = market.network
    return {
        "clock": market.clock.name,
        "now_ms": market.now_ms(),
        "clock_offset_ms": network.clock_offset_ms,
        "oracles": len(network.config.oracles),
        "quorum": network.config.quorum,
        "custody": None if market.desk is None else market.desk.custody,
    }


def node(found: NodeState) -> Json:
    """``models.Node``."""
    return {
        "name": found.name,
        "url": found.url,
        "key": found.key.hex(),
        "connected": found.connected,
        "round": found.round,
        "refused": found.refused,
        "fault": found.fault,
    }


def chain(market: Market, quotes: Iterable[Quote]) -> Mapping[str, Json]:
    """Rows of an option chain by instrument."""
    spot = market.conditions().spot
    return {quoted.instrument.name: priced(quoted, spot) for quoted in quotes}
