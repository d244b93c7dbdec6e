"""A player of a pool's game that dies of SIGKILL after whatever it is asked, and of what it writes.

python -m tests.fault.committee_child FOLDER EVERY

The chain and the other players are this process. The victim is a process of its own for each call:
it is made of its folder alone, answers, and is gone by SIGKILL. On the way it dies before and after
each EVERY-th write to its disk, once each, and is asked again. Two stories: in ``member`` the
sequencer lies, and this member alone is awake; in ``sequencer`` it is honest, and a false
challenger plays until it has lost. One JSON object tells how both ended.
"""

import json
import os
import pickle
import signal
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from bitcoin.core import CTransaction

from actors.party_folder import PartyFolder
from actors.pool_chain import PoolChain, memory_in
from protocol.bitcoin.tx import outpoint, parse_tx, serialize, txid
from protocol.crypto.winternitz import Digits, Label
from protocol.dispute.sides import HONEST
from protocol.settlement.party_terms import Role
from protocol.settlement.pool.game import SEAL_OUTPUT
from protocol.settlement.pool.graph import Plan
from protocol.settlement.pool.record import Memory
from protocol.settlement.pool.terms import MEMBER, SEQUENCER, VaultTerms
from protocol.settlement.reading import Reader
from regtest.remote import RemoteChain
from regtest.served import ChainServer
from tests.builders.pool_batches import AUX, IDLE, ROOT, next_batch, opened_pool, small_image

BLOCKS = 60


class Fatal:
    """Ends this process at every EVERY-th moment that it has not died at before."""

    def __init__(self, folder: Path, every: int) -> None:
        self._log = folder / "moments"
        self._log.touch()
        self._every = every

    @property
    def moments(self) -> list[str]:
        return self._log.read_text().splitlines()

    def __call__(self, moment: str) -> None:
        known = self.moments
        if moment in known:
            return
        with self._log.open("a") as log:
            log.write(f"{moment}\n")
        if len(known) % self._every == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalGuard:
    """The one-time guard on disk."""

    def __init__(self, guard: Any, fatal: Fatal) -> None:
        self._guard, self._fatal = guard, fatal

    def setdefault(self, label: Label, digits: Digits, /) -> Digits:
        name = f"guard of {label.field} {label.round} {label.contract_id[:2].hex()}"
        self._fatal(f"before {name}")
        held = self._guard.setdefault(label, digits)
        self._fatal(f"after {name}")
        return held


class Victim:
    """A player by another process for each call; ``made`` makes it of its memory."""

    def __init__(
        self, folder: Path, vault: VaultTerms, every: int, made: Callable[[Memory], Any]
    ) -> None:
        self.vault, self._made = vault, made
        self._socket, self.folder = folder.parent / "socket", folder
        folder.mkdir()
        self.fatal = Fatal(self.folder, every)
        self.lives = self.deaths = 0
        self.told: list[CTransaction] = []

    def ask(self, work: Callable[[Any, Any], Any]) -> Any:
        """What the player answers, however often it dies."""
        while True:
            self.lives += 1
            answer = self._life(work)
            self.deaths += not answer
            if answer:
                return pickle.loads(answer)

    def txs(self, work: Callable[[Any, Any], Any]) -> list[tuple[str, CTransaction]]:
        """Likewise where the answer is transactions by name."""
        rows = self.ask(lambda own, view: [(name, serialize(tx)) for name, tx in work(own, view)])
        found = [(name, parse_tx(data)) for name, data in rows]
        self.told += [tx for _, tx in found]
        return found

    def _life(self, work: Callable[[Any, Any], Any]) -> bytes:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                own = self._made(self._memory())
                with RemoteChain(self._socket) as view, os.fdopen(write, "wb") as out:
                    out.write(pickle.dumps(work(own, view)))
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                traceback.print_exc()
                os._exit(1)
        os.close(write)
        with os.fdopen(read, "rb") as answer:
            data = answer.read()
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it has failed"
        return data

    def _memory(self) -> Memory:
        folder = PartyFolder.open(self.folder)
        kept = memory_in(folder)

        def write(record: bytes) -> None:
            name = f"record {crc32(record):08x}"
            self.fatal(f"before {name}")
            folder.journal.append(record)
            self.fatal(f"after {name}")

        return Memory(folder.records, write, MortalGuard(kept.guard, self.fatal))


class MortalMember:
    """A ``CommitteeMember``, as far as the pool's chain asks it; its view is its own."""

    def __init__(self, number: int, victim: Victim) -> None:
        self.number, self._victim = number, victim

    def join(self, _: Any, *given: Any) -> bytes:
        return self._victim.ask(lambda own, view: own.join(view, *given))

    def sign_game(self, _: Any, plan: Plan, *given: Any) -> Any:
        plan.graph(self._victim.vault)  # built here, every life is a fork of what is built
        return self._victim.ask(lambda own, view: own.sign_game(view, plan, *given))

    def accept(self, signed: Any) -> None:
        self._victim.ask(lambda own, _: own.accept(signed))

    def lend(self, _: Any, *given: Any) -> Any:
        return self._victim.ask(lambda own, view: own.lend(view, *given))

    def due(self, *_: Any) -> list[tuple[str, CTransaction]]:
        return self._victim.txs(lambda own, view: own.due(view, AUX))


