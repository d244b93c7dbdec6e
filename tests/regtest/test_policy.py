"""The model of Core's relay rules, rule by rule; the cases are those measured on Core 31."""

from collections.abc import Sequence

import pytest
from bitcoin.core import CTransaction, CTxIn, CTxOut
from bitcoin.core.script import CScript

from protocol.bitcoin.fees import dust_limit_sats
from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import PAY_TO_ANCHOR, script
from protocol.bitcoin.taproot import NUMS_KEY, TapLeaf, p2tr, taproot_output
from protocol.bitcoin.tx import outpoint, transaction, txin, txout, with_witness
from protocol.errors import PolicyError
from regtest.policy import (
    Candidate,
    Relative,
    check_cluster,
    check_family,
    check_fee,
    check_replacement,
    check_standard,
)

P2TR = p2tr(b"\x02" * 32)
P2WSH = bytes([Op.FALSE, 32]) + bytes(32)
P2WPKH = bytes([Op.FALSE, 20]) + bytes(20)
PAID = txout(1_000, P2TR)
P2PKH = script(Op.DUP, Op.HASH160, bytes(20), Op.EQUALVERIFY, Op.CHECKSIG)
P2SH = script(Op.HASH160, bytes(20), Op.EQUAL)
KEY = b"\x02" + b"\x03" * 32
SIGNATURE = bytes(64)


def paying(*outputs: CTxOut, fee: int = 1_000) -> Candidate:
    tx = transaction([txin(outpoint(b"\x01" * 32, 0))], outputs)
    return Candidate(with_witness(tx, [[SIGNATURE]]), [txout(10**8, P2TR)], fee)


def spending(script_pubkey: bytes, stack: Sequence[bytes]) -> Candidate:
    tx = transaction([txin(outpoint(b"\x01" * 32, 0))], [txout(1_000, P2TR)])
    return Candidate(with_witness(tx, [stack]), [txout(10**8, script_pubkey)], 1_000)


def tapscript(code: bytes, *items: bytes, version: int = 0xC0, annex: bytes = b"") -> Candidate:
    leaf = TapLeaf(code, version=version)
    output = taproot_output(NUMS_KEY, leaf)
    tail = [annex] if annex else []
    return spending(output.script_pubkey, [*items, code, output.control_block(leaf), *tail])


RELAYED = {
    "P2PKH": paying(txout(546, P2PKH)),
    "P2SH": paying(txout(540, P2SH)),
    "P2WPKH": paying(txout(294, P2WPKH)),
    "P2WSH": paying(txout(330, P2WSH)),
    "P2TR": paying(txout(330, P2TR)),
    "pay to anchor": paying(PAID, txout(240, PAY_TO_ANCHOR)),
    "a later witness version": paying(txout(330, script(Op.N16, bytes(32)))),
    "bare public key": paying(txout(600, script(KEY, Op.CHECKSIG))),
    "bare multisig": paying(txout(1_000, script(1, KEY, KEY, 2, Op.CHECKMULTISIG))),
    "83 bytes of data": paying(txout(0, script(Op.RETURN, bytes(83)))),
    "500 bytes of data": paying(txout(0, script(Op.RETURN, bytes(500)))),
    "two data outputs": paying(*[txout(0, script(Op.RETURN, bytes(32)))] * 2),
    "one dust output without a fee": paying(PAID, txout(0, PAY_TO_ANCHOR), fee=0),
    "OP_IF in tapscript": tapscript(script(1, Op.IF, 1, Op.ENDIF)),
    "a push of 520 bytes in a script": tapscript(script(bytes(520), Op.DROP, 1)),
    "an item of 80 bytes": tapscript(script(Op.DROP, 1), bytes(80)),
    "350 kB of tapscript": tapscript(script(1) + bytes([Op.NOP]) * 350_000),
    "a large witness": tapscript(script(*[Op.DROP] * 30, 1), *[bytes(80)] * 30),
    "P2WSH spent": spending(P2WSH, [bytes(80), script(1)]),
}

