"""Every transaction and every lock of the disputes: who may spend what, when, at which size."""

from itertools import islice
from random import Random

import pytest

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import operations, parse_number
from protocol.bitcoin.tx import txid
from protocol.bitcoin.winternitz_script import MAX_STACK_ITEMS
from protocol.dispute.leaves import execute
from protocol.errors import ScriptError, TermsError
from protocol.settlement.contract import Contract
from protocol.settlement.dispute.leaf import LeafPath
from protocol.settlement.graph import Graph
from protocol.settlement.move import ANCHOR_SATS, ANCHOR_SCRIPT, FUND, Move
from protocol.settlement.terms import Role
from tests.builders.contracts import NOWHERE, contract_of
from tests.builders.dispute_chain import setting, small_terms
from tests.builders.disputes import settling_program

FULL = 12
SETTINGS = [(1, 32), (2, 32), (3, 20), (5, 20)]


def full(width: int) -> Contract:
    """As large as the settlement program needs it, about a small program."""
    return contract_of(small_terms(FULL, width), settling_program(Random(1), 12))


def lock_blocks(code: bytes) -> int:
    """The relative lock that a leaf begins with, by its bytes; 0 for none."""
    (first, data), (second, _) = islice(operations(code), 2)
    if second != Op.CHECKSEQUENCEVERIFY:
        return 0
    return first - Op.TRUE + 1 if data is None else parse_number(data)


def require_limits(made: Contract) -> None:
    """Version 3, at most 10,000 vB, one anchor, and not a satoshi from nowhere."""
    graph, rate = Graph.of(made, NOWHERE), made.terms.chain.feerate_sat_vb
    for move in graph.moves.values():
        assert move.tx.nVersion == 3
        assert move.widest_vsize <= 10_000, move.name
        assert move.fee_sats == rate * move.widest_vsize, move.name
        outs = [(int(out.nValue), bytes(out.scriptPubKey)) for out in move.tx.vout]
        assert outs[-1] == (ANCHOR_SATS, ANCHOR_SCRIPT)
        assert [script for _, script in outs].count(ANCHOR_SCRIPT) == 1
        spent = sum(int(out.nValue) for out in move.spent)
        assert spent == sum(sats for sats, _ in outs) + move.fee_sats, move.name
        assert all(sats >= 330 for sats, _ in outs[:-1]), move.name
        for number, way in move.ways:
            assert way.sequence == move.tx.vin[number].nSequence
            items, _ = way.widest_items
            assert items <= MAX_STACK_ITEMS


@pytest.mark.parametrize("log4_steps, width", SETTINGS)
def test_small_contracts_keep_the_limits(log4_steps: int, width: int) -> None:
    require_limits(setting(log4_steps, width).contract)


@pytest.mark.parametrize("width", [20, 32])
def test_a_full_contract_keeps_the_limits(width: int) -> None:
    made = full(width)
    require_limits(made)
    for prover in Role:
        names = [n for n, move in made.moves.items() if move.prover is prover]
        path = [n for n in names if n.endswith("_path")]
        assert len(path) == (4 if width == 32 else 0)
        assert len([n for n in names if "REVEAL" in n]) == FULL


@pytest.mark.parametrize("log4_steps, width", SETTINGS)
def test_parents_come_first_and_are_spent(log4_steps: int, width: int) -> None:
    made = setting(log4_steps, width).contract
    graph = Graph.of(made, NOWHERE)
    ids = {FUND: bytes(NOWHERE.hash)}
    for move in graph.moves.values():
        for index, spends in enumerate(move.tx.vin):
            assert bytes(spends.prevout.hash) == ids[move.spends]
            assert spends.prevout.n == index
            if move.spends != FUND:
                parent = graph.moves[move.spends]
                assert parent.tx.vout[index] == move.spent[index]
                assert parent.locks[index] is move.spent_locks[index]
        ids[move.name] = txid(move.tx)
    assert len(set(ids.values())) == len(ids)
    again = Graph.of(made, NOWHERE)
    assert [m.tx for m in again.moves.values()] == [m.tx for m in graph.moves.values()]


