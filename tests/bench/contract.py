"""The contract on Bitcoin: sizes of its signed transactions, and how long it takes to make one.

    python -m tests.bench.contract [--json]

Sizes are of transactions that both parties have signed, with real one-time signatures. Times are of
this process: cold is its first contract, warm the best of several others.
"""

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

from bitcoin.core import CTransaction

from protocol.bitcoin.taproot import key_path_script
from protocol.bitcoin.tx import (
    serialize,
    transaction,
    txin,
    txout,
    vsize,
    weight,
    with_witness,
    without_witness,
)
from protocol.crypto.tagged import tagged_hash
from protocol.settlement.closing import close_nonce, close_session, close_tx, finish_close
from protocol.settlement.contract import ANCHOR_BYTES, Contract
from protocol.settlement.funding import Contribution, fund_tx
from protocol.settlement.graph import Graph
from protocol.settlement.payout import payout_of
from protocol.settlement.presign import presign, require_signatures
from protocol.settlement.spending import bump_tx, sweep_tx, timeout_tx
from protocol.settlement.terms import ContractTerms, Role
from tests.bench._report import finish, hardware, say
from tests.builders.contracts import (
    AUX,
    KEYS,
    NOWHERE,
    STRANGER,
    Deal,
    claim_of_bits,
    coin,
    contract_terms,
    deal,
)

QUORUMS = (2, 3)
WIDTHS = (20, 32)
BITS = 16
UNITS = 0b1010_0110_0101_1001
"""Half of the bits, spread."""
BIT_WU = 25
"""Script and witness of a signed bit, in weight units: the design's figure."""
REPEATS = 7
SCRIPT = key_path_script(STRANGER.key.public)
SIGNATURE = [bytes(64)]

METHODS = {
    "vsize_q*_w*": f"virtual bytes, a European contract of {BITS} payout bits, q oracle signatures,"
    " hashes of w bytes; what both sign for a claim that nobody challenges, for both provers;"
    " disputes are tests.bench.dispute's",
    "claim_q*_w*": "INPUT_1 to KICKOFF together: what one side's claim takes; wu_per_bit is their"
    f" whole witness over the bits they sign, to_{BIT_WU} its ratio to {BIT_WU} weight units a bit",
    "ends": "what else there is: CLOSE by one MuSig2 signature, by its leaf, with 32 bytes in an"
    f" OP_RETURN; sweeps of {UNITS:#06x} by each side where the holder proved; one bit alone;"
    " a time-out; a fee bump with one coin; FUND of two coins, with premium and two changes",
    "plain": "payments of the same shape from Taproot by key path: one input and two outputs, two"
    " inputs and one output, two inputs and four outputs",
    "ratios": "CLOSE to the payment of its shape; FUND likewise",
    "seconds": "wall time of both sides: all one-time keys, both graphs with their disputes built,"
    " all signatures, all verified; cold is the first of the process after its imports, warm the"
    f" best of {REPEATS} under other terms; then the parts of one side, warm",
}


def terms_of(quorum: int, width: int, **chain: Any) -> ContractTerms:
    return contract_terms(claim_of_bits(BITS, quorum), width=width, **chain)


def signed(made: Deal) -> Iterator[tuple[str, CTransaction]]:
    """The pre-signed transactions of a claim that nobody challenges, finished."""
    yield "REFUND", made.signed("REFUND")
    for prover in Role:
        moves = (*made.graph.forward(prover), made.graph.settle(prover))
        for move in moves:
            yield move.name, made.signed(move.name, made.messages(prover, UNITS))


def claim_of(made: Deal, sizes: Mapping[str, int]) -> dict[str, float]:
    """The cost of a claim, and of a bit in it."""
    witness = bits = size = 0
    for tx, move in zip(
        made.claim(Role.HOLDER, UNITS), made.graph.forward(Role.HOLDER), strict=True
    ):
        size += sizes[move.name]
        bits += 4 * sum(label.digits for label in move.messages)
        witness += len(serialize(tx)) - len(serialize(without_witness(tx)))
        assert weight(tx) <= 4 * sizes[move.name]
    per_bit = witness / bits
    return {"vsize": size, "bits": bits, "wu_per_bit": per_bit, f"to_{BIT_WU}": per_bit / BIT_WU}


def close(contract: Contract, anchor: bytes | None) -> CTransaction:
    tx = close_tx(contract, NOWHERE, contract.terms.claim.payout_sats(UNITS), anchor)
    keys = {role: KEYS[role].key for role in Role}
    nonces = {
        role: close_nonce(
            contract, tx, key, lambda n, key=key: tagged_hash("bench", key.public)[:n]
        )
        for role, key in keys.items()
    }
    session = close_session(contract, tx, {role: nonces[role].public for role in Role})
    partials = {role: session.sign(nonces[role], keys[role]) for role in Role}
    return finish_close(contract, tx, session, partials)


