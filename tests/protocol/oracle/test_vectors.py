"""The known answers of ``tests/vectors/oracle_dlc.json``: native encodings."""

import json
from pathlib import Path

import pytest

from protocol.crypto.keys import SecretKey
from protocol.errors import EncodingError, SignatureError
from protocol.oracle import merkle, quorum
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.evidence import Evidence
from protocol.oracle.feed import Feed
from protocol.oracle.observation import Observation, SignedObservation
from protocol.oracle.proposal import Proposal, View, check_proposal, propose
from protocol.oracle.report import Grade, Report

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "oracle_dlc.json").read_text(encoding="utf-8")
)
KAT = VECTORS["native_kat"]
CONFIG = OracleConfig.decode(bytes.fromhex(KAT["config_bytes"]))
FEED = Feed("BTC/USD")
SIGNED = [
    SignedObservation(
        o["oracle"], Observation.decode(bytes.fromhex(o["bytes"])), bytes.fromhex(o["sig"])
    )
    for o in KAT["observations"]
]
REPORTS = {"report_full": SIGNED, "report_degraded_0_2": [SIGNED[0], SIGNED[2]]}


def test_config() -> None:
    assert CONFIG.encode().hex() == KAT["config_bytes"]
    assert CONFIG.digest.hex() == KAT["config_digest"]
    assert [key.hex() for key in CONFIG.oracles] == KAT["pubkeys"]
    assert (CONFIG.quorum, CONFIG.faults, CONFIG.interval_ms, CONFIG.min_venues) == (
        2,
        1,
        30_000,
        2,
    )
    assert (CONFIG.delta_ppm, CONFIG.max_move_ppm) == (5_000, 100_000)


def test_feed() -> None:
    assert FEED.encode().hex() == KAT["feed_bytes"]
    assert FEED.feed_id.hex() == KAT["feed_id"]
    assert Feed.decode(FEED.encode()) == FEED


@pytest.mark.parametrize("index", range(3))
def test_observation(index: int) -> None:
    known, signed = KAT["observations"][index], SIGNED[index]
    seen = signed.observation
    assert seen.encode().hex() == known["bytes"]
    assert seen.message.hex() == known["msg"]
    assert (seen.price_e8, seen.conf_e8) == (known["price_e8"], known["conf_e8"])
    assert (seen.round, seen.config_digest) == (KAT["round_id"], CONFIG.digest)
    assert signed.verify(CONFIG.oracles[index])
    key = SecretKey(bytes.fromhex(KAT["seckeys"][index]))
    assert key.sign(seen.message, bytes(32)).hex() == known["sig"]


@pytest.mark.parametrize("name", REPORTS)
def test_report_is_rebuilt_and_certified(name: str) -> None:
    known, observations = KAT[name], REPORTS[name]
    report = Report.decode(bytes.fromhex(known["bytes"]))
    rebuilt = propose(CONFIG, FEED.feed_id, KAT["round_id"], observations, bytes(32), report.time)
    assert rebuilt == report
    assert rebuilt.encode().hex() == known["bytes"]
    assert rebuilt.hash.hex() == known["msg"]
    assert (rebuilt.price_e8, rebuilt.conf_e8, rebuilt.grade) == (
        known["price_e8"],
        known["conf_e8"],
        Grade(known["grade"]),
    )
    certificate = Certificate(report, tuple((i, bytes.fromhex(s)) for i, s in known["sigs"]))
    certificate.check(CONFIG, FEED.feed_id)
    assert Certificate.decode(certificate.encode()) == certificate
    for index, signature in known["sigs"]:
        key = SecretKey(bytes.fromhex(KAT["seckeys"][index]))
        assert key.sign(report.hash, bytes(32)).hex() == signature


@pytest.mark.parametrize("name", REPORTS)
def test_an_honest_oracle_signs_the_known_reports(name: str) -> None:
    observations = REPORTS[name]
    report = Report.decode(bytes.fromhex(KAT[name]["bytes"]))
    view = View(
        own=SIGNED[0].observation,
        held={s.oracle: s for s in observations},
        fresh={s.oracle: s for s in observations},
        last=None,
        jump=None,
        excluded=(),
    )
    proposal = Proposal(report, tuple(observations), None)
    assert check_proposal(CONFIG, FEED.feed_id, proposal, view, report.time) is None


def test_merkle_root_of_three_promotes_the_odd_leaf() -> None:
    a, b, c = (s.leaf for s in SIGNED)
    root = merkle.node(merkle.node(a, b), c)
    assert root.hex() in KAT["report_full"]["bytes"]


def _evidence(row: dict[str, object]) -> Evidence:
    return Evidence(*(bytes.fromhex(str(row[k])) for k in ("pubkey", "a", "a_sig", "b", "b_sig")))


def test_equivocation() -> None:
    row = VECTORS["native_equivocation"]
    proof = Evidence(
        bytes.fromhex(row["pubkey"]),
        *(bytes.fromhex(row[side][field]) for side in "ab" for field in ("bytes", "sig")),
    )
    assert proof.check(CONFIG) == 2
    assert Evidence.decode(proof.encode()) == proof


@pytest.mark.parametrize("row", VECTORS["native_equivocation_negative"], ids=lambda r: r["name"])
def test_equivocation_negatives(row: dict[str, str]) -> None:
    with pytest.raises(SignatureError, match="differ in kind, configuration, feed or round"):
        _evidence(row).check(CONFIG)


@pytest.mark.parametrize("row", VECTORS["native_negative"][:2], ids=lambda r: r["name"])
def test_observations_signed_over_the_wrong_hash(row: dict[str, str]) -> None:
    seen = Observation.decode(bytes.fromhex(row["bytes"]))
    signed = SignedObservation(0, seen, bytes.fromhex(row["sig"]))
    assert not signed.verify(bytes.fromhex(row["pubkey"]))


def test_two_signatures_of_one_oracle_are_no_quorum() -> None:
    row = VECTORS["native_negative"][2]
    report = Report.decode(bytes.fromhex(row["bytes"]))
    with pytest.raises(EncodingError, match="strictly ascend"):
        Certificate(report, tuple((i, bytes.fromhex(s)) for i, s in row["sigs"]))


def test_every_native_vector_is_used() -> None:
    assert len(VECTORS["native_negative"]) == 3
    assert len(VECTORS["native_equivocation_negative"]) == 2
    assert {k for k in VECTORS if k.startswith("native")} == {
        "native_kat",
        "native_equivocation",
        "native_equivocation_negative",
        "native_negative",
    }


@pytest.mark.parametrize("row", VECTORS["median_cases"], ids=lambda r: r["name"])
def test_median_cases(row: dict[str, object]) -> None:
    honest, liar = row["honest"], row["liar"]
    assert isinstance(honest, list)
    median = quorum.median([*honest, liar])
    assert median == row["median"]
    assert min(honest) <= median <= max(honest)


@pytest.mark.parametrize("row", VECTORS["two_obs_cases"], ids=lambda r: r["name"])
def test_two_observation_cases(row: dict[str, list[object]]) -> None:
    values = [int(str(v)) for v in row["values"]]
    median, grade = row["expect"]
    assert quorum.median(values) == median
    assert quorum.grade(values, 1, CONFIG.delta_ppm).name == grade


def test_the_genesis_hash_is_regtest_in_internal_order() -> None:
    genesis = bytes.fromhex("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")
    assert CONFIG.genesis_hash == genesis[::-1]
