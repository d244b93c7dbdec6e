"""``--break INVARIANT``: one defence is taken away for real, so that the invariant is violated."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from actors.chaos.cluster import PROOF_S
from actors.chaos.faults import traitor
from actors.chaos.ground import MILLION, Ground
from actors.chaos.invariants import Invariant
from actors.chaos.plan import Plan
from actors.chaos.watch import Watch
from protocol.errors import ConfigError


class Break:
    """Nothing is broken."""

    def bent(self, plan: Plan) -> frozenset[str]:
        """Oracles that need venues of their own."""
        return frozenset()

    def begin(self, ground: Ground) -> None:
        """When the plan begins."""

    def end(self, ground: Ground, watch: Watch) -> None:
        """Before histories are compared."""

    def after(self, ground: Ground) -> None:
        """When everything has been stopped."""


class NoGuard(Break):
    """The first oracle's keys are used without a sign guard, and it counts as honest."""

    def begin(self, ground: Ground) -> None:
        ground.keeper.replace(ground.names[0], traitor(ground, ground.names[0]))


class TooManyLiars(Break):
    """f + 1 oracles hear the same false price."""

    def bent(self, plan: Plan) -> frozenset[str]:
        return frozenset(plan.oracles[: plan.faults + 1])

    def begin(self, ground: Ground) -> None:
        for path in ground.bent.values():
            path.factor_ppm = MILLION * 103 // 100


class TooManyFrozen(Break):
    """f + 1 oracles are frozen, and count as well."""

    def begin(self, ground: Ground) -> None:
        for name in ground.names[: ground.plan.faults + 1]:
            ground.keeper.signal(name, signal.SIGSTOP)

    def end(self, ground: Ground, watch: Watch) -> None:
        for name in ground.names[: ground.plan.faults + 1]:
            ground.keeper.signal(name, signal.SIGCONT)


class NeverStarted(Break):
    """An oracle is killed and nobody starts it again."""

    def begin(self, ground: Ground) -> None:
        ground.keeper.hold(ground.names[0])


class CrashLoop(Break):
    """In an oracle's place runs a program that ends at once."""

    def begin(self, ground: Ground) -> None:
        ground.keeper.replace(ground.names[0], ("-c", "raise SystemExit(1)"))


class ForgedCertificate(Break):
    """A bit of the newest certificate on a disk is flipped: in its last signature."""

    statement = "SELECT id, data FROM certificate ORDER BY id DESC LIMIT 1"

    def end(self, ground: Ground, watch: Watch) -> None:
        name = ground.names[0]
        with closing(sqlite3.connect(ground.data(name) / "history.sqlite")) as history, history:
            history.execute("DROP TRIGGER certificate_stays")
            [(row, data)] = history.execute(self.statement)
            forged = data[:-1] + bytes([data[-1] ^ 1])
            history.execute("UPDATE certificate SET data = ? WHERE id = ?", (forged, row))
        watch.read_again(name)


class LostCertificate(Break):
    """A certificate in the middle of a history is removed from a disk."""

    def end(self, ground: Ground, watch: Watch) -> None:
        name = ground.names[0]
        with closing(sqlite3.connect(ground.data(name) / "history.sqlite")) as history, history:
            history.execute("DROP TRIGGER certificate_remains")
            history.execute(
                "DELETE FROM certificate WHERE id = (SELECT max(id) / 2 FROM certificate)"
            )
        watch.read_again(name)


class LostEvidence(Break):
    """The evidence on a disk is lost."""

    def end(self, ground: Ground, watch: Watch) -> None:
        if not ground.plan.liars("twice"):
            raise ConfigError(
                '--break liar-convicted: the plan has no lying-oracle with how = "twice"'
            )
        name = next(n for n in ground.plan.oracles if n not in ground.plan.liars("twice"))
        (ground.data(name) / "evidence.journal").write_bytes(b"")
        watch.read_again(name)


class Believing(Break):
    """The prover lies, and nobody looks."""

    def begin(self, ground: Ground) -> None:
        if not ground.plan.ground.provers:
            raise ConfigError("--break same-root: the plan has no provers; set [ground] provers")
        ground.proofs.believe()
        ground.proofs.lie()

    def end(self, ground: Ground, watch: Watch) -> None:
        proofs = ground.proofs

        def unmet() -> str | None:
            true = all(root == proofs.expected for root in proofs.tally.roots)
            return "nobody has met the lying prover" if true else None

        ground.wait(unmet, PROOF_S)


class LoggedKey(Break):
    """A program writes a key into its log."""

    def begin(self, ground: Ground) -> None:
        key = next(iter(ground.secrets().values()))
        with (ground.folder / f"{ground.names[0]}.log").open("a") as log:
            log.write(f"{key.hex()}\n")


class Forgotten(Break):
    """A process is started that nobody ends."""

    def after(self, ground: Ground) -> None:
        subprocess.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True
        )


BREAKS: Final[Mapping[Invariant, type[Break]]] = {
    Invariant.SIGNED_ONCE: NoGuard,
    Invariant.HONEST_FREE: NoGuard,
    Invariant.VALID: ForgedCertificate,
    Invariant.IN_RANGE: TooManyLiars,
    Invariant.GOES_ON: TooManyFrozen,
    Invariant.LIAR_CONVICTED: LostEvidence,
    Invariant.AGREE: LostCertificate,
    Invariant.RECOVER: NeverStarted,
    Invariant.RESTARTS: CrashLoop,
    Invariant.SAME_ROOT: Believing,
    Invariant.NO_SECRETS: LoggedKey,
    Invariant.NOTHING_LEFT: Forgotten,
}
