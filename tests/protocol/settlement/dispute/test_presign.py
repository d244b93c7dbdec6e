"""One signature for each way of each input; nothing is funded before all of them verify."""

from functools import lru_cache

import pytest

from protocol.errors import ScriptError, SignatureError
from protocol.settlement.dispute.graph import DisputeGraph
from protocol.settlement.dispute.presign import assemble, presign, require_signatures
from protocol.settlement.terms import Role
from tests.builders.contracts import AUX, KEYS, NOWHERE, STRANGER
from tests.builders.dispute_chain import setting


@lru_cache(maxsize=1)
def signed() -> tuple[DisputeGraph, dict[Role, dict[str, bytes]]]:
    graph = DisputeGraph.of(setting(3).made, NOWHERE)
    return graph, {role: presign(graph, role, KEYS[role], AUX) for role in Role}


def test_both_verify_each_other() -> None:
    graph, signatures = signed()
    for role in Role:
        require_signatures(graph, role, signatures[role])
    assert signatures[Role.HOLDER].keys() == signatures[Role.WRITER].keys()
    assert len(set(signatures[Role.HOLDER].values())) == len(signatures[Role.HOLDER])


def test_a_signature_for_each_leaf() -> None:
    graph, signatures = signed()
    names = [way.name for move in graph.moves.values() for _, way in move.ways]
    assert sorted(names) == sorted(signatures[Role.HOLDER])
    executes = [name for name in names if name.startswith("holder:EXECUTE_")]
    assert len({signatures[Role.HOLDER][name] for name in executes}) == 58


@pytest.mark.parametrize("name", ["REFUND", "holder:CHALLENGE", "writer:EXECUTE_absorb"])
def test_a_missing_or_foreign_signature_is_named(name: str) -> None:
    graph, signatures = signed()
    good = signatures[Role.WRITER]
    for wrong in (good["holder:PICK_1"], bytes(64)):
        with pytest.raises(SignatureError, match=f"does not fit {name}: do not fund"):
            require_signatures(graph, Role.WRITER, {**good, name: wrong})
    left = {n: signature for n, signature in good.items() if n != name}
    with pytest.raises(SignatureError, match=f"has not signed {name}: do not fund"):
        require_signatures(graph, Role.WRITER, left)
    with pytest.raises(SignatureError, match="signed CLOSE, which this contract has not"):
        require_signatures(graph, Role.WRITER, {**good, "CLOSE": bytes(64)})


def test_a_signature_for_one_leaf_is_none_for_another() -> None:
    graph, signatures = signed()
    good = signatures[Role.HOLDER]
    swapped = {**good, "holder:EXECUTE_addi": good["holder:EXECUTE_add"]}
    with pytest.raises(SignatureError, match="does not fit holder:EXECUTE_addi"):
        require_signatures(graph, Role.HOLDER, swapped)


def test_a_stranger_cannot_presign() -> None:
    graph, _ = signed()
    with pytest.raises(SignatureError, match="no key of this party"):
        presign(graph, Role.HOLDER, STRANGER, AUX)


def test_assembling_names_what_is_missing() -> None:
    graph, signatures = signed()
    challenge = graph.move("holder:CHALLENGE")
    tx = assemble(challenge, signatures)
    assert tx.vin == challenge.tx.vin and len(tx.wit.vtxinwit[0].scriptWitness.stack) == 4
    with pytest.raises(SignatureError, match="writer's signature does not fit holder:CHALLENGE"):
        assemble(challenge, {Role.HOLDER: signatures[Role.HOLDER]})
    with pytest.raises(SignatureError, match="shows node_0 1: sign it"):
        assemble(graph.move("holder:REVEAL_1"), signatures)
    with pytest.raises(ScriptError, match="not reached by holder:EXECUTE_nop"):
        assemble(graph.move("holder:EXECUTE"), signatures, way="holder:EXECUTE_nop")
