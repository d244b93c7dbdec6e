"""The pool on a chain with everybody in one process: the sequencer, the committee, their coins.

For the demo and for regtest: it holds all keys, and says so. What each role signs goes through that
role's own checks (protocol.settlement.pool.member, .sequencer), and every transaction is judged by
the node.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Final

from bitcoin.core import CTransaction, CTxOut

from actors.config import Chain
from actors.party_folder import PartyFolder
from protocol.bitcoin.fees import KEY_PATH_INPUT_WEIGHT, OVERHEAD_WEIGHT, fee_sats, output_weight
from protocol.bitcoin.sighash import sign_input
from protocol.bitcoin.taproot import key_path_script, tweak_key
from protocol.bitcoin.tx import (
    hash_hex,
    outpoint,
    outpoint_key,
    transaction,
    txid,
    txin,
    txout,
    vsize,
    with_witness,
    witness_stack,
)
from protocol.crypto.keys import SecretKey
from protocol.crypto.tagged import tagged_hash
from protocol.dispute.lies.catalog import catalogue
from protocol.dispute.lies.rehearsal import Sides
from protocol.dispute.lies.scene import Scene
from protocol.dispute.premises import Premises
from protocol.dispute.sides import HONEST, Strategy
from protocol.errors import ChainError, ConfigError, TermsError
from protocol.pool.batch import Deposit, Payment
from protocol.settlement.funding import Contribution
from protocol.settlement.keys import PartyKeys
from protocol.settlement.party_terms import NONCE_SIZE, PartyTerms
from protocol.settlement.pool.batch import Batch, State
from protocol.settlement.pool.checks import Judge
from protocol.settlement.pool.game import ADVANCE_LATE, ADVANCE_OPEN
from protocol.settlement.pool.graph import batch_premises
from protocol.settlement.pool.judge import PoolJudge, pool_batch
from protocol.settlement.pool.member import CommitteeMember
from protocol.settlement.pool.pledge import pledge_spent
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.sequencer import Sequencer
from protocol.settlement.pool.terms import VaultTerms
from protocol.settlement.pool.vault import deposit_lock, state_lock
from riscv_vm.forge import Forgery
from riscv_vm.image import ProgramImage
from riscv_vm.prove import Execution, prove
from riscv_vm.record import BLOCK_RECORDS
from riscv_vm.trace import Trace
from riscv_vm.tree import root_level

BOND_SATS: Final = 3_000_000
REFUND_BLOCKS: Final = 144
"""So long a sequencer may take from PLEDGE to its last KICKOFF."""
BLOCKS_LIMIT: Final = 1_000
"""A batch that is open after so many blocks more is stuck."""
COINS_BLOCKS: Final = 2
MATURITY: Final = 100
SEQUENCER_NAME: Final = "sequencer"
_TAG: Final = "btcfi/pool-chain/v1"


class Route(StrEnum):
    """How a batch ended on the chain."""

    COOPERATIVE = "cooperative"
    """A quorum re-ran it and signed: one transaction."""
    OPEN = "open"
    """Pre-signed, kicked off, nobody challenged."""
    LATE = "late"
    """Challenged for nothing: the sequencer won its games."""
    CONVICTED = "convicted"
    """The sequencer lied and lost: STATE is where it was."""


@dataclass(frozen=True, slots=True)
class SettledTx:
    """A transaction in a block; ``by`` is ``sequencer``, ``member 1``, .. or ``owner``."""

    name: str
    by: str
    txid: str
    vsize: int
    height: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch. ``state`` is the newest STATE: the old one where it was convicted."""

    route: Route
    state: State
    txs: tuple[SettledTx, ...]
    verdict: str = ""
    """The leaf that convicted, empty unless ``route`` says so."""


@dataclass(frozen=True, slots=True)
class Purse:
    """The coins of one role: one address."""

    chain: Chain
    key: SecretKey = field(repr=False)

    @property
    def script(self) -> bytes:
        return key_path_script(self.key.public)

    def coins(self) -> Contribution:
        """Its largest coin, change to itself; ChainError if it has none."""
        ripe = [u for u in self.chain.unspent(self.script) if u.mature_at(self.chain.height + 1)]
        if not ripe:
            raise ChainError("a role has no coin: mine more to it")
        return Contribution((max(ripe, key=lambda utxo: utxo.sats).coin,), self.script)

    def sign(self, tx: CTransaction, spent: tuple[CTxOut, ...], aux_rand: bytes) -> CTransaction:
        """``tx`` with its own inputs signed; others keep their witness."""
        key = tweak_key(self.key)
        stacks = [
            [sign_input(tx, n, spent, key, aux_rand)]
            if bytes(out.scriptPubKey) == self.script
            else list(witness_stack(tx, n))
            for n, out in enumerate(spent)
        ]
        return with_witness(tx, stacks)

    def pay(self, output: CTxOut, feerate_sat_vb: int, aux_rand: bytes) -> CTransaction:
        """A payment of one output."""
        coins = self.coins()
        weight = OVERHEAD_WEIGHT + KEY_PATH_INPUT_WEIGHT + output_weight(self.script)
        weight += output_weight(bytes(output.scriptPubKey))
        change = coins.sats - int(output.nValue) - fee_sats(weight, feerate_sat_vb)
        tx = transaction(
            [txin(coin.outpoint) for coin in coins.coins], [output, txout(change, self.script)]
        )
        return self.sign(tx, tuple(coin.output for coin in coins.coins), aux_rand)


