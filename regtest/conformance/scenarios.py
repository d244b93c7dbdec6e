"""The scenarios: each runs on a new chain, checks what must hold, and records what it saw."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bitcoin.core import CTransaction

from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    transaction,
    txid,
    txin,
    txout,
    weight,
    witness_stack,
)
from protocol.crypto.hashes import hash256
from protocol.crypto.keys import SecretKey
from protocol.errors import ChainError, ConsensusError, PolicyError
from regtest.blocks import coinbase, mined_block, subsidy_sats
from regtest.chain import ANYONE, COINBASE_MATURITY, Chain
from regtest.conformance.record import AUX, Record, expect
from regtest.conformance.spends import spend_cases
from regtest.index import parse_block
from regtest.wallet import Wallet

ALICE: Final = SecretKey(b"\xa1" * 32)
BOB: Final = SecretKey(b"\xb0" * 32)


def funded(on: Record, coins: int) -> Wallet:
    """Alice with ``coins`` mature coinbases."""
    wallet = Wallet(on.chain, ALICE)
    on.mine(coins, to=wallet.script())
    on.mine(COINBASE_MATURITY)
    return wallet


def spending(
    wallet: Wallet,
    coins: Sequence[Coin],
    *sats: int,
    sequence: int = 0xFFFFFFFD,
    locktime: int = 0,
) -> CTransaction:
    """The wallet's signed transaction paying itself these amounts, the rest as fee."""
    tx = transaction(
        [txin(coin.outpoint, sequence) for coin in coins],
        [txout(amount, wallet.script()) for amount in sats],
        locktime=locktime,
    )
    return wallet.sign(tx, [coin.output for coin in coins], AUX)


def output(tx: CTransaction, index: int = 0) -> Coin:
    return Coin(outpoint(txid(tx), index), tx.vout[index])


def wallet_funding(on: Record) -> None:
    """Payments between two wallets: coins found, balances, fees claimed by the miner."""
    alice, bob = funded(on, 3), Wallet(on.chain, BOB)
    on.note(f"alice has {alice.balance_sats()}")
    on.broadcast(alice.pay([txout(70_000_000, bob.script(n)) for n in range(3)], AUX))
    expect(bob.balance_sats() == 0, "an unconfirmed payment is not spendable")
    block = on.mine()
    claimed = int(on.chain.block(block.height)[0].vout[0].nValue)
    expect(claimed > subsidy_sats(block.height), "the miner claims the fee")
    for wallet in (alice, bob):
        on.note(f"{wallet.address()} has {wallet.balance_sats()}: {wallet.utxos()}")
    on.broadcast(bob.pay([txout(200_000_000, alice.script(1))], AUX, feerate_sat_vb=7))
    on.mine()
    on.note(f"bob has {bob.balance_sats()}")


def mempool(on: Record) -> None:
    """Order, conflicts and what a block removes; what no next block could hold."""
    alice = funded(on, 6)
    coins = [utxo.coin for utxo in alice.utxos()]
    sats = coins[0].sats
    parent = spending(alice, coins[:1], sats - 10_000)
    child = spending(alice, [output(parent)], sats - 20_000)
    on.invalid("a child without its parent", child, "bad-txns-inputs-missingorspent")
    on.broadcast(parent, child, parent)
    on.waiting()
    rival = spending(alice, coins[:1], sats - 15_000)
    try:
        on.chain.broadcast(rival)
    except PolicyError:
        on.note("a rival that pays too little: refused")
    expect(len(on.chain.mempool()) == 2, "a replacement pays for what it evicts")
    on.broadcast(spending(alice, coins[:1], sats - 90_000))
    on.waiting()
    on.mine(txs=[spending(alice, coins[:1], sats - 5_000)])
    on.waiting()
    spent = spending(alice, coins[:1], sats - 100_000)
    on.invalid("a spent coin", spent, "bad-txns-inputs-missingorspent")
    on.invalid("money from nothing", spending(alice, coins[1:2], sats + 1), "bad-txns-in-belowout")
    swapped = transaction([txin(coins[2].outpoint)], [txout(1_000, ANYONE)])
    forged = Wallet(on.chain, BOB).sign(swapped, [coins[2].output], AUX)
    on.invalid("no witness", forged, "Witness program was passed an empty witness")
    on.mine(to=alice.script(4))
    young = on.chain.unspent(alice.script(4))[0].coin
    on.invalid(
        "a coinbase of this hour",
        spending(alice, [young], 1_000_000),
        "bad-txns-premature-spend-of-coinbase",
    )


