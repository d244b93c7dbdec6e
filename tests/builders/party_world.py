"""Two parties, the way between them and a chain: what a test does to them is its own.

The chain judges amounts, double spends and time locks, and leaves scripts to Bitcoin Core's code.
Claims are judged by a small program, which finds the units right that the world's price gives:
tests need the fixture ``short_traces``.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from typing import Any

from bitcoin.core import COutPoint, CTransaction, CTxOut

from protocol.bitcoin.sighash import sign_input
from protocol.bitcoin.tx import (
    Coin,
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txin,
    txout,
    with_witness,
    wtxid,
)
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.premises import Premises
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ChainError, PolicyError
from protocol.oracle.expiry import Expiry, ExpiryCertificate
from protocol.settlement.claim import Claim
from protocol.settlement.funding import Contribution
from protocol.settlement.keys import PartyKeys
from protocol.settlement.messages import (
    Broadcast,
    Bump,
    Effect,
    Event,
    Keep,
    NeedCoins,
    Note,
    Prove,
    Retrace,
    Say,
    SignCoins,
)
from protocol.settlement.onetime import OneTimeKeys
from protocol.settlement.party import Party
from protocol.settlement.policy import Policy
from protocol.settlement.reading import name_of
from protocol.settlement.terms import ChainTerms, ClaimTerms, ContractTerms, Role, contract_id
from protocol.units import E8, PriceE8
from regtest.libkernel import failing_input
from riscv_vm.execution import Execution
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.prove import prove
from riscv_vm.trace import Trace
from tests.builders.claims import certify, expiry_at
from tests.builders.disputes import settling_program
from tests.builders.terms import SMALL, claim_terms

AUX = bytes(32)
START = 100
"""The height at which a world begins."""
TICK_MS = 1_000


class Keys(PartyKeys):
    """A party's keys that remember their one-time keys: a test starts parties by the hundred."""

    __slots__ = ("_made",)

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self._made: dict[bytes, OneTimeKeys] = {}

    def one_time(self, terms: ContractTerms, role: Role) -> OneTimeKeys:
        name = contract_id(terms) + role.value.encode()
        if name not in self._made:
            self._made[name] = super().one_time(terms, role)
        return self._made[name]


SEEDS = {Role.HOLDER: b"\x48" * 32, Role.WRITER: b"\x57" * 32}
KEYS = {role: Keys(seed) for role, seed in SEEDS.items()}
COIN_KEYS = {role: SecretKey(bytes([n + 1]) * 32) for n, role in enumerate(Role)}
COIN_SCRIPTS = {role: b"\x51\x20" + key.public for role, key in COIN_KEYS.items()}
_PAID_KEYS = {role: SecretKey(bytes([n + 7]) * 32) for n, role in enumerate(Role)}
PAID_SCRIPTS = {role: b"\x51\x20" + key.public for role, key in _PAID_KEYS.items()}


@dataclass(frozen=True)
class Block:
    height: int


@dataclass(frozen=True)
class Seen:
    tx: CTransaction
    block: Block | None


@dataclass(frozen=True)
class Unspent:
    sats: int
    script: bytes
    height: int | None


