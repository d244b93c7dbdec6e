"""An oracle that is killed while it attests: no event has two outcomes, and none is lost."""

import signal
import subprocess
import sys

import pytest

from actors.dlc_store import DlcStore, attestation_file
from protocol.errors import GuardError
from protocol.oracle.dlc.attestation import attest
from tests.fault import dlc_child
from tests.fault.dlc_child import DIGITS, EVENT, KEY, SEED

VALUE, OTHER = 83_744, 83_745
PLACES = ("written", "on disk", "digit 1", "digit 7", "signed")


def child(place, folder):
    """Its exit code."""
    command = [sys.executable, dlc_child.__file__, place, str(folder), str(VALUE)]
    return subprocess.run(command, timeout=60, check=False).returncode


def attested(store, value):
    outcomes = DIGITS.outcomes_of(value)
    return store.attest(EVENT, outcomes, lambda of, texts: attest(KEY, SEED, of, texts))


@pytest.mark.parametrize("place", PLACES)
def test_killed_while_it_attests(tmp_path, place):
    assert child(place, tmp_path) == -signal.SIGKILL
    assert not attestation_file(tmp_path, EVENT).exists(), "nothing was told"
    store = DlcStore.open(tmp_path, KEY.public)
    assert store.ledger.bound == {EVENT: DIGITS.outcomes_of(VALUE)}
    with pytest.raises(GuardError, match="would reveal the key"):
        attested(store, OTHER)
    assert not attestation_file(tmp_path, EVENT).exists()
    resumed = attested(store, VALUE)
    announcement = store.ledger.announcement(EVENT)
    assert resumed == attest(KEY, SEED, announcement, DIGITS.outcomes_of(VALUE))
    store.close()


def test_not_killed(tmp_path):
    assert child("never", tmp_path) == 0
    assert attestation_file(tmp_path, EVENT).exists()
