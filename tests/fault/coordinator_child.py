"""A coordinator without Ray that dies by its own SIGKILL at the n-th thing it does.

python coordinator_child.py FOLDER N [refund]     N = 0: live to the end and print how many
"""

import os
import signal
import sys
from pathlib import Path

from bitcoin.core import COutPoint

from actors.agreement import Custody, agree
from actors.config import DEMO, load
from actors.coordinator import Coordinator, CoordinatorSettings
from actors.journal import Journal
from actors.settlement import Stage
from protocol.bitcoin.tx import hash_hex, parse_hash
from protocol.oracle.expiry import Expiry, ExpiryCertificate
from protocol.oracle.feed import Feed
from protocol.settlement.claim import claim_of
from protocol.settlement.terms import Role
from regtest.kernel import KernelChain
from tests.builders.oracles import AUX, CONFIG, KEYS, PRICE


class Crash:
    """Counts writes, broadcasts and blocks as they are done; dies right after the n-th."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def moment(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args, **kwargs):
            result = original(*args, **kwargs)
            self.moment()
            return result

        setattr(owner, name, watched)


def settings(folder: Path, move_ms: int = 1000) -> CoordinatorSettings:
    """Of the contract in ``folder``, agreed on the first call."""
    keys, agreed = folder / "keys", folder / "terms"
    custody = {
        role: Custody(keys / f"{role.value}.key", keys / f"{role.value}.seed") for role in Role
    }
    if not agreed.exists():
        custody = {role: Custody.create(keys, role) for role in Role}
        terms = agree(load(DEMO), CONFIG, Feed("BTC/USD").feed_id, custody)
        agreed.write_bytes(terms.encode())
    return CoordinatorSettings(
        CONFIG.encode(),
        agreed.read_bytes(),
        custody[Role.HOLDER],
        custody[Role.WRITER],
        folder / "coordinator",
        move_ms,
    )


def certified(coordinator: Coordinator) -> ExpiryCertificate:
    """The certificate of the expiry that the contract settles on."""
    slot = coordinator.terms.claim.slot
    expiry = Expiry(
        slot=slot,
        end_round=slot.target_round,
        price_e8=PRICE,
        high_e8=PRICE,
        low_e8=PRICE,
        rounds=1,
        report_hash=bytes(32),
    )
    signatures = tuple((i, KEYS[i].sign(expiry.hash, AUX)) for i in range(2))
    return ExpiryCertificate(expiry, signatures)


def story(coordinator: Coordinator, ending: str) -> None:
    """What a driver does, from wherever the contract stands."""
    coordinator.fund()
    if ending == "refund":
        coordinator.refund()
        return
    claim = claim_of(coordinator.terms, certified(coordinator))
    if coordinator.stage() is Stage.FUNDED:
        coordinator.claim(claim, b"\1" * 20, 12, 20)
    if coordinator.stage() is Stage.CLAIMED:
        coordinator.settle(b"\1" * 20)


def finish(folder: Path, ending: str) -> dict[str, object]:
    """Live to the end; what is on chain then."""
    coordinator = Coordinator(settings(folder))
    story(coordinator, ending)
    txs = coordinator.transactions()
    point = COutPoint(parse_hash(txs[0].txid), 0)
    spender = coordinator._chain.spender(point)
    result = {
        "stage": coordinator.stage(),
        "names": [tx.name for tx in txs],
        "spender": spender and hash_hex(spender.txid),
        "last": txs[-1].txid,
        "payout": coordinator._state.payout_sats,
    }
    coordinator.close()
    return result


def main(folder: Path, at: int, ending: str = "close") -> None:
    crash = Crash(at)
    for owner, name in ((Journal, "append"), (KernelChain, "broadcast"), (KernelChain, "mine")):
        crash.watch(owner, name)
    finish(folder, ending)
    print(crash.count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