REFUSED = {
    "P2TR dust": (paying(txout(329, P2TR)), "dust"),
    "P2WPKH dust": (paying(txout(293, P2WPKH)), "dust"),
    "P2PKH dust": (paying(txout(545, P2PKH)), "dust"),
    "anchor dust with a fee": (paying(PAID, txout(239, PAY_TO_ANCHOR)), "dust"),
    "two dust outputs without a fee": (paying(*[txout(0, PAY_TO_ANCHOR)] * 2, fee=0), "dust"),
    "a bare OP_TRUE": (paying(PAID, txout(1_000, b"\x51")), "scriptpubkey"),
    "multisig of four": (
        paying(txout(1_000, script(1, KEY, KEY, KEY, KEY, 4, Op.CHECKMULTISIG))),
        "scriptpubkey",
    ),
    "version 0 of another size": (paying(txout(1_000, b"\x00\x10" + bytes(16))), "scriptpubkey"),
    "data with an opcode": (
        paying(PAID, txout(0, bytes([Op.RETURN, Op.CHECKSIG]))),
        "scriptpubkey",
    ),
    "100 kB of data": (
        paying(*[txout(0, b"\x6a\x4e" + (25_000).to_bytes(4, "little") + bytes(25_000))] * 4),
        "tx-size",
    ),
    "401 kWU": (tapscript(script(1) + bytes([Op.NOP]) * 401_000), "tx-size"),
    "an annex": (tapscript(script(1), annex=b"\x50"), "bad-witness-nonstandard"),
    "OP_SUCCESS": (tapscript(bytes([0x7E])), "OP_SUCCESSx reserved"),
    "another leaf version": (tapscript(script(1), version=0xC2), "Taproot version reserved"),
    "an item of 81 bytes": (tapscript(script(Op.DROP, 1), bytes(81)), "bad-witness-nonstandard"),
    "P2WSH item of 81 bytes": (spending(P2WSH, [bytes(81), b""]), "bad-witness-nonstandard"),
    "P2WSH of 3,601 bytes": (spending(P2WSH, [bytes(3_601)]), "bad-witness-nonstandard"),
    "101 P2WSH items": (spending(P2WSH, [b""] * 101 + [b""]), "bad-witness-nonstandard"),
    "an anchor spent with a witness": (spending(PAY_TO_ANCHOR, [b"1"]), "bad-witness-nonstandard"),
    "an unknown witness version spent": (
        spending(script(Op.N16, bytes(32)), []),
        "bad-txns-nonstandard-inputs",
    ),
    "a bare script spent": (spending(b"\x51", []), "bad-txns-nonstandard-inputs"),
}


@pytest.mark.parametrize("name", RELAYED)
def test_relayed(name: str) -> None:
    check_standard(RELAYED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    candidate, reason = REFUSED[name]
    with pytest.raises(PolicyError) as caught:
        check_standard(candidate)
    assert reason in str(caught.value)


def test_shapes() -> None:
    spend = CTxIn(outpoint(b"\x01" * 32, 0))
    small = CTransaction([spend], [CTxOut(1_000, CScript(P2WPKH))], 0, 2)
    for tx, reason in (
        (CTransaction([spend], [CTxOut(1_000, CScript(P2TR))], 0, 4), "version"),
        (CTransaction([spend], [CTxOut(1_000, CScript(PAY_TO_ANCHOR))], 0, 2), "tx-size-small"),
        (with_script_sig(bytes(1_651)), "scriptsig-size"),
        (with_script_sig(bytes([Op.CHECKSIG])), "scriptsig-not-pushonly"),
    ):
        with pytest.raises(PolicyError, match=reason):
            check_standard(Candidate(tx, [txout(10**8, P2SH)], 1_000))
    check_standard(Candidate(small, [txout(10**8, P2SH)], 1_000))


def with_script_sig(code: bytes) -> CTransaction:
    return CTransaction(
        [CTxIn(outpoint(b"\x01" * 32, 0), CScript(code))], [CTxOut(1_000, CScript(P2TR))], 0, 2
    )


@pytest.mark.parametrize(
    ("code", "sats"),
    [(P2TR, 330), (P2WSH, 330), (P2WPKH, 294), (P2PKH, 546), (P2SH, 540), (PAY_TO_ANCHOR, 240),
     (script(Op.RETURN, bytes(32)), 0)],
)  # fmt: skip
def test_dust_limits_are_cores(code: bytes, sats: int) -> None:
    assert dust_limit_sats(code) == sats


def test_minimum_fee() -> None:
    check_fee(paying(txout(1_000, P2TR), fee=12))  # 111 vB at 0.1 sat/vB
    with pytest.raises(PolicyError, match="min relay fee not met, 11 < 12"):
        check_fee(paying(txout(1_000, P2TR), fee=11))


def test_replacement_pays_for_all() -> None:
    candidate = paying(txout(1_000, P2TR), fee=1_000)
    old = Relative(2, 111, 900)
    check_replacement(candidate, [old], [old])
    with pytest.raises(PolicyError, match="its fee rate is not higher"):
        check_replacement(candidate, [Relative(2, 111, 1_000)], [Relative(2, 111, 1_000)])
    with pytest.raises(PolicyError, match="1000 < 1012 sats"):
        check_replacement(candidate, [old], [old, Relative(2, 111, 100)])


def test_families_and_clusters() -> None:
    v2 = paying(txout(1_000, P2TR))
    check_family(v2, [Relative(2, 100, 1)] * 5, 3)
    with pytest.raises(PolicyError, match="parent of another kind"):
        check_family(v2, [Relative(3, 100, 1)], 0)
    check_cluster(64, 101_000)
    for count, size in ((65, 1_000), (2, 101_001)):
        with pytest.raises(PolicyError, match="too-large-cluster"):
            check_cluster(count, size)


def test_truc_sizes() -> None:
    def v3(padding: int) -> Candidate:
        data = txout(0, b"\x6a" + bytes(padding))
        tx = transaction([txin(outpoint(b"\x01" * 32, 0))], [data], version=3)
        return Candidate(tx, [txout(10**8, P2TR)], 10_000)

    check_family(v3(9_900), [], 0)
    with pytest.raises(PolicyError, match="version=3 tx is too big"):
        check_family(v3(10_000), [], 0)
    check_family(v3(900), [Relative(3, 500, 1)], 0)
    with pytest.raises(PolicyError, match="version=3 child tx is too big"):
        check_family(v3(1_000), [Relative(3, 500, 1)], 0)