class PureChain:
    """Blocks and a mempool. ``regtest.chain.Chain`` as far as a party looks, and what miners do."""

    def __init__(self, height: int = START) -> None:
        self.blocks: list[list[CTransaction]] = [[] for _ in range(height + 1)]
        self.pool: list[CTransaction] = []
        self.dull: Callable[[CTransaction], bool] = lambda _: False
        """What no miner takes unless a child pays for it."""
        self.paid: set[bytes] = set()
        self._gifts: set[bytes] = set()
        self._index()

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def tx(self, name: bytes) -> Seen | None:
        return self._txs.get(name)

    def spender(self, point: COutPoint) -> Seen | None:
        return self._spent.get(outpoint_key(point))

    def utxo(self, point: COutPoint) -> Unspent | None:
        seen = self.tx(bytes(point.hash))
        if seen is None or self.spender(point) is not None:
            return None
        out = seen.tx.vout[point.n]
        height = None if seen.block is None else seen.block.height
        return Unspent(int(out.nValue), bytes(out.scriptPubKey), height)

    def give(self, script: bytes, sats: int) -> Coin:
        """A confirmed coin out of nothing."""
        source = outpoint(tagged_hash("test/gift", len(self._gifts).to_bytes(4)), 0)
        tx = transaction([txin(source)], [txout(sats, script)])
        self._gifts.add(txid(tx))
        self.blocks.append([tx])
        self._index()
        return Coin(outpoint(txid(tx), 0), tx.vout[0])

    def broadcast(self, tx: CTransaction) -> None:
        """Into the mempool, instead of what it conflicts with and pays more than; PolicyError says
        why not."""
        if txid(tx) in self._txs:
            return
        rivals = self._rivals(tx)
        if sum(map(self._fee, rivals)) >= self._fee(tx) > 0:
            raise PolicyError("insufficient fee")
        self._put(tx, rivals)

    def replace(self, tx: CTransaction) -> None:
        """Into the mempool with a child that pays for it, instead of what it conflicts with."""
        if txid(tx) not in self._txs:
            self._put(tx, self._rivals(tx))
        self.paid.add(txid(tx))

    def _put(self, tx: CTransaction, rivals: list[CTransaction]) -> None:
        before = self.pool
        self.pool = [kept for kept in before if kept not in rivals]
        self._index()
        try:
            self._require(tx)
            self.pool.append(tx)
        except PolicyError:
            self.pool = before
            raise
        finally:
            self._index()

    def _rivals(self, tx: CTransaction) -> list[CTransaction]:
        """What of the mempool spends the same, and what spends that."""
        points = {outpoint_key(spends.prevout) for spends in tx.vin}
        rivals: list[CTransaction] = []
        for other in self.pool:
            if points & {outpoint_key(spends.prevout) for spends in other.vin}:
                rivals.append(other)
                points |= {outpoint_key(outpoint(txid(other), n)) for n in range(len(other.vout))}
        return rivals

    def _fee(self, tx: CTransaction) -> int:
        """What it pays; 0 where it spends what nobody knows."""
        held = self._spends(tx)
        if held is None:
            return 0
        return sum(int(out.nValue) for out in (*held,)) - sum(int(out.nValue) for out in tx.vout)

    def _spends(self, tx: CTransaction) -> list[CTxOut] | None:
        parents = [self.tx(bytes(spends.prevout.hash)) for spends in tx.vin]
        if None in parents:
            return None
        return [p.tx.vout[i.prevout.n] for p, i in zip(parents, tx.vin, strict=True) if p]

    def mine(self, count: int = 1) -> None:
        """The first block takes the mempool, but for what is ``dull``."""
        for _ in range(count):
            dull = [tx for tx in self.pool if self.dull(tx) and txid(tx) not in self.paid]
            self.blocks.append([tx for tx in self.pool if tx not in dull])
            self.pool = dull
        self._index()

    def reorg(self, depth: int, *, forget: bool = True) -> None:
        """Other blocks, one more, for the last ``depth``. Their transactions are forgotten, or go
        back to the mempool where they are still valid. Gifts stay."""
        dropped = [tx for block in self.blocks[-depth:] for tx in block]
        gifts = [tx for tx in dropped if txid(tx) in self._gifts]
        later = [tx for tx in dropped if txid(tx) not in self._gifts] + self.pool
        self.blocks[-depth:] = [gifts, *([] for _ in range(depth))]
        self.pool = []
        self._index()
        for tx in [] if forget else later:
            try:
                self.broadcast(tx)
            except PolicyError:
                continue

    def held(self, scripts: Iterable[bytes]) -> int:
        """The sats in unspent outputs of these scripts, in blocks."""
        wanted = set(scripts)
        return sum(
            int(out.nValue)
            for name, seen in self._txs.items()
            if seen.block is not None
            for n, out in enumerate(seen.tx.vout)
            if bytes(out.scriptPubKey) in wanted and self.spender(outpoint(name, n)) is None
        )

    def _index(self) -> None:
        self._txs: dict[bytes, Seen] = {}
        self._spent: dict[bytes, Seen] = {}
        places = [(tx, Block(n)) for n, block in enumerate(self.blocks) for tx in block]
        for tx, block in [*places, *((tx, None) for tx in self.pool)]:
            seen = Seen(tx, block)
            self._txs[txid(tx)] = seen
            for spends in tx.vin:
                self._spent[outpoint_key(spends.prevout)] = seen

    def _require(self, tx: CTransaction) -> None:
        held = 0
        for spends in tx.vin:
            parent = self.tx(bytes(spends.prevout.hash))
            if parent is None:
                raise PolicyError("missing inputs")
            if self.spender(spends.prevout) is not None:
                raise PolicyError("already spent")
            height = self.height + 1 if parent.block is None else parent.block.height
            if spends.nSequence < 1 << 16 and height + spends.nSequence > self.height + 1:
                raise PolicyError("non-BIP68-final")
            held += int(parent.tx.vout[spends.prevout.n].nValue)
        if tx.nLockTime > self.height:
            raise PolicyError("non-final")
        if sum(int(out.nValue) for out in tx.vout) > held:
            raise PolicyError("more out than in")
        if not _scripts_hold(tx, self._spends(tx)):
            raise PolicyError("script")


