"""Two chains that give each other their blocks: what one mines the other accepts."""

import struct
from collections.abc import Callable, Mapping
from typing import Final

from protocol.bitcoin.taproot import compact_size
from protocol.bitcoin.tx import serialize, txid, txout
from regtest.bitcoind import BitcoindChain
from regtest.chain import COINBASE_MATURITY, BlockRef, Chain
from regtest.conformance.record import AUX, expect
from regtest.conformance.scenarios import ALICE, BOB
from regtest.wallet import Wallet


def serialized_block(chain: Chain, block: int | bytes) -> bytes:
    """The bytes of a block, put together from what the chain says about it."""
    header, txs = chain.header(block), chain.block(block)
    head = struct.pack(
        "<i32s32sIII",
        header.version,
        header.parent,
        header.merkle_root,
        header.ref.time,
        header.bits,
        header.nonce,
    )
    return head + compact_size(len(txs)) + b"".join(serialize(tx) for tx in txs)


def follow(source: Chain, follower: Chain) -> None:
    """Give ``follower`` the active chain of ``source`` from where they part."""
    at = min(source.height, follower.height)
    while source.header(at).ref != follower.header(at).ref:
        at -= 1
    for height in range(at + 1, source.height + 1):
        follower.submit_block(serialized_block(source, height))
    expect(source.tip == follower.tip, f"both stand at {source.tip}, not {follower.tip}")


def one_mines(miner: Chain, other: Chain) -> None:
    """A chain with payments, block by block; both know the same of it."""
    alice, bob = Wallet(miner, ALICE), Wallet(miner, BOB)
    miner.mine(3, to=alice.script())
    miner.mine(COINBASE_MATURITY)
    for n in range(5):
        miner.broadcast(alice.pay([txout(1_000_000 + n, bob.script(n))], AUX))
        miner.mine(to=alice.script())
    follow(miner, other)
    for wallet in (alice, bob):
        for number in range(6):
            script = wallet.script(number)
            expect(
                set(miner.unspent(script)) == set(other.unspent(script)),
                "both know the same unspent outputs",
            )


def they_take_turns(first: Chain, second: Chain) -> None:
    """Each builds blocks its own way, a node by its own miner and clock, on the other's."""
    wallets = {chain: Wallet(chain, ALICE) for chain in (first, second)}
    own_block(first, to=wallets[first].script())
    follow(first, second)
    second.mine(COINBASE_MATURITY)
    follow(second, first)
    for miner, other in ((first, second), (second, first)) * 3:
        payment = wallets[other].pay([txout(5_000_000, wallets[other].script(1))], AUX)
        for chain in (miner, other):
            chain.broadcast(payment)
        block = own_block(miner, to=wallets[miner].script())
        place = miner.tx(txid(payment))
        expect(place is not None and place.block == block, "the miner took the payment")
        follow(miner, other)
        expect(not other.mempool(), "a payment in the other's block waits no more")


def they_race(first: Chain, second: Chain) -> None:
    """From one tip each mines its own branch; both end on the longer, whoever mined it."""
    first.mine(5)
    follow(first, second)
    for short, long in ((first, second), (second, first)):
        short.mine(2, to=Wallet(short, ALICE).script())
        long.mine(3, to=Wallet(long, BOB).script())
        expect(short.header(short.height - 1).ref != long.header(short.height - 1).ref, "they part")
        tip = long.tip
        at = short.height - 2
        for height in (at + 1, at + 2):
            long.submit_block(serialized_block(short, height))
        expect(long.tip == tip, "a shorter branch does not lead")
        follow(long, short)


def own_block(chain: Chain, *, to: bytes) -> BlockRef:
    """A block with the mempool, by the node's own miner where it has one."""
    if isinstance(chain, BitcoindChain):
        return chain.generate(to=to)
    return chain.mine(to=to)[0]


EXCHANGES: Final[Mapping[str, Callable[[Chain, Chain], None]]] = {
    "one mines": one_mines,
    "they take turns": they_take_turns,
    "they race": they_race,
}
