"""Known answers of FUND and CLOSE: the contract's output, both ways to close, MuSig2."""

from typing import Any

from protocol.bitcoin.tx import hash_hex, serialize, txid, txout
from protocol.crypto.tagged import tagged_hash
from protocol.settlement.closing import (
    assemble_close,
    close_nonce,
    close_session,
    close_tx,
    finish_close,
    sign_close,
)
from protocol.settlement.funding import Contribution, contract_outpoint, fund_needs, fund_tx
from protocol.settlement.terms import Role
from tests.builders.contracts import AUX, KEYS, coin
from tests.spec import fixed

PAYOUT_SATS = 12_345_678
CHANGE_SATS = 50_000


def answers() -> dict[str, Any]:
    contract = fixed.contract()
    coins = {role: _contribution(role) for role in Role}
    fund = fund_tx(contract, coins[Role.HOLDER], coins[Role.WRITER])
    output = contract.lock.output
    return {
        "about": "docs/spec/funding.md",
        "terms": contract.terms.encode().hex(),
        "stakes": {role.value: contract.stake_sats(role) for role in Role},
        "coins": [_coin(role, coins[role]) for role in Role],
        "fund": {"txid": hash_hex(txid(fund)), "tx": serialize(fund).hex()},
        "output": {
            "points": [point.hex() for point in contract.aggregate.points],
            "aggregate_key": contract.aggregate.public.hex(),
            "merkle_root": (output.merkle_root or b"").hex(),
            "output_key": output.output_key.hex(),
        },
        "close": _close(contract_outpoint(fund)),
    }


def _contribution(role: Role) -> Contribution:
    contract = fixed.contract()
    script = contract.terms.party(role).script
    sats = fund_needs(contract, role, 1) + CHANGE_SATS
    return Contribution((coin(sats, script, list(Role).index(role)),), script)


def _coin(role: Role, given: Contribution) -> dict[str, Any]:
    (only,) = given.coins
    return {
        "role": role.value,
        "outpoint": f"{hash_hex(bytes(only.outpoint.hash))}:{only.outpoint.n}",
        "output": serialize_output(only.sats, bytes(only.output.scriptPubKey)),
    }


def serialize_output(sats: int, script: bytes) -> str:
    """An output as a transaction holds it."""
    return txout(sats, script).serialize().hex()


def _close(point: Any) -> dict[str, Any]:
    """By key path from fixed entropy, and by the leaf."""
    contract = fixed.contract()
    anchor = tagged_hash("test", b"anchor")
    tx = close_tx(contract, point, PAYOUT_SATS, anchor)
    nonces = {role: close_nonce(contract, tx, KEYS[role].key, _entropy(role)) for role in Role}
    session = close_session(contract, tx, {role: nonce.public for role, nonce in nonces.items()})
    partials = {role: session.sign(nonces[role], KEYS[role].key) for role in Role}
    signed = finish_close(contract, tx, session, partials)
    leaf = {role: sign_close(contract, tx, KEYS[role].key, AUX) for role in Role}
    return {
        "payout_sats": PAYOUT_SATS,
        "anchor": anchor.hex(),
        "txid": hash_hex(txid(tx)),
        "tx": serialize(tx).hex(),
        "message": session.message.hex(),
        "nonces": {role.value: nonces[role].public.hex() for role in Role},
        "partials": {role.value: partials[role].hex() for role in Role},
        "signed": serialize(signed).hex(),
        "leaf_signatures": {role.value: leaf[role].hex() for role in Role},
        "signed_by_leaf": serialize(assemble_close(contract, tx, leaf)).hex(),
    }


def _entropy(role: Role) -> Any:
    return lambda count: tagged_hash("test", role.value.encode())[:count]