_judged: dict[bytes, bool] = {}


def _scripts_hold(tx: CTransaction, spent: list[CTxOut] | None) -> bool:
    """Bitcoin Core's verdict, once for each witness."""
    key = wtxid(tx)
    if key not in _judged:
        _judged[key] = spent is not None and failing_input(tx, spent) is None
    return _judged[key]


class Guard(dict[Label, Digits]):
    """A guard that counts what it was asked to sign against what it holds."""

    conflicts = 0

    def setdefault(self, label: Label, digits: Digits, /) -> Digits:  # type: ignore[override]
        held = super().setdefault(label, digits)
        self.conflicts += held != digits
        return held


JUDGE = settling_program(Random(3), 20)
"""Finds the units right that the terms' config digest begins with."""


def judged_claim(claim: ClaimTerms, price_e8: int) -> ClaimTerms:
    """``claim`` for which JUDGE finds right what it pays at this price."""
    slot = claim.slot
    expiry = Expiry(
        slot=slot,
        end_round=slot.target_round,
        price_e8=PriceE8(price_e8),
        high_e8=PriceE8(price_e8),
        low_e8=PriceE8(price_e8),
        rounds=claim.min_rounds,
        report_hash=bytes(32),
    )
    digest = claim.units(expiry).to_bytes(4) + slot.config_digest[4:]
    return replace(claim, slot=replace(slot, config_digest=digest))


@lru_cache(maxsize=256)
def trace_of(premises: Premises, data: bytes, forgery: Forgery | None = None) -> Trace:
    """The machine's trace of a claim."""
    shape = {"log4_steps": premises.log4_steps, "width": premises.width, "forgery": forgery}
    return prove(Execution(premises.image, data, **shape))


def _unchanged(message: Any) -> Any:
    return message


