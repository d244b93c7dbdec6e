"""Hypothesis strategies: any option, any terms that a contract can have."""

from hypothesis import strategies as st

from protocol.bitcoin.script import LOCKTIME_THRESHOLD
from protocol.bitcoin.tx import MAX_MONEY_SATS
from protocol.options.instrument import Barrier, KnockOut, OptionKind
from protocol.options.payoff import UNIT_SATS_MIN, Payoff
from protocol.oracle.expiry import ExpirySlot, Rule
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms
from protocol.units import E8, U32_MAX, U64_MAX, PriceE8, Sats
from tests.builders.terms import HOLDER, WRITER, party_terms

CORNERS = st.sampled_from(
    [1, 2, 3, E8, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**63 - 1, 2**63, U64_MAX - 1, U64_MAX]
)
NUMBERS = CORNERS | st.integers(1, U64_MAX) | st.integers(1, 10**14)
DIGESTS = st.binary(min_size=32, max_size=32)
MOST_SATS = MAX_MONEY_SATS // 2


@st.composite
def barriers(draw: st.DrawFn, kind: OptionKind, strike_e8: int) -> Barrier:
    """One that leaves the option something to pay, where the strike allows it."""
    directions = [KnockOut.UP] * (kind is OptionKind.PUT or strike_e8 < U64_MAX)
    directions += [KnockOut.DOWN] * (kind is OptionKind.CALL or strike_e8 > 1)
    direction = draw(st.sampled_from(directions))
    if direction is KnockOut.UP and kind is OptionKind.CALL:
        level = draw(st.integers(strike_e8 + 1, U64_MAX))
    elif direction is KnockOut.DOWN and kind is OptionKind.PUT:
        level = draw(st.integers(1, strike_e8 - 1))
    else:
        level = draw(NUMBERS)
    return Barrier(direction, PriceE8(level))


@st.composite
def payoffs(draw: st.DrawFn, least_sats: int = 1, most_sats: int = U64_MAX) -> Payoff:
    """Any option; the collateral lies between the two."""
    kind, strike = draw(st.sampled_from(OptionKind)), draw(NUMBERS)
    style = draw(st.sampled_from(["vanilla", "binary", "barrier"]))
    collateral = draw(st.integers(least_sats, most_sats))
    is_bounded = style == "binary" or kind is OptionKind.CALL
    return Payoff(
        kind=kind,
        strike_e8=PriceE8(strike),
        quantity_sats=Sats(draw(st.integers(1, collateral) if is_bounded else NUMBERS)),
        collateral_sats=Sats(collateral),
        is_binary=style == "binary",
        barrier=draw(barriers(kind, strike)) if style == "barrier" else None,
    )


@st.composite
def claims_terms(
    draw: st.DrawFn, roster: tuple[bytes, ...] | None = None, quorum: int | None = None
) -> ClaimTerms:
    """Any terms of a claim."""
    start = draw(st.integers(0, U64_MAX - 1000) | st.integers(10**7, 10**8))
    target = draw(st.integers(start + 1, min(start + 10**6, U64_MAX)))
    rule = draw(st.sampled_from(Rule))
    rounds = st.integers(1, target - start + 1)
    bits = draw(st.integers(8, 20))
    payoff = draw(payoffs(UNIT_SATS_MIN << bits, MOST_SATS))
    roster = roster or tuple(draw(st.lists(DIGESTS, min_size=1, max_size=8, unique=True)))
    return ClaimTerms(
        slot=ExpirySlot(
            config_digest=draw(DIGESTS),
            feed_id=draw(DIGESTS),
            start_round=start,
            target_round=target,
            rule=rule,
            window=draw(rounds) if rule is Rule.TWAP else 0,
        ),
        roster=roster,
        quorum=quorum or draw(st.integers(1, len(roster))),
        grace_rounds=draw(st.integers(0, U32_MAX)),
        min_rounds=draw(rounds),
        payoff=payoff,
        is_american=not payoff.is_binary and draw(st.booleans()),
        payout_bits=bits,
    )


@st.composite
def chains(draw: st.DrawFn) -> ChainTerms:
    """Any that a contract of eight signatures can have."""
    move, challenge = draw(st.integers(1, 0xFFFF)), draw(st.integers(1, 0xFFFF))
    expiry = draw(st.integers(1, LOCKTIME_THRESHOLD - 1_000_000))
    most = draw(st.integers(1, 1_000))
    return ChainTerms(
        premium_sats=draw(st.just(0) | st.integers(330, 10**14)),
        bond_sats=draw(st.integers(1, 10**14)),
        claim_fee_sats=draw(st.just(0) | st.integers(1_000, 10**14)),
        feerate_sat_vb=draw(st.integers(1, most)),
        max_feerate_sat_vb=most,
        expiry_height=expiry,
        refund_height=draw(st.integers(expiry + move + 1, LOCKTIME_THRESHOLD - 1)),
        move_window=move,
        challenge_window=challenge,
        sweep_delay=draw(st.integers(challenge, 0xFFFF)),
        log4_steps=draw(st.integers(12, 15)),
        width=draw(st.sampled_from([20, 32])),
        anchored=draw(st.booleans()),
    )


@st.composite
def contracts(
    draw: st.DrawFn, roster: tuple[bytes, ...] | None = None, quorum: int | None = None
) -> ContractTerms:
    """Any terms of a contract between the same two parties."""
    programs = st.binary(min_size=32, max_size=32).map(lambda key: b"\x51\x20" + key)
    nonces = st.binary(min_size=16, max_size=16)
    return ContractTerms(
        claim=draw(claims_terms(roster, quorum)),
        holder=party_terms(HOLDER, script=draw(programs), nonce=draw(nonces)),
        writer=party_terms(WRITER, script=draw(programs), nonce=draw(nonces)),
        chain=draw(chains()),
    )
