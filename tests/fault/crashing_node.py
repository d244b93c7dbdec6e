"""A node that dies by its own SIGKILL where it is told to, or its signer does, which notes
everything that it signs.

python crashing_node.py PLACE NOTES ROLE run --config FILE
python crashing_node.py PLACE NOTES signer ARGUMENTS OF actors.signer_child

PLACE is one of ``PLACES`` (the process dies when it first comes there) or "never". Of a node's
signers only the first one dies, and leaves the file NOTES.dead. To NOTES a signer adds a line for
each signature of the oracle key, before anybody is told: kind, round, hash of what it signed.
"""

import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

SIGNER_PLACES = (
    "OBS1 written",
    "OBS1 on disk",
    "OBS1 not answered",
    "RPT1 written",
    "RPT1 on disk",
    "RPT1 not answered",
)
ORACLE_PLACES = ("OBS1 signed", "SignedObservation sent", "RPT1 signed", "Vote sent")
PROPOSER_PLACES = ("Proposal sent", "certificate made", "certificate on disk", "Certificate sent")
PLACES = (*SIGNER_PLACES, *ORACLE_PLACES, *PROPOSER_PLACES)


class Crash:
    """Dies at ``place``."""

    def __init__(self, place: str, mark: Path | None = None) -> None:
        self.place = place
        self.mark = mark
        self.recording = ""

    def at(self, place: str) -> None:
        if place == self.place and not (self.mark and self.mark.exists()):
            if self.mark:
                self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def sync_twice(self) -> None:
        """Before and after every fsync of a record in the sign guard."""
        fsync = os.fsync

        def watched(fd: int) -> None:
            self.at(f"{self.recording} written")
            fsync(fd)
            self.at(f"{self.recording} on disk")

        os.fsync = watched

    def watch_signer(self, notes: Path) -> None:
        """Where messages are recorded and signed."""
        from actors.journal import SignGuard
        from actors.signer_core import SignerCore

        record, sign = SignGuard.record, SignerCore._sign

        def watched_record(guard, kind, *slot):
            self.recording = kind.decode()
            record(guard, kind, *slot)
            self.recording = ""

        def watched_sign(core, request):
            signature = sign(core, request)
            kind, round_id = request.message[:4].decode(), int.from_bytes(request.message[68:76])
            if kind in ("OBS1", "RPT1"):
                with notes.open("a") as file:
                    file.write(f"{kind} {round_id} {sha256(request.message).hexdigest()}\n")
            self.at(f"{kind} not answered")
            return signature

        SignGuard.record, SignerCore._sign = watched_record, watched_sign

    def watch_node(self) -> None:
        """Where signatures arrive, and messages are sent and stored."""
        from actors.history import History
        from actors.transport import Transport
        from protocol.oracle.round import OracleNode

        commit, send, append = OracleNode._commit, Transport.send, History.append

        def watched_commit(node, kind, *message):
            signature = commit(node, kind, *message)
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

        OracleNode._commit, Transport.send = watched_commit, watched_send
        History.append = watched_append


def main(place: str, notes: str, role: str, *command: str) -> None:
    assert place in (*PLACES, "never")
    crash = Crash(place, Path(f"{notes}.dead") if role == "signer" else None)
    if role == "signer":
        crash.sync_twice()  # before anybody has taken os.fsync
        crash.watch_signer(Path(notes))
        from actors import signer_child

        sys.argv = ["signer_child", *command]
        signer_child.main()
    else:
        crash.watch_node()
        from actors import cli, signer_dial

        signer_dial.PROGRAM = (sys.executable, __file__, place, notes, "signer")
        sys.argv = ["oracle-vm", role, *command]
        cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
