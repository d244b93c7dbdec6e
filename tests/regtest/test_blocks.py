"""The miner's parts against python-bitcoinlib and BIP141's numbers."""

import pytest
from bitcoin.core import CBlock
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bitcoin.opcodes import Op
from protocol.bitcoin.script import script
from protocol.bitcoin.tx import outpoint, transaction, txin, txout, with_witness
from protocol.crypto.hashes import sha256
from protocol.errors import EncodingError
from regtest.blocks import coinbase, merkle_root, mined_block, sigops_cost, subsidy_sats
from regtest.index import median, parse_block


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_merkle_root(count: int) -> None:
    leaves = [sha256(bytes([n])) for n in range(count)]
    assert merkle_root(leaves) == CBlock.build_merkle_tree_from_txids(leaves)[-1]


@pytest.mark.parametrize(
    ("height", "sats"),
    [(0, 5_000_000_000), (149, 5_000_000_000), (150, 2_500_000_000), (300, 1_250_000_000),
     (150 * 32, 1), (150 * 33, 0), (150 * 64, 0), (150 * 100, 0)],
)  # fmt: skip
def test_subsidy(height: int, sats: int) -> None:
    assert subsidy_sats(height) == sats


def test_block_bytes_are_what_bitcoinlib_reads() -> None:
    tx = transaction([txin(outpoint(b"\x01" * 32, 0))], [txout(5, b"\x51")])
    tx = with_witness(tx, [[b"\x01"]])
    first = coinbase(17, b"\x51", 50, [tx], extra=3)
    raw, block_hash = mined_block(b"\x05" * 32, 17, 1_300_000_000, [tx], first)
    block = CBlock.deserialize(raw)
    assert block.GetHash() == block_hash
    assert block.hashMerkleRoot == block.calc_merkle_root()
    commitment = bytes(first.vout[1].scriptPubKey)[6:]
    assert commitment == sha256(sha256(block.calc_witness_merkle_root() + bytes(32)))
    assert first.vin[0].scriptSig == b"\x01\x11\x53"  # BIP34: height 17, then the extra number
    header, txs = parse_block(raw)
    assert (header, txs) == (raw[:80], (first, tx))
    with pytest.raises(EncodingError):
        parse_block(raw + b"\0")


def test_the_first_heights_are_pushed_as_opcodes() -> None:
    assert coinbase(1, b"\x51", 50, []).vin[0].scriptSig == b"\x51\x00"
    assert coinbase(16, b"\x51", 50, []).vin[0].scriptSig == b"\x60\x00"


def test_sigops_cost() -> None:
    p2tr = txout(1, bytes([Op.TRUE, 32]) + bytes(32))
    p2wsh = txout(1, bytes([Op.FALSE, 32]) + bytes(32))
    checks = script(Op.CHECKSIG, Op.CHECKMULTISIG)
    tx = transaction(
        [txin(outpoint(b"\x01" * 32, n)) for n in range(2)],
        [txout(5, checks), txout(5, b"\x02\xac")],
    )
    tx = with_witness(tx, [[checks], [b"", checks]])
    assert sigops_cost(tx, [p2tr, p2wsh]) == 4 * 21 + 4 * 21 + 1
    assert sigops_cost(tx, [p2tr, p2tr]) == 4 * 21


def test_median_of_an_even_count_is_the_upper_one() -> None:
    assert median([5]) == 5
    assert median([1, 9]) == 9
    assert median([3, 1, 2]) == 2