def ends(made: Deal) -> dict[str, int]:
    graph, payout = made.graph, made.payout(Role.HOLDER, UNITS)
    contract, prover = graph.contract, Role.HOLDER
    by_leaf = contract.close_fee_sats // made.terms.chain.feerate_sat_vb
    settle = graph.settle(prover)
    owned = payout_of(graph, settle, UNITS).sweeps

    def sweep(role: Role, outputs: tuple[int, ...]) -> CTransaction:
        return sweep_tx(graph, settle, role, outputs, KEYS[role], AUX, payout=payout)

    first = graph.moves["holder:INPUT_1"]
    coins = [Contribution((coin(10**9, SCRIPT, n),), SCRIPT) for n in range(2)]
    fund = with_witness(fund_tx(contract, *coins), [SIGNATURE] * 2)
    bumped = bump_tx(first, first.tx, [coin(10**6, SCRIPT)], SCRIPT, 2).tx
    txs = {
        "CLOSE": close(contract, None),
        "CLOSE_anchored": close(contract, bytes(ANCHOR_BYTES)),
        "sweep_shown": sweep(Role.WRITER, owned[Role.WRITER]),
        "sweep_late": sweep(Role.HOLDER, owned[Role.HOLDER]),
        "sweep_shown_one": sweep(Role.WRITER, owned[Role.WRITER][-1:]),
        "sweep_late_one": sweep(Role.HOLDER, owned[Role.HOLDER][-1:]),
        "TIMEOUT": timeout_tx(graph, first, KEYS[Role.WRITER], AUX),
        "bump": with_witness(bumped, [[], SIGNATURE]),
        "FUND": fund,
    }
    return {name: vsize(tx) for name, tx in txs.items()} | {"CLOSE_by_leaf_anchored": by_leaf}


def plain(inputs: int, outputs: int) -> int:
    """A payment from Taproot to Taproot, signed by key path."""
    tx = transaction([txin(NOWHERE)] * inputs, [txout(1_000, SCRIPT)] * outputs)
    return vsize(with_witness(tx, [SIGNATURE] * inputs))


def contract_seconds(number: int) -> float:
    """Everything that both sides do before FUND, under terms that no one has seen."""
    terms = terms_of(2, 20, premium_sats=10_000 + number)
    begin = perf_counter()
    bundles = {role: KEYS[role].one_time(terms, role).public for role in Role}
    graphs = {role: Graph.of(Contract(terms, bundles), NOWHERE) for role in Role}
    made = {role: presign(graphs[role], role, KEYS[role], AUX) for role in Role}
    for role in Role:
        require_signatures(graphs[role], role.other, made[role.other])
    return perf_counter() - begin


def part_seconds() -> dict[str, float]:
    """What one side spends where."""
    best: dict[str, float] = {}
    for number in range(REPEATS):
        terms, role = terms_of(2, 20, premium_sats=20_000 + number), Role.HOLDER
        theirs = KEYS[role.other].one_time(terms, role.other).public
        times = [perf_counter()]
        bundles = {role: KEYS[role].one_time(terms, role).public, role.other: theirs}
        times.append(perf_counter())
        graph = Graph.of(Contract(terms, bundles), NOWHERE)
        times.append(perf_counter())
        signatures = presign(graph, role, KEYS[role], AUX)
        times.append(perf_counter())
        require_signatures(graph, role, signatures)
        times.append(perf_counter())
        for name, begin, end in zip(
            ("keys", "build", "sign", "verify"), times, times[1:], strict=False
        ):
            best[name] = min(best.get(name, float("inf")), end - begin)
    return best


def measure() -> dict[str, Any]:
    say("a contract from nothing")
    cold = contract_seconds(0)
    warm = min(contract_seconds(number) for number in range(1, 1 + REPEATS))
    result: dict[str, Any] = {"hardware": hardware()}
    for quorum in QUORUMS:
        for width in WIDTHS:
            say(f"sizes with {quorum} signatures and hashes of {width} bytes")
            made = deal(terms_of(quorum, width))
            sizes = {name: vsize(tx) for name, tx in signed(made)}
            result[f"vsize_q{quorum}_w{width}"] = sizes
            result[f"claim_q{quorum}_w{width}"] = claim_of(made, sizes)
    last = ends(made)
    payments = {"1_in_2_out": plain(1, 2), "2_in_1_out": plain(2, 1), "2_in_4_out": plain(2, 4)}
    result |= {
        "ends": last,
        "plain": payments,
        "ratios": {
            "close_to_1_in_2_out": last["CLOSE"] / payments["1_in_2_out"],
            "close_to_2_in_1_out": last["CLOSE"] / payments["2_in_1_out"],
            "fund_to_2_in_4_out": last["FUND"] / payments["2_in_4_out"],
        },
        "seconds": {"cold": cold, "warm": warm, **part_seconds()},
    }
    return result | {"methods": METHODS}


if __name__ == "__main__":
    finish("contract", measure)