@pytest.mark.parametrize("prover", Role)
def test_who_may_spend_what_and_when(prover: Role) -> None:
    """Every leaf of every output of a dispute, as dispute.md 3 has it."""
    about = setting(5, 20, Role.WRITER, 30, 31)
    chain = about.course.terms.chain
    move, challenge = chain.move_window, chain.challenge_window
    own, other = {prover}, {prover.other}
    both = own | other
    name = prover.value

    def ways(parent: str, output: int = 0) -> dict[str, tuple[set[Role], int]]:
        lock = about.contract.moves[f"{name}:{parent}"].locks[output]
        assert lock.output.internal_key == NUMS
        for way in lock.paths:
            assert lock_blocks(way.leaf.script) == way.blocks >= 1
        return {
            way.name.removeprefix(f"{name}:"): (set(way.signers), way.blocks) for way in lock.paths
        }

    late = {"TIMEOUT": (other, move)}
    assert ways("KICKOFF") == {"SETTLE": (both, challenge), "CHALLENGE": (both, 1)}
    assert ways("CHALLENGE") == {"REVEAL_1": (both, 1)} | late
    for turn in range(1, 6):
        settle = {f"SETTLE_round_{turn}": (both, move)}
        assert ways(f"REVEAL_{turn}") == {f"PICK_{turn}": (both, 1)} | settle
    for turn in range(1, 5):
        assert ways(f"PICK_{turn}") == {f"REVEAL_{turn + 1}": (both, 1)} | late
    executes = {f"EXECUTE_{leaf}": (both, 1) for leaf in execute.names()}
    assert ways("PICK_5") == executes | late
    after = ways("EXECUTE")
    assert after.pop("SETTLE_execute") == (both, challenge)
    asserts = {n: way for n, way in after.items() if n.startswith("ASSERT")}
    assert len(asserts) == 21 and set(map(str, asserts.values())) == {str((both, 1))}
    verdicts = {n: way for n, way in after.items() if n.startswith("VERDICT_")}
    assert verdicts.keys() | asserts.keys() == after.keys()
    assert len(verdicts) == len(about.contract.courses[prover].verdicts) > 200
    assert all(way == (other, 1) for way in verdicts.values())
    settled = {"SETTLE_assert_1": (both, challenge + move)}
    assert ways("ASSERT_1") == {"TAKE_1": (both, challenge)} | settled
    connector = ways("ASSERT_1", 1)
    assert connector.pop("TAKE_1_CONNECTOR") == (both, challenge)
    assert connector == {"REFUTE_1_block": (own, 1), "REFUTE_1_node_0": (own, 1)}


NUMS = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")


def test_execute_is_one_transaction_with_a_leaf_an_instruction() -> None:
    about = setting(3)
    found = about.contract.moves["holder:EXECUTE"]
    leaves = {way.leaf.hash for _, way in found.ways}
    assert len(leaves) == len(execute.names())
    assert {len(move.inputs) for move in about.contract.moves.values()} == {1}
    takes = [
        m for m in setting(5, 20, Role.WRITER, 30, 31).contract.moves.values() if "TAKE" in m.name
    ]
    assert [len(move.inputs) for move in takes] == [2, 2]


def test_the_first_leaf_lies_at_the_top() -> None:
    """A SETTLE costs the reserve as much below hundreds of leaves as below two."""
    about = setting(3)
    sizes = {m.widest_vsize for m in about.contract.moves.values() if "holder:SETTLE_" in m.name}
    assert len(sizes) == 1


def test_a_leaf_takes_its_hints_and_messages() -> None:
    about = setting(3)
    opening = next(v for v in about.course.verdicts if v.template.hints)
    assert isinstance(opening, LeafPath)
    with pytest.raises(Exception, match="unsigned numbers"):
        opening.items({}, (1, 2))
    with pytest.raises(Exception, match="sign it with the one-time key"):
        opening.items({}, (0,) * opening.template.hints)


def test_the_clock_of_a_dispute() -> None:
    """P's 3 reveals and EXECUTE, C's 3 digits, the windows for C to challenge and to convict."""
    about = setting(3)
    chain = about.course.terms.chain
    windows = 7 * chain.move_window + 2 * chain.challenge_window + chain.sweep_delay
    assert about.course.clock_blocks == windows


def test_a_bond_that_a_dispute_exceeds_is_refused() -> None:
    about = setting(3)
    rate = about.course.terms.chain.max_feerate_sat_vb
    least = max(about.contract.costs(prover).dearest.sats(rate) for prover in Role) + 3_001 + 330
    contract_of(small_terms(3, bond_sats=least), about.judge)
    with pytest.raises(TermsError, match=f"bond_sats {least - 1}: a dispute .* at least {least}"):
        contract_of(small_terms(3, bond_sats=least - 1), about.judge)


def test_a_transaction_above_the_limit_is_refused() -> None:
    about = setting(3)
    draft = next(d for d in about.course.walk() if d.name == "holder:REVEAL_1")
    (way,) = draft.inputs[0]
    locks = [about.contract.moves["holder:CHALLENGE"].locks[0]]
    assert draft.vsize(locks) == about.contract.moves["holder:REVEAL_1"].widest_vsize
    huge = type(draft)(
        draft.name, draft.prover, draft.payer, ((way,),) * 3, draft.locks, (), draft.amounts
    )
    with pytest.raises(ScriptError, match="above 10000"):
        huge.vsize(locks * 3)


def test_moves_have_a_size_and_an_anchor() -> None:
    move: Move = setting(3).contract.moves["holder:PICK_1"]
    assert move.tx.vout[move.anchor].nValue == ANCHOR_SATS