@lru_cache(maxsize=4)
def retrace(premises: Premises, forgery: Forgery | None = None) -> Trace:
    """The guest on its input; remembered, as all roles ask for it."""
    data = premises.layout.fixed
    shape = (premises.log4_steps, premises.width)
    return prove(Execution(premises.image, data, *shape, forgery=forgery))


def first_read(premises: Premises) -> int:
    """The first step that reads a byte of the batch: there its trace leaves that of other bytes."""
    data = bytes(byte ^ 0xFF for byte in premises.layout.fixed)
    shape = (premises.log4_steps, premises.width)
    here, there = retrace(premises), prove(Execution(premises.image, data, *shape))
    index = 0
    for level in reversed(range(root_level(premises.log4_steps))):
        index *= 2
        index += here.node(level, index) == there.node(level, index)
    pairs = zip(here.block(index), there.block(index), strict=True)
    return BLOCK_RECORDS * index + next(n for n, (a, b) in enumerate(pairs) if a != b)


def vault_terms(seed: bytes, *, members: int = 3, quorum: int = 2, **terms: int) -> VaultTerms:
    """The terms of the vault whose keys all follow from ``seed`` (32 bytes), before there is a
    chain: their digest is the pool's ``domain``. ``terms`` are fields that differ from their
    defaults."""
    sequencer, *committee = (_party(seed, name) for name in _names(members))
    fields = {"bond_sats": BOND_SATS, **terms}
    return VaultTerms(sequencer=sequencer, members=tuple(committee), quorum=quorum, **fields)


def _names(members: int) -> list[str]:
    return [SEQUENCER_NAME, *(f"member {number}" for number in range(1, members + 1))]


def _secret(seed: bytes, name: str) -> bytes:
    return tagged_hash(_TAG, seed + name.encode())


def _coin_key(seed: bytes, name: str) -> SecretKey:
    return SecretKey(tagged_hash(_TAG, _secret(seed, name)))


def _party(seed: bytes, name: str) -> PartyTerms:
    keys = PartyKeys(_secret(seed, name))
    return PartyTerms(
        key=keys.key.public,
        prover_key=keys.prover_key.public,
        challenger_key=keys.challenger_key.public,
        script=key_path_script(_coin_key(seed, name).public),
        nonce=tagged_hash(_TAG, name.encode())[:NONCE_SIZE],
    )


def memory_in(folder: PartyFolder) -> Memory:
    """What a role has kept there and keeps: on disk before anything follows from it."""
    return Memory(folder.records, folder.journal.append, folder.guard)


