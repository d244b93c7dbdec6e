"""A node that dies by its own SIGKILL where it is told to, and notes everything that it signs.

python crashing_node.py PLACE NOTES ROLE run --config FILE

PLACE is one of ``PLACES`` (the process dies when it first comes there) or "never"; to NOTES it adds
a line for each signature of its oracle key, before anybody is told: kind, round, hash of what it
signed.
"""

import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

ORACLE_PLACES = (
    "OBS1 written",
    "OBS1 on disk",
    "OBS1 signed",
    "SignedObservation sent",
    "RPT1 written",
    "RPT1 on disk",
    "RPT1 signed",
    "Vote sent",
)
PROPOSER_PLACES = ("Proposal sent", "certificate made", "certificate on disk", "Certificate sent")
PLACES = (*ORACLE_PLACES, *PROPOSER_PLACES)


class Crash:
    """Dies at ``place``."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.recording = ""

    def at(self, place: str) -> None:
        if place == self.place:
            os.kill(os.getpid(), signal.SIGKILL)

    def sync_twice(self) -> None:
        """Before and after every fsync of a record in the sign guard."""
        fsync = os.fsync

        def watched(fd: int) -> None:
            self.at(f"{self.recording} written")
            fsync(fd)
            self.at(f"{self.recording} on disk")

        os.fsync = watched

    def watch(self, notes: Path) -> None:
        """Where messages are recorded, signed, sent and stored."""
        from actors.history import History
        from actors.journal import SignGuard
        from actors.transport import Transport
        from protocol.oracle.round import OracleNode

        record, commit = SignGuard.record, OracleNode._commit
        send, append = Transport.send, History.append

        def watched_record(guard, kind, *slot):
            self.recording = kind.decode()
            record(guard, kind, *slot)
            self.recording = ""

        def watched_commit(node, kind, round_id, encoded, message):
            signature = commit(node, kind, round_id, encoded, message)
            line = f"{kind.decode()} {round_id} {sha256(encoded).hexdigest()}\n"
            with notes.open("a") as file:
                file.write(line)
            self.at(f"{kind.decode()} signed")
            return signature

        def watched_send(transport, to, message):
            send(transport, to, message)
            self.at(f"{type(message).__name__} sent")

        def watched_append(history, certificate):
            self.at("certificate made")
            is_new = append(history, certificate)
            self.at("certificate on disk")
            return is_new

        SignGuard.record, OracleNode._commit = watched_record, watched_commit
        Transport.send, History.append = watched_send, watched_append


def main(place: str, notes: str, *command: str) -> None:
    assert place in (*PLACES, "never")
    crash = Crash(place)
    crash.sync_twice()  # before anybody has taken os.fsync
    crash.watch(Path(notes))
    from actors import cli

    sys.argv = ["oracle-vm", *command]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
