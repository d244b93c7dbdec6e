"""Attests an event and dies by its own SIGKILL where it is told to.

python dlc_child.py PLACE FOLDER VALUE

PLACE: "written" (the outcome is in the file), "on disk" (after its fsync), "digit N" (N digits are
signed), "signed" (nothing is public), "never". The announcement is made if there is none.
"""

import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

from actors import dlc_store
from actors.dlc_store import DlcStore
from protocol.crypto.keys import SecretKey
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import attest
from protocol.oracle.dlc.descriptor import DigitDescriptor
from protocol.oracle.dlc.nonce import make_event

KEY = SecretKey(sha256(b"dlc key of a test").digest())
SEED = sha256(b"dlc seed of a test").digest()
DIGITS = DigitDescriptor(20, unit="USD")
EVENT = "btcusd-1790359200"


def announcement():
    """With fresh randomness every time, as the command does it."""
    event = make_event(SEED, EVENT, 1_790_359_200, DIGITS)
    return Announcement.sign(KEY, event, os.urandom(32))


def main(place: str, folder: str, value: str) -> None:
    def at(name: str) -> None:
        if name == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def fsync(fd: int) -> None:
        at("written" if store_is_open else "")
        os.fsync(fd)
        at("on disk" if store_is_open else "")

    signed = 0
    sign_with = SecretKey.sign_with

    def counted(key: SecretKey, nonce: SecretKey, message: bytes) -> bytes:
        nonlocal signed
        found = sign_with(key, nonce, message)
        signed += 1
        at(f"digit {signed}")
        return found

    publish = dlc_store._publish

    def published(path: Path, fields: dict[str, str]) -> None:
        at("signed" if "attestation" in fields else "")
        publish(path, fields)

    store_is_open = False
    store = DlcStore.open(Path(folder), KEY.public, fsync)
    store.announce(announcement())
    store_is_open = True
    SecretKey.sign_with, dlc_store._publish = counted, published  # type: ignore[method-assign]
    outcomes = DIGITS.outcomes_of(int(value))
    store.attest(EVENT, outcomes, lambda of, texts: attest(KEY, SEED, of, texts))


if __name__ == "__main__":
    main(*sys.argv[1:])
