"""Known answers, the public messages of other oracles, and every negative of oracle_dlc.json."""

import json
from pathlib import Path

import pytest

from protocol.crypto.keys import SecretKey
from protocol.errors import ProtocolError, SignatureError
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import Attestation, attest
from protocol.oracle.dlc.descriptor import DigitDescriptor
from protocol.oracle.dlc.evidence import DoubleSignature, of_attestations
from protocol.oracle.dlc.nonce import make_event

VECTORS = json.loads((Path(__file__).parents[3] / "vectors/oracle_dlc.json").read_text())
KNOWN = VECTORS["dlc_kat"]
KEY = SecretKey(bytes.fromhex(KNOWN["oracle_seckey"]))
SEED = bytes.fromhex(KNOWN["nonce_seed"])


def by_name(row):
    return row["name"]


def descriptor_of(row):
    return DigitDescriptor(
        row["nb_digits"], row["base"], row["is_signed"], row["unit"], row["precision"]
    )


@pytest.mark.parametrize("row", KNOWN["items"], ids=by_name)
def test_announcements_are_made_to_the_bit(row):
    event = make_event(SEED, row["event_id"], row["maturity"], descriptor_of(row))
    made = Announcement.sign(KEY, event, bytes(32))
    assert made.digest.hex() == row["announcement_msg_hash"]
    assert made.encode().hex() == row["announcement"]
    read = Announcement.decode(bytes.fromhex(row["announcement"]))
    read.check()
    assert read == made
    assert read.public.hex() == row["oracle_pubkey"]


@pytest.mark.parametrize("row", KNOWN["items"], ids=by_name)
def test_attestations_are_made_to_the_bit(row):
    announcement = Announcement.decode(bytes.fromhex(row["announcement"]))
    outcomes = announcement.event.descriptor.outcomes_of(row["raw_value"])
    assert list(outcomes) == row["outcomes"]
    assert announcement.event.descriptor.value_of(outcomes) == row["attested_value"]
    made = attest(KEY, SEED, announcement, outcomes)
    assert made.encode().hex() == row["attestation"]
    read = Attestation.decode(bytes.fromhex(row["attestation"]))
    read.check(announcement)
    assert read == made


def test_every_negative_is_refused_for_its_own_reason():
    reasons = {}
    for row in VECTORS["dlc_negative"]["items"]:
        try:
            Announcement.decode(bytes.fromhex(row["hex"])).check()
        except ProtocolError as error:
            reasons[row["name"]] = str(error)
    verify = "announcement: the signature does not verify"
    assert reasons == {
        "announcement-sig-bitflip": verify,
        "event-id-changed": verify,
        "announcement-truncated": "announcement message: cut short",
        "announcement-trailing-byte": "announcement: 1 bytes too many",
        "legacy-sha256-over-value": verify,
        "tagged-over-value-without-header": verify,
        "descriptor-base-as-bigsize(spec text, nobody uses)": ("digit descriptor unit: cut short"),
        "nonce-count-19-for-20-digits": "event nonces: 19, the descriptor has 20",
    }


def test_legacy_signatures_are_read_when_asked_for():
    rows = {row["name"]: bytes.fromhex(row["hex"]) for row in VECTORS["dlc_negative"]["items"]}
    Announcement.decode(rows["legacy-sha256-over-value"]).check(legacy=True)
    for name in ("announcement-sig-bitflip", "tagged-over-value-without-header"):
        with pytest.raises(SignatureError):
            Announcement.decode(rows[name]).check(legacy=True)


@pytest.mark.parametrize("row", VECTORS["public"]["items"], ids=lambda row: row["event_id"])
def test_messages_of_other_oracles(row):
    announcement = Announcement.decode(bytes.fromhex(row["announcement"]))
    announcement.check()
    assert (announcement.event.event_id, announcement.event.maturity_s) == (
        row["event_id"],
        row["maturity"],
    )
    attestation = Attestation.decode(bytes.fromhex(row["attestation"]))
    attestation.check(announcement)
    assert list(attestation.outcomes) == row["outcomes"]
    assert announcement.encode().hex() == row["announcement"]
    assert attestation.encode().hex() == row["attestation"]


def test_one_nonce_twice_gives_the_key_away():
    row = VECTORS["dlc_equivocation"]
    proof = DoubleSignature(
        bytes.fromhex(row["oracle_pubkey"]),
        "0",
        bytes.fromhex(row["sig_outcome_0"]),
        "1",
        bytes.fromhex(row["sig_outcome_1"]),
    )
    assert proof.signature_a[:32].hex() == row["nonce"]
    assert proof.secret_key()._key.secret.hex() == row["extracted_seckey"]


def test_a_second_attestation_of_an_event_is_evidence():
    announcement = Announcement.decode(bytes.fromhex(KNOWN["items"][0]["announcement"]))
    descriptor = announcement.event.descriptor
    honest, lie = (
        attest(KEY, SEED, announcement, descriptor.outcomes_of(v)) for v in (83744, 83745)
    )
    (proof,) = of_attestations(honest, lie)
    assert proof.secret_key().public == KEY.public
    again = attest(KEY, SEED, announcement, descriptor.outcomes_of(83744))
    assert of_attestations(honest, again) == ()
    other = Announcement.decode(bytes.fromhex(KNOWN["items"][1]["announcement"]))
    elsewhere = attest(KEY, SEED, other, descriptor.outcomes_of(1))
    assert of_attestations(honest, elsewhere) == ()


def test_every_dlc_vector_is_used():
    assert {k for k in VECTORS if not k.startswith(("native", "median", "two_obs"))} == {
        "dlc_kat",
        "dlc_negative",
        "dlc_equivocation",
        "public",
    }
    assert (len(KNOWN["items"]), len(VECTORS["public"]["items"])) == (8, 6)
