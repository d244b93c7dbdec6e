"""The first difference between a transaction and the one that the terms call for, in words."""

from bitcoin.core import CTransaction, CTxIn, CTxOut

from protocol.bitcoin.tx import hash_hex
from protocol.errors import TermsError


def require_same(name: str, expected: CTransaction, actual: CTransaction) -> None:
    """TermsError naming the first field in which ``actual`` differs, witnesses aside.

    Every builder here is deterministic: what a party signs must be what it would have built.
    """
    for field, wanted, found in _fields(expected, actual):
        if wanted != found:
            raise TermsError(f"do not sign this {name}: {field} is {found}, the terms say {wanted}")


def _fields(expected: CTransaction, actual: CTransaction) -> list[tuple[str, object, object]]:
    rows: list[tuple[str, object, object]] = [
        ("the version", expected.nVersion, actual.nVersion),
        ("the lock time", expected.nLockTime, actual.nLockTime),
        ("the number of inputs", len(expected.vin), len(actual.vin)),
        ("the number of outputs", len(expected.vout), len(actual.vout)),
    ]
    for n, (want, have) in enumerate(zip(expected.vin, actual.vin, strict=False)):
        rows += [
            (f"input {n}", _point(want), _point(have)),
            (f"the sequence of input {n}", want.nSequence, have.nSequence),
            (f"the scriptSig of input {n}", want.scriptSig.hex(), have.scriptSig.hex()),
        ]
    for n, (paid, pays) in enumerate(zip(expected.vout, actual.vout, strict=False)):
        rows.append((f"output {n}", _output(paid), _output(pays)))
    return rows


def _point(txin: CTxIn) -> str:
    point = txin.prevout
    return f"{hash_hex(bytes(point.hash))}:{point.n}"


def _output(out: CTxOut) -> str:
    return f"{out.nValue} sats to {bytes(out.scriptPubKey).hex()}"
