"""Known answers of the graph: every pre-signed transaction of one contract, and every leaf."""

from typing import Any

from protocol.bitcoin.tx import hash_hex, serialize, txid
from protocol.settlement.move import Move
from protocol.settlement.path import Lock, SpendPath
from protocol.settlement.terms import Role
from tests.spec import fixed


def answers() -> dict[str, Any]:
    graph = fixed.graph()
    contract = graph.contract
    locks = {"FUND": contract.lock}
    for _, move, number, lock in graph.locked():
        locks.setdefault(f"{move.name} {number}", lock)
    return {
        "about": "docs/spec/graph.md",
        "terms": contract.terms.encode().hex(),
        "seeds": {name: seed.hex() for name, seed in fixed.SEEDS.items()},
        "fund": f"{hash_hex(bytes(fixed.FUND.hash))}:{fixed.FUND.n}",
        "fund_sats": contract.value_sats,
        "reserve_sats": contract.reserve_sats,
        "close_fee_sats": contract.close_fee_sats,
        "moves": [_move(move) for move in graph.moves.values()],
        "outputs": [_lock(name, lock) for name, lock in locks.items() if _ours(name)],
    }


def _ours(name: str) -> bool:
    """The writer's direction has the same leaves under other keys: FUND and the holder's do."""
    return not name.startswith(Role.WRITER.value)


def _move(move: Move) -> dict[str, Any]:
    found = {
        "name": move.name,
        "spends": move.spends,
        "txid": hash_hex(txid(move.tx)),
        "vsize": move.widest_vsize,
        "fee_sats": move.fee_sats,
    }
    return found | ({"tx": serialize(move.tx).hex()} if _ours(move.name) else {})


def _lock(name: str, lock: Lock) -> dict[str, Any]:
    return {
        "output": name,
        "script": lock.script_pubkey.hex(),
        "internal_key": lock.output.internal_key.hex(),
        "merkle_root": (lock.output.merkle_root or b"").hex(),
        "leaves": [_leaf(way) for way in lock.paths],
    }


def _leaf(way: SpendPath) -> list[Any]:
    """Name, leaf hash, script bytes, relative lock, signers in the script's order."""
    signers = "".join(role.value[0] for role in way.signers)
    name = way.name.partition(":")[2] or way.name
    return [name, way.leaf.hash.hex(), way.leaf.size, way.blocks, signers]