class MortalSequencer:
    """A ``Sequencer``, likewise."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self.plan: Plan | None = None

    def offer(self, *given: Any) -> Any:
        return self._victim.ask(lambda own, _: own.offer(*given))

    def propose(self, *given: Any) -> Plan:
        data = self._victim.ask(lambda own, _: own.propose(*given).encode())
        self.plan = Plan.decode(data, small_image())
        self.plan.graph(self._victim.vault)
        return self.plan

    def sign_games(self, *given: Any) -> Any:
        return self._victim.ask(lambda own, _: own.sign_games(*given))

    def accept(self, *given: Any) -> None:
        self._victim.ask(lambda own, _: own.accept(*given))

    def lent(self, *given: Any) -> None:
        self._victim.ask(lambda own, _: own.lent(*given))

    def kickoffs(self) -> list[CTransaction]:
        made = self._victim.txs(lambda own, _: [("KICKOFF", tx) for tx in own.kickoffs()])
        return [tx for _, tx in made]

    def advance(self, *given: Any) -> CTransaction:
        return parse_tx(self._victim.ask(lambda own, _: serialize(own.advance(*given))))

    def due(self, *_: Any) -> list[tuple[str, CTransaction]]:
        return self._victim.txs(lambda own, view: own.due(view, AUX))


def played(pool: PoolChain, sequencer: Any, members: list[Any]) -> Iterator[str]:
    """Every block until the first game is over; the names of what the chain took."""
    pool.chain.mine(txs=list(sequencer.kickoffs()))
    for _ in range(BLOCKS):
        for player in (sequencer, *members):
            for name, tx in player.due(pool.chain, AUX):
                if pool.chain.tx(txid(tx)) is None and pool.chain.check(tx).accepted:
                    pool.chain.broadcast(tx)
                    yield name
                    if name.partition(":")[2].startswith(("VERDICT", "SETTLE")):
                        pool.chain.mine(pool.vault.late_window)
                        return
        pool.chain.mine()


def said_by(
    role: Role, plan: Plan, pool: PoolChain, told: list[CTransaction]
) -> dict[Label, set[Digits]]:
    """Every message that ``role`` has signed in what the victim told."""
    found: dict[Label, set[Digits]] = defaultdict(set)
    for game in plan.graph(pool.vault).games:
        for tx in told:
            seen = Reader(game).read(tx)
            for label, message in (seen.messages if seen else {}).items():
                if label.role == role.value:
                    found[label].add(message.digits)
    return found


def story(pool: PoolChain, folder: Path, who: str, every: int) -> dict[str, Any]:
    """One batch of one game in which ``who`` dies; what is left of both."""
    if who == "member":
        batch = next_batch(pool, right=False)
        sequencer, members = pool.roles(batch, HONEST, {1: IDLE, 2: IDLE})
        victim = Victim(folder, pool.vault, every, lambda memory: pool.member(batch, 0, memory))
        members[0] = MortalMember(0, victim)
    else:
        batch = next_batch(pool)
        told = pool.lying(batch, "verdict-word")
        _, members = pool.roles(batch, HONEST, {0: told.challenger, 1: IDLE, 2: IDLE})
        victim = Victim(folder, pool.vault, every, lambda memory: pool.sequencer(batch, memory))
        sequencer = MortalSequencer(victim)
    pool.pledge(batch, sequencer, members)
    names = list(played(pool, sequencer, members))
    plan = sequencer.plan
    game = plan.graph(pool.vault).games[0]
    seal = pool.chain.spender(outpoint(txid(game.kickoff.tx), SEAL_OUTPUT))
    advances = [sequencer.advance(late, AUX) for late in (False, True)]
    said = said_by(MEMBER if who == "member" else SEQUENCER, plan, pool, victim.told)
    guard = PartyFolder.open(victim.folder).guard
    return {
        "names": names,
        "seal": Reader(game).read(seal.tx).way.name if seal else "",
        "advances": [pool.chain.check(tx).consensus for tx in advances],
        "state": pool.chain.utxo(batch.old.outpoint) is not None,
        "lives": victim.lives,
        "deaths": victim.deaths,
        "moments": len(victim.fatal.moments),
        "said": len(said),
        "once": all(digits == {guard.get(label)} for label, digits in said.items()),
    }


def main(folder: Path, every: int) -> None:
    with opened_pool(folder / "chain") as pool, ChainServer(pool.chain, folder / "socket"):
        pool.open(ROOT, 100_000)
        stories = {who: story(pool, folder / who, who, every) for who in ("member", "sequencer")}
        print(json.dumps(stories))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