@dataclass
class Side:
    """One party with its disk, its wallet and its prover."""

    role: Role
    world: "World"
    policy: Policy
    coins: tuple[Coin, ...]
    records: list[bytes] = field(default_factory=list)
    guard: Guard = field(default_factory=Guard)
    proofs: list[Claim] = field(default_factory=list)
    traces: list[bytes] = field(default_factory=list)
    """The inputs that it wants traced."""
    traced: list[bytes] = field(default_factory=list)
    traces_nothing: bool = False
    strategy: Strategy = HONEST
    notes: list[Note] = field(default_factory=list)
    closes: set[bytes] = field(default_factory=set)
    """The splits of every CLOSE that it broadcast."""
    said: list[Any] = field(default_factory=list)
    bumps: list[Bump] = field(default_factory=list)
    done: int = 0
    """Effects carried out so far."""
    crash_after: frozenset[int] = frozenset()
    deaths: set[str] | None = None
    """Of a mortal party, what it has died of: it dies of everything that it does once."""
    crashes: int = 0
    alive: bool = True
    wallet: bool = True
    """Whether somebody signs with it."""
    edit: Callable[[Any], Any] = _unchanged
    """A lying party's last touch of what it says; None says nothing."""

    def __post_init__(self) -> None:
        self.party = self.made()

    def made(self) -> Party:
        return Party(
            self.role,
            KEYS[self.role],
            self.policy,
            self.guard,
            self.world.entropy,
            self.records,
            strategy=self.strategy,
            judge=self.world.judge,
        )

    def start(self) -> None:
        """As after a kill: memory is gone, the disk is not."""
        self.proofs.clear()
        self.traces.clear()
        self.party = self.made()
        self.do(self.party.open(self.world.chain, self.world.now_ms))
        self.propose()

    def propose(self) -> None:
        world = self.world
        if self.role is Role.HOLDER:
            self.do(self.party.propose(world.claim, world.chain_terms, world.chain, world.now_ms))

    def do(self, effects: list[Effect]) -> None:
        """Everything in order; a crash drops the rest."""
        crashes = self.crashes
        for effect in effects:
            follows = self._do(effect)
            self.done += 1
            if self.done in self.crash_after or self._dies_of(effect):
                self.crashes += 1
                self.start()
            else:
                self.do(follows)
            if self.crashes > crashes:
                return

    def _dies_of(self, effect: Effect) -> bool:
        cause = f"{type(effect).__name__} {effect}"
        if self.deaths is None or isinstance(effect, Note) or cause in self.deaths:
            return False
        self.deaths.add(cause)
        return True

    def _do(self, effect: Effect) -> list[Effect]:
        chain, now_ms = self.world.chain, self.world.now_ms
        if isinstance(effect, Keep):
            self.records.append(effect.record)
        elif isinstance(effect, Say):
            message = self.edit(effect.message)
            self.said.append(message)
            if message is not None:
                self.world.send(self.role.other, message)
        elif isinstance(effect, Broadcast):
            self._broadcast(effect)
        elif isinstance(effect, Bump):
            self.bumps.append(effect)
            try:
                chain.replace(effect.tx)
            except ChainError:
                self.world.refused[effect.name] += 1
        elif isinstance(effect, Prove):
            self.proofs.append(effect.claim)
        elif isinstance(effect, Retrace):
            self.traces.append(effect.data)
        elif isinstance(effect, NeedCoins):
            assert sum(coin.sats for coin in self.coins) >= effect.needs(len(self.coins))
            given = Contribution(self.coins, COIN_SCRIPTS[self.role])
            return self.party.coins(given, chain, now_ms)
        elif isinstance(effect, SignCoins):
            if self.wallet:
                return self.party.coins_signed(self.signed(effect), chain, now_ms)
        else:
            self.notes.append(effect)
        return []

    def _broadcast(self, effect: Broadcast) -> None:
        if effect.name == "CLOSE":
            outputs = [(int(o.nValue), bytes(o.scriptPubKey)) for o in effect.tx.vout[:2]]
            self.closes.add(repr(outputs).encode())
        try:
            self.world.chain.broadcast(effect.tx)
        except ChainError:
            self.world.refused[effect.name] += 1

    def signed(self, effect: SignCoins) -> CTransaction:
        key, tx = COIN_KEYS[self.role], effect.tx
        stacks = [
            [sign_input(tx, n, effect.spent, key, AUX)] if n in effect.mine else []
            for n in range(len(tx.vin))
        ]
        return with_witness(tx, stacks)

    def events(self, event: Event) -> list[str]:
        return [note.detail for note in self.notes if note.event is event]