def reorgs(on: Record) -> None:
    """Depths 1 to 6: what was dropped waits again and is mined again; a double spend wins."""
    alice = funded(on, 10)
    for depth in range(1, 7):
        for n in range(depth):
            on.broadcast(alice.pay([txout(10_000 + n, alice.script(3))], AUX))
            on.mine()
        on.reorg(depth)
        expect(len(on.chain.mempool()) == depth, f"{depth} payments wait again")
        on.mine()
        expect(not on.chain.mempool(), "they are mined again")
    coin = alice.utxos()[0].coin
    first = spending(alice, [coin], coin.sats - 10_000)
    on.broadcast(first, spending(alice, [output(first)], coin.sats - 20_000))
    on.mine()
    rival = spending(alice, [coin], coin.sats - 30_000)
    on.reorg(1, txs=[rival])
    place = on.chain.tx(txid(rival))
    expect(place is not None and place.block is not None, "the rival is in a block")
    expect(on.chain.tx(txid(first)) is None, "what it double spends is gone")
    tip = on.chain.tip
    try:
        on.chain.reorg(2, txs=[spending(alice, [coin], 1_000), spending(alice, [coin], 2_000)])
    except ConsensusError:
        on.note("a branch that spends twice: invalid")
    expect(on.chain.tip == tip, "an invalid branch changes nothing")
    on.mine()