class PoolChain:
    """All roles of one pool over one regtest node that mines on demand."""

    def __init__(
        self,
        chain: Chain,
        seed: bytes,
        *,
        members: int = 3,
        quorum: int = 2,
        judge: Judge | None = None,
        depth: int = 1,
        said: Callable[[str], None] = lambda line: None,
        **terms: int,
    ) -> None:
        """As ``vault_terms``. ``judge`` is the pool's program, that of the first batch where none
        is given; ``depth`` the blocks that hold or follow whatever a role answers. Mines coins for
        the roles."""
        self.chain = chain
        self._depth = depth
        self._judge = judge
        self._said = said
        names = _names(members)
        self.purses = {name: Purse(chain, _coin_key(seed, name)) for name in [*names, "owner"]}
        self.keys = {name: PartyKeys(_secret(seed, name)) for name in names}
        self.vault = vault_terms(seed, members=members, quorum=quorum, **terms)
        self._aux = tagged_hash(_TAG, seed)
        self._first: State | None = None
        self._state: State | None = None
        self._txs: list[SettledTx] = []
        for purse in self.purses.values():
            chain.mine(COINS_BLOCKS, to=purse.script)
        chain.mine(MATURITY)

    @property
    def state(self) -> State:
        """The newest STATE; TermsError before ``open``."""
        if self._state is None:
            raise TermsError("the pool has no STATE yet: open it first")
        return self._state

    def open(self, root: bytes, vault_sats: int = 0) -> State:
        """The first STATE in a block; the sequencer's coins pay for it."""
        empty = State(outpoint=outpoint(bytes(32), 0), root=root, vault_sats=vault_sats)
        output = txout(empty.sats, state_lock(self.vault, root).script_pubkey)
        tx = self.purses[SEQUENCER_NAME].pay(output, self.vault.feerate_sat_vb, self._aux)
        self._mined("STATE", SEQUENCER_NAME, tx)
        self._state = self._first = replace(empty, outpoint=outpoint(txid(tx), 0))
        return self._state

    def deposit(self, owner: bytes, sats: int) -> Deposit:
        """A deposit output of ``owner`` (x-only key) in a block, from the coins of the owners."""
        output = txout(sats, deposit_lock(self.vault, owner).script_pubkey)
        tx = self.purses["owner"].pay(output, self.vault.feerate_sat_vb, self._aux)
        self._mined("DEPOSIT", "owner", tx)
        return Deposit(outpoint_key(outpoint(txid(tx), 0)), owner, sats)

    def batch(self, image: ProgramImage, data: bytes, payments: Sequence[Payment]) -> Batch:
        """The next batch: what the input ``data`` of the pool's program is about, and the payments
        of its result. TermsError or EncodingError where they do not fit together."""
        return pool_batch(self.vault, self.state, image, data, payments)

    def settle(self, batch: Batch, *, lie: str = "", presigned: bool = False) -> Settled:
        """``batch`` on the chain: cooperatively, or ``presigned`` with every game kicked off.

        A ``lie`` of ``oracle-vm dispute list`` is told by the sequencer to everybody, or by member
        1, and loses: ``wrong-input`` is one about a word of the batch. Games that outlive the batch
        are not played on. ConfigError if there is no such lie or the batch gives no occasion,
        TermsError if the members refuse the batch.
        """
        prover, challenger = self.lying(batch, lie) if lie else (HONEST, HONEST)
        liars = {0: challenger} if challenger is not HONEST else {}
        sequencer, members = self.roles(batch, prover, liars)
        if not presigned and not lie:
            return self.together(batch, sequencer, members)
        self.pledge(batch, sequencer, members)
        return self.play_out(batch, sequencer, members)

    def roles(
        self,
        batch: Batch,
        strategy: Strategy = HONEST,
        others: Mapping[int, Strategy] | None = None,
    ) -> tuple[Sequencer, list[CommitteeMember]]:
        """The sequencer, which plays ``strategy``, and the members (``others`` by number, from 0),
        before they know of ``batch``."""
        self._txs = []
        self._judge = self._judge or PoolJudge(batch.image)
        played = others or {}
        numbers = range(len(self.vault.members))
        members = [self.member(batch, n, Memory(), played.get(n, HONEST)) for n in numbers]
        return self.sequencer(batch, Memory(), strategy), members

    def sequencer(self, batch: Batch, memory: Memory, strategy: Strategy = HONEST) -> Sequencer:
        """As ``memory`` leaves it, in a pool with the program of ``batch``."""
        keys = self.keys[SEQUENCER_NAME]
        image, depth = batch.image, self._depth
        return Sequencer(self.vault, keys, retrace, strategy, memory, image, depth)

    def member(
        self, batch: Batch, number: int, memory: Memory, strategy: Strategy = HONEST
    ) -> CommitteeMember:
        """Member ``number`` (from 0), likewise."""
        judge, first = self._judge or PoolJudge(batch.image), self._first or self.state
        keys = self.keys[f"member {number + 1}"]
        return CommitteeMember(
            self.vault, number, keys, judge, retrace, first, strategy, self._depth, memory
        )

    def lying(self, batch: Batch, lie: str) -> Sides:
        """How both sides play where one tells this lie; ConfigError as ``settle``."""
        lies = catalogue(self.vault.log4_steps, opened=True)
        if lie not in lies:
            raise ConfigError(f"--lie {lie}: no such lie of a batch: {', '.join(lies)}")

        def trace(_: bytes, forgery: Forgery | None) -> Trace:
            return retrace(premises, forgery)

        premises = batch_premises(self.vault, batch)
        scene = Scene(premises, batch.data, batch.data, trace)
        dice = Random(lie)
        places = [first_read(premises), *(dice.randrange(scene.past.steps) for _ in range(8))]
        for step in places:
            sides = lies[lie].sides(scene, lambda purpose: Random(f"{lie} {purpose}"), step)
            if sides is not None:
                return sides
        raise ConfigError(f"--lie {lie}: this batch gives no occasion for it")

    # With a quorum

    def together(
        self, batch: Batch, sequencer: Sequencer, members: list[CommitteeMember]
    ) -> Settled:
        """A quorum re-runs the batch and signs ADVANCE."""
        purse = self.purses[SEQUENCER_NAME]
        fee = purse.coins()
        signed = {
            member.number: member.cooperate(self.chain, batch, fee, self._aux)
            for member in members[: self.vault.quorum]
        }
        made = sequencer.settle(batch, fee, signed)
        own = purse.sign(made.tx, made.spent, self._aux)
        first = len(made.tx.vin) - len(fee.coins)
        stacks = [witness_stack(own, n) for n in range(first, len(made.tx.vin))]
        self._mined(made.name, SEQUENCER_NAME, made.finish(signed, wallet=stacks))
        self._state = made.state(batch)
        return Settled(Route.COOPERATIVE, self._state, tuple(self._txs))

    # Without

    def pledge(self, batch: Batch, sequencer: Sequencer, members: list[CommitteeMember]) -> None:
        """Everything signed, PLEDGE in a block, every member's signature lent."""
        height = self.chain.height + REFUND_BLOCKS
        sequencer.offer(batch, height)
        answers = [member.join(self.chain, batch, height) for member in members]
        own, *coins = (self.purses[name].coins() for name in self.keys)
        plan = sequencer.propose(batch, height, answers, own, coins)
        theirs = [
            member.sign_game(self.chain, plan, coins[member.number], self._aux)
            for member in members
        ]
        ours = sequencer.sign_games(self._aux)
        for member in members:
            member.accept(ours[member.number])
            sequencer.accept(member.number, theirs[member.number])
        tx, spent = plan.pledge(self.vault), pledge_spent(own, coins)
        for name in self.keys:
            tx = self.purses[name].sign(tx, spent, self._aux)
        self._mined("PLEDGE", SEQUENCER_NAME, tx)
        if self._depth > 1:
            self.chain.mine(self._depth - 1)
        for member in members:
            sequencer.lent(member.number, member.lend(self.chain, self._aux))

    def play_out(
        self, batch: Batch, sequencer: Sequencer, members: list[CommitteeMember]
    ) -> Settled:
        """KICKOFF of every game, and what follows until the batch is final or convicted."""
        for number, tx in enumerate(sequencer.kickoffs()):
            self._send(f"KICKOFF_{number + 1}", SEQUENCER_NAME, tx)
        self._mine()
        advances = {
            Route.OPEN: (ADVANCE_OPEN, sequencer.advance(False, self._aux)),
            Route.LATE: (ADVANCE_LATE, sequencer.advance(True, self._aux)),
        }
        for _ in range(BLOCKS_LIMIT):
            for by, name, tx in self._due(sequencer, members):
                self._send(name, by, tx)
            self._mine()
            verdict = self._convicted(sequencer)
            if verdict:
                return Settled(Route.CONVICTED, self.state, tuple(self._txs), verdict)
            for route, (name, tx) in advances.items():
                if self.chain.check(tx).consensus:
                    self._mined(name, SEQUENCER_NAME, tx)
                    self._state = sequencer.graph.advances[route is Route.LATE].state(batch)
                    return Settled(route, self._state, tuple(self._txs))
        raise ChainError(f"the batch is not settled after {BLOCKS_LIMIT} blocks")

    def _due(
        self, sequencer: Sequencer, members: list[CommitteeMember]
    ) -> Iterator[tuple[str, str, CTransaction]]:
        for name, tx in sequencer.due(self.chain, self._aux):
            yield SEQUENCER_NAME, name, tx
        for member in members:
            for name, tx in member.due(self.chain, self._aux):
                yield f"member {member.number + 1}", name, tx

    def _convicted(self, sequencer: Sequencer) -> str:
        """The leaf by which a member has won, as blocks show it."""
        for player in sequencer.players.values():
            outcome = player.game(self.chain).play.outcome
            if outcome is not None and outcome.settle is None:
                return player.game(self.chain).leaf
        return ""

    # Blocks

    def _mined(self, name: str, by: str, tx: CTransaction) -> None:
        self._send(name, by, tx)
        self._mine()

    def _send(self, name: str, by: str, tx: CTransaction) -> None:
        """Into the next block."""
        if self.chain.tx(txid(tx)) is not None or not self.chain.check(tx).accepted:
            return
        self.chain.broadcast(tx)
        row = SettledTx(name, by, hash_hex(txid(tx)), vsize(tx), self.chain.height + 1)
        self._txs.append(row)
        self._said(f"{row.name} by {row.by}, {row.vsize} vB, {row.txid}")

    def _mine(self) -> None:
        self.chain.mine()