class World:
    """A holder and a writer who talk, on a chain whose blocks come every ``block_ticks`` ticks."""

    def __init__(
        self,
        seed: int = 0,
        *,
        price_usd: int = 60_000,
        policies: dict[Role, dict[str, Any]] | None = None,
        block_ticks: int = 2,
        settle_at: int = START + 12,
        told: tuple[Role, ...] = tuple(Role),
        loss: float = 0.0,
        claim: ClaimTerms | None = None,
        chain: Any = None,
        judge: ProgramImage = JUDGE,
        coin_sats: int = 1_000_000,
        **chain_terms: Any,
    ) -> None:
        """``chain`` is a ``PureChain``, or another one that does what parties and World call."""
        self.random, self.judge = Random(seed), judge
        self.prover = Role.HOLDER
        """Who claims, where a test asks."""
        self.now_ms = 1_000_000
        self.chain = chain or PureChain()
        self.price_e8 = price_usd * E8
        self.claim = judged_claim(claim or claim_terms(**SMALL), self.price_e8)
        fields = {
            "premium_sats": 10_000,
            "bond_sats": 300_000,
            "claim_fee_sats": 3_000,
            "max_feerate_sat_vb": 3,
            "expiry_height": START + 12,
            "refund_height": START + 50,
            "move_window": 6,
            "challenge_window": 6,
            "sweep_delay": 7,
            "log4_steps": 3,
        }
        self.chain_terms = ChainTerms(**(fields | chain_terms))
        self.block_ticks, self.settle_at, self.told, self.loss = block_ticks, settle_at, told, loss
        self.mail: list[tuple[Role, Any]] = []
        self.refused: Counter[str] = Counter()
        self.ticks = 0
        self._drawn = seed << 32
        self.sides: dict[Role, Side] = {}
        self.before: dict[Role, int] = {}
        for role in Role:
            coins = tuple(self.chain.give(COIN_SCRIPTS[role], coin_sats) for _ in range(2))
            policy = self.policy(role, **(policies or {}).get(role, {}))
            self.before[role] = sum(coin.sats for coin in coins)
            self.sides[role] = Side(role, self, policy, coins)
        self.holder, self.writer = self.sides[Role.HOLDER], self.sides[Role.WRITER]

    @staticmethod
    def policy(role: Role, **changes: Any) -> Policy:
        fields: dict[str, Any] = {
            "script": PAID_SCRIPTS[role],
            "claim_after_blocks": 12,
            "claim_after_ms": 10**9,
            "repeat_ms": 3 * TICK_MS,
            "quote_ttl_ms": 120 * TICK_MS,
        }
        return Policy(**(fields | changes))

    def entropy(self, size: int) -> bytes:
        """Never the same twice, whatever crashes."""
        self._drawn += 1
        return (tagged_hash("test/entropy", self._drawn.to_bytes(8)) * 2)[:size]

    def send(self, to: Role, message: Any) -> None:
        """Into the mail: lost, doubled or overtaken now and then."""
        copies = 1
        if self.random.random() < self.loss:
            copies = self.random.choice((0, 2))
        for _ in range(copies):
            place = len(self.mail)
            if self.random.random() < self.loss:
                place = self.random.randrange(len(self.mail) + 1)
            self.mail.insert(place, (to, message))

    @property
    def terms(self) -> ContractTerms:
        terms = self.holder.party.terms
        assert terms is not None
        return terms

    def certificate(self) -> ExpiryCertificate:
        return certify(expiry_at(self.terms, self.price_e8))

    @property
    def units(self) -> int:
        return self.terms.claim.units(self.certificate().expiry)

    @property
    def premises(self) -> Premises:
        """Of either side's claim, once there is a contract."""
        graph = self.holder.party.graph
        assert graph is not None
        return graph.contract.courses[Role.HOLDER].premises

    def trace_of(self, data: bytes) -> Trace:
        """The machine's trace of a claim."""
        return trace_of(self.premises, data)

    def begin(self) -> "World":
        self.holder.propose()
        return self

    def copy(self) -> "World":
        """Another world that is just as far: both parties start again from their disks."""
        other = copy(self)
        other.random, other.mail, other.refused = Random(self.ticks), [], Counter()
        other.chain = copy(self.chain)
        other.chain.blocks = [list(block) for block in self.chain.blocks]
        other.chain.pool = list(self.chain.pool)
        other.sides = {
            role: Side(
                role,
                other,
                side.policy,
                side.coins,
                list(side.records),
                Guard(side.guard),
                strategy=side.strategy,
            )
            for role, side in self.sides.items()
        }
        other.holder, other.writer = other.sides[Role.HOLDER], other.sides[Role.WRITER]
        for side in other.sides.values():
            side.start()
        return other

    def path(self) -> list[str]:
        """The names of the contract's transactions in blocks, oldest first."""
        graph = self.holder.party.graph
        if graph is None:
            return []
        names = [name_of(graph, tx) for block in self.chain.blocks for tx in block]
        return [name for name in names if name is not None]

    def paid(self, role: Role) -> int:
        """What the contract's ends have paid to ``role``'s script, sweep fees included."""
        graph = self.holder.party.graph
        assert graph is not None
        script, sats = PAID_SCRIPTS[role], 0
        for tx in (tx for block in self.chain.blocks for tx in block):
            name = name_of(graph, tx)
            if name is None or name == "FUND":
                continue
            mine = [int(out.nValue) for out in tx.vout if bytes(out.scriptPubKey) == script]
            if "SWEEP" in name and mine:
                settle = self.chain.tx(bytes(tx.vin[0].prevout.hash))
                assert settle is not None
                mine = [int(settle.tx.vout[spends.prevout.n].nValue) for spends in tx.vin]
            sats += sum(mine)
        return sats

    def tick(self) -> None:
        """A second: the mail of before, a look each, what was proved, and a block now and then."""
        self.ticks += 1
        self.now_ms += TICK_MS
        mail, self.mail = self.mail, []
        for to, message in mail:
            side = self.sides[to]
            if side.alive:
                side.do(side.party.hear(message, self.chain, self.now_ms))
        for side in self.sides.values():
            if side.alive:
                self._serve(side)
        if self.ticks % self.block_ticks == 0:
            self.chain.mine()

    def _serve(self, side: Side) -> None:
        chain, now_ms = self.chain, self.now_ms
        side.do(side.party.look(chain, now_ms))
        facts = side.party.facts
        known = facts.known is not None or side.role not in self.told
        if facts.terms is not None and not known and chain.height >= self.settle_at:
            side.do(side.party.settle(self.certificate(), chain, now_ms))
        while side.proofs:
            claim = side.proofs.pop(0)
            root = self.trace_of(claim.encode()).root
            side.do(side.party.proved(claim, root, chain, now_ms))
        while side.traces and not side.traces_nothing:
            data = side.traces.pop(0)
            side.traced.append(data)
            side.do(side.party.retraced(data, self.trace_of(data), chain, now_ms))

    def until(self, ready: Callable[[], bool], ticks: int = 900) -> "World":
        for _ in range(ticks):
            if ready():
                return self
            self.tick()
        stages = {role.value: side.party.stage.value for role, side in self.sides.items()}
        raise AssertionError(f"after {ticks} ticks, at height {self.chain.height}: {stages}")

    def run(self, ticks: int = 900) -> "World":
        """Until nothing is left to do for both."""
        return self.until(self.is_over, ticks)

    def is_over(self) -> bool:
        return all(side.party.over for side in self.sides.values() if side.alive)

    def gains(self, role: Role) -> int:
        """What this side has now above what it had at first, in blocks."""
        held = self.chain.held((COIN_SCRIPTS[role], PAID_SCRIPTS[role]))
        return held - self.before[role]