def time_locks(on: Record) -> None:
    """Locks by height and by time, absolute and relative, each at its border."""
    alice = funded(on, 5)
    coins = [utxo.coin for utxo in alice.utxos()]
    parent = spending(alice, coins[:1], *[coins[0].sats // 4] * 3)
    on.mine(txs=[parent])
    start, now = on.chain.height, on.chain.tip.time
    sats = coins[1].sats - 10_000
    final = 0xFFFFFFFE
    part = coins[0].sats // 4 - 10_000
    locks = {
        "a lock height": spending(alice, coins[1:2], sats, sequence=final, locktime=start + 3),
        "a lock time": spending(alice, coins[2:3], sats, sequence=final, locktime=now - 1_800),
        "a relative height": spending(alice, [output(parent)], part, sequence=4),
        "a relative time": spending(alice, [output(parent, 1)], part, sequence=1 << 22 | 3),
        "no lock": spending(alice, coins[3:4], sats, sequence=0xFFFFFFFF, locktime=10**6),
    }
    ripe: dict[str, int] = {}
    while len(ripe) < len(locks):
        for name in locks.keys() - ripe.keys():
            if on.chain.check(locks[name]).consensus:
                ripe[name] = on.chain.height - start
        for name in sorted(locks.keys() - ripe.keys()):
            on.invalid(name, locks[name], "bad-txns-nonfinal")
        on.mine()
    on.note(f"blocks waited: {sorted(ripe.items())}")
    expect(ripe["a lock height"] == 3, "a lock height of n is final in block n + 1")
    expect(ripe["a relative height"] == 3, "a relative height of n is ripe n blocks later")
    expect(ripe["a lock time"] == 3, "a lock time is compared with the median of 11 blocks")
    expect(ripe["a relative time"] == 2, "a relative time counts from the median before its block")
    expect(ripe["no lock"] == 0, "a final sequence unlocks")
    on.broadcast(*locks.values())
    on.mine()
    expect(not on.chain.mempool(), "all are mined")
    on.chain.set_time(1_700_000_000)
    on.mine(2)


def refused_blocks(on: Record) -> None:
    """Blocks that break a rule, and those that would be right."""
    alice = funded(on, 3)
    chain = on.chain
    coin = alice.utxos()[0].coin
    good = block_on_tip(chain)
    payment = spending(alice, [coin], coin.sats - 1_000)
    greedy = block_on_tip(chain, sats=subsidy_sats(chain.height + 1) + 1)
    on.refused("too much subsidy", greedy, "bad-cb-amount")
    on.refused("the same again", greedy, "duplicate-invalid")
    median = chain.header(chain.height).median_time
    on.refused("an old time", block_on_tip(chain, when=median), "time-too-old")
    on.refused("a time to come", block_on_tip(chain, when=2**32 - 1), "time-too-new")
    on.refused("no parent", reground(good[:4] + b"\x09" * 32 + good[36:]), "prev-blk-not-found")
    on.refused("another root", reground(good[:36] + b"\x07" * 32 + good[68:]), "bad-txnmrklroot")
    twice = [payment, spending(alice, [coin], coin.sats - 2_000)]
    on.refused("a double spend", block_on_tip(chain, twice), "bad-txns-inputs-missingorspent")
    unsigned = transaction(payment.vin, payment.vout)
    on.refused(
        "no signature",
        block_on_tip(chain, [unsigned]),
        "Witness program was passed an empty witness",
    )
    signature = witness_stack(payment, 0)[0]
    signed = block_on_tip(chain, [payment])
    on.refused(
        "a witness it does not commit to",
        signed.replace(signature, bytes(64)),
        "bad-witness-merkle-match",
    )
    fits, heavy = (_of_weight(chain, alice, coin, limit) for limit in (4_000_000, 4_000_004))
    on.refused("a weight above 4,000,000", heavy, "bad-blk-weight")
    on.note(f"the heaviest that fits: {chain.submit_block(fits)}")
    parent = chain.tip
    on.mine()
    side = block_on(chain, parent.hash, parent.height + 1, parent.time + 600, extra=7)
    tip = chain.tip
    on.note(f"a side branch: {chain.submit_block(side)}")
    expect(chain.tip == tip, "of equal branches the first seen stays")
    longer = block_on(chain, hash256(side[:80]), parent.height + 2, parent.time + 1_200)
    on.note(f"it leads: {chain.submit_block(longer)}")
    expect(chain.tip.hash == hash256(longer[:80]), "the branch with more work leads")


def _of_weight(chain: Chain, wallet: Wallet, coin: Coin, limit: int) -> bytes:
    """A block on the tip of weight ``limit``, or up to 3 less."""

    def block(padding: int) -> tuple[bytes, int]:
        data = [txout(0, b"\x6a" + bytes(size)) for size in (*[200_000] * 4, padding)]
        tx = transaction([txin(coin.outpoint)], [txout(1_000, wallet.script()), *data])
        tx = wallet.sign(tx, [coin.output], AUX)
        raw = block_on_tip(chain, [tx])
        first = parse_block(raw)[1][0]
        return raw, 4 * 81 + weight(first) + weight(tx)

    base = 100_000
    return block(base + (limit - block(base)[1]) // 4)[0]


def block_on_tip(
    chain: Chain,
    txs: Sequence[CTransaction] = (),
    *,
    sats: int | None = None,
    when: int | None = None,
) -> bytes:
    """A block on the tip; by default the subsidy and ten minutes."""
    tip = chain.tip
    return block_on(chain, tip.hash, tip.height + 1, when or tip.time + 600, txs, sats=sats)


def block_on(
    chain: Chain,
    parent: bytes,
    height: int,
    when: int,
    txs: Sequence[CTransaction] = (),
    *,
    sats: int | None = None,
    extra: int = 0,
) -> bytes:
    claimed = subsidy_sats(height) if sats is None else sats
    return mined_block(parent, height, when, txs, coinbase(height, ANYONE, claimed, txs, extra))[0]


def reground(raw: bytes) -> bytes:
    """The same block with proof of work again."""
    nonce = 0
    while True:
        header = raw[:76] + nonce.to_bytes(4, "little")
        if int.from_bytes(hash256(header), "little") <= 0x7FFFFF << 8 * 29:
            return header + raw[80:]
        nonce += 1


SCENARIOS: Final[Mapping[str, Callable[[Record], None]]] = {
    "spend cases": spend_cases,
    "wallet funding": wallet_funding,
    "mempool": mempool,
    "reorgs": reorgs,
    "time locks": time_locks,
    "refused blocks": refused_blocks,
}


def record_of(name: str, chain: Chain) -> list[str]:
    """Run a scenario on a new chain; ChainError if something does not hold."""
    on = Record(chain)
    try:
        SCENARIOS[name](on)
    except ChainError as error:
        done = "\n".join(on.lines[-5:])
        raise ChainError(f"{name} on {chain.caps.engine}: {error}\nbefore:\n{done}") from error
    on.note(f"the tip is {chain.tip}")
    return on.lines
