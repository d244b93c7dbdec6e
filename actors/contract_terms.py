"""The terms of a contract in words: who gets what, what it costs, and when things happen."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table

from actors.report import bitcoin, dollars
from protocol.bitcoin.taproot import p2tr
from protocol.crypto.tagged import tagged_hash
from protocol.options.instrument import KnockOut, OptionKind
from protocol.options.payoff import Payoff, units_max
from protocol.settlement.contract import Contract
from protocol.settlement.keys import PartyKeys
from protocol.settlement.move import ANCHOR_SATS
from protocol.settlement.party_terms import NONCE_SIZE
from protocol.settlement.terms import (
    ChainTerms,
    ClaimTerms,
    ContractTerms,
    PartyTerms,
    Role,
)

BLOCK_MINUTES: Final = 10
_CLAIM: Final = ("INPUT_", "KICKOFF")
_STAND_IN: Final = "btcfi/stand-in/v1"


@dataclass(frozen=True, slots=True)
class Step:
    """A transaction that the parties sign before FUND: its size and fee, and who pays it."""

    name: str
    vsize: int
    fee_sats: int
    paid_by: str


def stand_in(claim: ClaimTerms, chain: ChainTerms) -> Contract:
    """The contract between two parties that do not exist, with Taproot addresses: sizes and fees of
    the real one, whoever signs. TermsError if the amounts do not carry it."""
    seeds = {role: tagged_hash(_STAND_IN, role.value.encode()) for role in Role}
    keys = {role: PartyKeys(seed) for role, seed in seeds.items()}
    seats = {role: _seat(keys[role]) for role in Role}
    terms = ContractTerms(
        claim=claim, holder=seats[Role.HOLDER], writer=seats[Role.WRITER], chain=chain
    )
    return Contract(terms, {role: keys[role].one_time(terms, role).public for role in Role})


def steps(contract: Contract) -> Iterator[Step]:
    """FUND's spends in order; CLOSE, which is signed at the end, first."""
    rate = contract.terms.chain.feerate_sat_vb
    fee = contract.close_fee_sats
    yield Step("CLOSE", fee // rate, fee, "both, from the reserve")
    for move in contract.moves.values():
        yield Step(move.name, move.widest_vsize, move.fee_sats, _paid_by(move.name))


def _paid_by(name: str) -> str:
    side, _, field = name.partition(":")
    if field in ("", "SETTLE"):
        return "both, from the reserve"
    return f"{side}, from its bond" if field.startswith(_CLAIM) else "who loses the dispute"


def show_terms(contract: Contract, instrument: str, console: Console) -> None:
    """Print everything."""
    terms = contract.terms
    console.print(f"{instrument}: {payoff_words(terms.claim.payoff)}", highlight=False)
    for sentence in _rules(terms):
        console.print(sentence, highlight=False)
    for table in (_amounts, _clock, _disputes, _transactions):
        console.print(table(contract))


def payoff_words(payoff: Payoff) -> str:
    """What the holder gets, as a sentence."""
    strike, quantity = dollars(payoff.strike_e8), bitcoin(payoff.quantity_sats)
    is_call = payoff.kind is OptionKind.CALL
    if payoff.is_binary:
        words = f"the holder gets {quantity} if the price is {_side(is_call)} {strike} USD"
    else:
        gain = "price - strike" if is_call else "strike - price"
        words = (
            f"the holder gets {quantity} x ({gain}) / price if the price is {_side(is_call)}"
            f" {strike} USD, at most {bitcoin(payoff.collateral_sats)}"
        )
    if payoff.barrier is not None:
        is_up = payoff.barrier.direction is KnockOut.UP
        words += (
            f"; nothing once a certified price was at or {_side(is_up)}"
            f" {dollars(payoff.barrier.level_e8)} USD"
        )
    return words + "."


def _side(above: bool) -> str:
    return "above" if above else "below"


def _rules(terms: ContractTerms) -> Iterator[str]:
    claim = terms.claim
    n, q = len(claim.roster), claim.quorum
    rule = (
        "The price is what" if claim.slot.window == 0 else f"A mean of {claim.slot.window} rounds,"
    )
    yield (
        f"{rule} {q} of {n} oracles sign in round {claim.slot.target_round}, or in the first"
        f" certified one of the {claim.grace_rounds} after it."
    )
    if claim.is_american:
        yield f"The holder may exercise in any round from {claim.first_round} on."
    yield (
        f"It is paid in whole units of {claim.unit_sats:,} sats, up to"
        f" {units_max(claim.payout_bits):,} of them; the rest stays with the writer."
    )


def _amounts(contract: Contract) -> Table:
    terms = contract.terms
    chain = terms.chain
    table = _table("Amounts, sats", "", "holder", "writer")
    for name, holder, writer in (
        ("collateral, locked", 0, terms.claim.collateral_sats),
        ("premium, holder to writer", chain.premium_sats, 0),
        ("bond, the other's if this side lies or stays silent", chain.bond_sats, chain.bond_sats),
        (
            "reserve for the last transaction's fee",
            contract.reserve_sats // 2,
            contract.reserve_sats - contract.reserve_sats // 2,
        ),
        ("claim fee, if the other has to claim", chain.claim_fee_sats, chain.claim_fee_sats),
    ):
        table.add_row(name, f"{holder:,}", f"{writer:,}")
    return table


def _clock(contract: Contract) -> Table:
    terms = contract.terms
    chain = terms.chain
    early = ", or the holder earlier by exercising" if terms.claim.is_american else ""
    claim = sum(name.partition(":")[2].startswith(_CLAIM) for name in contract.moves) // len(Role)
    total = (claim - 1) * chain.move_window + chain.challenge_window + chain.sweep_delay
    dispute = max(course.clock_blocks for course in contract.courses.values())
    table = _table("Clock, a block is about ten minutes", "what", "blocks", "about")
    table.add_row(f"either may claim{early}", f"from {chain.expiry_height:,}", "")
    table.add_row("REFUND, if nobody has claimed", f"from {chain.refund_height:,}", "")
    for what, blocks in (
        ("for each further move of a claim or dispute, or the other side wins", chain.move_window),
        ("to challenge a claim, to show its fault, to refute an assertion", chain.challenge_window),
        ("from SETTLE until the claiming side may sweep its bits", chain.sweep_delay),
        ("a whole claim that nobody challenges, at most", total),
        ("a dispute from KICKOFF on, at most", dispute),
    ):
        table.add_row(what, f"{blocks:,}", _hours(blocks))
    return table


def _disputes(contract: Contract) -> Table:
    """What a dispute takes, from the pot: who loses it pays all."""
    chain = contract.terms.chain
    rates = (chain.feerate_sat_vb, chain.max_feerate_sat_vb)
    columns = (f"sats at {rate} sat/vB" for rate in rates)
    table = _table("A dispute about a claim of the holder", "what", "vB", *columns)
    costs = contract.costs(Role.HOLDER)
    for what, cost in (
        ("all moves of the side that claims", costs.prover),
        ("the other side's, a usual fault", costs.challenger),
        ("the other side's, at worst", costs.challenger_worst),
        ("against a false accusation", costs.refute),
    ):
        table.add_row(what, f"{cost.vbytes:,}", *(f"{cost.sats(rate):,}" for rate in rates))
    return table


def _transactions(contract: Contract) -> Table:
    """One row for those of a dispute's rounds that differ in their numbers alone."""
    rate = contract.terms.chain.feerate_sat_vb
    title = f"Transactions at {rate} sat/vB, each but CLOSE with an anchor of {ANCHOR_SATS} sats"
    table = _table(title, "name", "vB", "fee", "paid by")
    kinds: dict[str, list[Step]] = {}
    for step in steps(contract):
        kinds.setdefault(re.sub(r"_\d+$", "", step.name), []).append(step)
    for alike in kinds.values():
        first, last = alike[0], alike[-1]
        name = first.name if len(alike) == 1 else f"{first.name} .. {last.name.rpartition('_')[2]}"
        sizes, fees = sorted({s.vsize for s in alike}), sorted({s.fee_sats for s in alike})
        table.add_row(name, _span(sizes), _span(fees), first.paid_by)
    return table


def _span(values: Sequence[int]) -> str:
    """The least and the most of sorted values."""
    ends = dict.fromkeys((values[0], values[-1]))
    return " - ".join(f"{value:,}" for value in ends)


def _seat(keys: PartyKeys) -> PartyTerms:
    return PartyTerms(
        key=keys.key.public,
        prover_key=keys.prover_key.public,
        challenger_key=keys.challenger_key.public,
        script=p2tr(keys.key.public),
        nonce=bytes(NONCE_SIZE),
    )


def _hours(blocks: int) -> str:
    hours = blocks * BLOCK_MINUTES / 60
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        text = column in ("", "what", "name", "paid by")
        table.add_column(column, justify="left" if text else "right")
    return table
