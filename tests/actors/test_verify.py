"""``verify``: every kind in every form; forgeries, nonsense and hostile files get one sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from actors.key_commands import init
from actors.network import load_network
from actors.verify_command import Verdict, judge, verify
from protocol.errors import ConfigError, EncodingError
from protocol.oracle import evidence
from protocol.oracle.expiry import ExpiryCertificate, ExpirySlot, expiry_of
from tests.builders.batches import FEEDS, BatchNetwork, flat
from tests.builders.epochs import certificate
from tests.builders.histories import chain
from tests.builders.oracles import (
    AUX,
    CONFIG,
    FEED_ID,
    KEYS,
    PRICE,
    ROUND,
    make_config,
    observed,
)

CHAIN = chain(3)
CERTIFICATE = CHAIN[0]
BATCH = BatchNetwork().run({i: flat(PRICE) for i in range(3)})
assert BATCH is not None
FEED = BATCH.feed_certificate(FEEDS[1])
EXPIRY = expiry_of(
    ExpirySlot(
        config_digest=CONFIG.digest, feed_id=FEED_ID, start_round=ROUND, target_round=ROUND + 2
    ),
    10,
    [c.report for c in CHAIN],
)
EXPIRED = ExpiryCertificate(EXPIRY, tuple((i, KEYS[i].sign(EXPIRY.hash, AUX)) for i in (0, 2)))
EVIDENCE = evidence.of_observations(KEYS[2].public, observed(2), observed(2, PRICE + 1))
CASES = {
    "certificate": ("certificate", CERTIFICATE.encode()),
    "batch": ("batch", BATCH.encode()),
    "feed of a batch": ("batch", FEED.encode()),
    "expiry": ("expiry", EXPIRED.encode()),
    "evidence": ("evidence", EVIDENCE.encode()),
}
DETAILS = {
    "certificate": {"round": ROUND, "price": "83744.00000000", "grade": "FULL"},
    "batch": {"round": ROUND, "prices": {f.hex(): "83744.00000000" for f in FEEDS}},
    "feed of a batch": {"round": ROUND, "price": "83744.00000000", "feed": FEEDS[1].hex()},
    "expiry": {"round": ROUND + 2, "price": "83744.02000000"},
    "evidence": {"oracle": 2},
}


def forms(kind: str, data: bytes) -> dict[str, tuple[bytes, bool]]:
    """The bytes of a file, and whether it has the configuration in it."""
    config = CONFIG.encode().hex()
    return {
        "hex": (data.hex().encode() + b"\n", False),
        "upper hex": (data.hex().upper().encode(), False),
        "json": (json.dumps({"config": config, kind: data.hex()}).encode(), True),
        "json with kind": (
            json.dumps({"kind": kind, "config": config, "data": data.hex()}).encode(),
            True,
        ),
        "json without config": (json.dumps({"data": data.hex()}).encode(), False),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", forms("certificate", b""))
def test_every_kind_is_valid_in_every_form(case: str, form: str) -> None:
    kind, data = CASES[case]
    text, complete = forms(kind, data)[form]
    verdict = judge(text, CONFIG)
    assert (verdict.kind, verdict.reason) == (kind, None)
    assert verdict.details.items() >= DETAILS[case].items()
    assert verdict.details["config"] == CONFIG.digest.hex()
    alone = judge(text, None)
    assert (alone == verdict) if complete else ("--config" in str(alone.reason))


@pytest.mark.parametrize("case", CASES)
def test_any_flipped_bit_makes_it_invalid(case: str) -> None:
    kind, data = CASES[case]
    for at in range(0, len(data), 7):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        record = {"config": CONFIG.encode().hex(), kind: bad.hex()}
        verdict = judge(json.dumps(record).encode(), None)
        assert verdict.reason, f"byte {at}"
        assert verdict.details == {}


@pytest.mark.parametrize("case", CASES)
def test_any_other_length_is_invalid(case: str) -> None:
    _, data = CASES[case]
    for bad in (data[:-1], data + b"\0", data[:4], data[:100], data + data):
        assert judge(bad.hex().encode(), CONFIG).reason


def test_the_configuration_that_you_trust_goes_before_the_one_in_the_file() -> None:
    """Anybody can make three keys and certify anything with them."""
    mallory = make_config(epoch=9)
    made = certificate(mallory)
    record = {"config": mallory.encode().hex(), "certificate": made.encode().hex()}
    text = json.dumps(record).encode()
    assert judge(text, None).details["config"] == mallory.digest.hex()
    assert "another configuration" in str(judge(text, CONFIG).reason)


def test_too_few_signatures_are_named() -> None:
    alone = replace(CERTIFICATE, signatures=CERTIFICATE.signatures[:1])
    assert "1 signatures, needed are 2" in str(judge(alone.encode().hex().encode(), CONFIG).reason)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"", "file: hex"),
        (b"xyz", "hex is needed"),
        (b"\xff\xfe\x00", "neither hex nor JSON"),
        (b"00", "magic"),
        (b"52505431", "length"),
        (CONFIG.encode().hex().encode(), "this is a configuration"),
        (b"{", "no JSON"),
        (b"{}", "needs `config`"),
        (b"[]", "hex is needed"),
        (b'{"a": ' + b"[" * 100_000, "no JSON"),
        (b'{"data": 5}', "data: hex"),
        (b'{"data": null}', "data: hex"),
        (b'{"data": "abc"}', "data: hex"),
        (b'{"data": "00", "data": "00"}', "twice"),
        (b'{"data": "00", "kind": ["expiry"]}', "kind"),
        (b'{"data": "00", "kind": "oracle"}', "kind 'oracle': write one of"),
        (b'{"data": "00"}', "kind"),
        (b'{"data": "00", "certificate": "00"}', "one of"),
        (b'{"certificate": "00", "config": {}}', "config: hex"),
        (b'{"certificate": "00"}', "--config"),
        (b'{"certificate": "00", "config": "00"}', "config: 1 bytes are too few"),
        (b'{"evidence": "' + EXPIRED.encode().hex().encode() + b'"}', "EVI1"),
        (b'{"expiry": "' + b"9" * 5000 + b'"}', "expiry certificate length"),
        (b'{"x": ' + b"9" * 5000 + b"}", "no JSON"),
    ],
)
def test_nonsense_gets_a_sentence(text: bytes, names: str) -> None:
    trusted = None if b"config" in text or names == "--config" else CONFIG
    verdict = judge(text, trusted)
    assert names in str(verdict.reason)
    assert "\n" not in str(verdict.reason)
    assert verdict.details == {}


MAGICS = [data[:4] for _, data in CASES.values()] + [b"EVI2", b"EXN1", b"ROT1", b"CFG1", b"OBS1"]


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=900), st.sampled_from(list(CASES.values())))
def test_no_bytes_cause_more_than_a_verdict(
    magic: bytes, rest: bytes, case: tuple[str, bytes]
) -> None:
    kind, data = case
    for message in (magic + rest, data[: len(rest)] + rest, magic + data[4:]):
        if message != data:
            for text in (message.hex().encode(), json.dumps({kind: message.hex()}).encode()):
                assert isinstance(judge(text, CONFIG), Verdict)
                assert judge(text, CONFIG).reason


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.text() | st.integers(), lambda v: st.lists(v), max_leaves=5))
def test_no_json_causes_more_than_a_verdict(value: Any) -> None:
    for key in ("config", "data", "certificate", "batch", "expiry", "evidence", "kind"):
        assert judge(json.dumps({key: value, "x": value}).encode(), None).reason


app = typer.Typer()
app.command()(verify)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code
    return result.stdout


def test_the_command_says_it_by_its_exit_code_too(tmp_path: Path) -> None:
    file, config = tmp_path / "evidence.hex", tmp_path / "config.hex"
    file.write_text(EVIDENCE.encode().hex())
    config.write_text(CONFIG.encode().hex() + "\n")
    assert run(file, "--config", config) == "evidence: valid\n"
    answer = json.loads(run(file, "--config", config, "--json"))
    assert answer == {
        "kind": "evidence",
        "valid": True,
        "reason": None,
        "oracle": 2,
        "config": CONFIG.digest.hex(),
    }
    answer = json.loads(run(file, "--json", code=1))
    assert (answer["kind"], answer["valid"]) == ("evidence", False)
    with pytest.raises(EncodingError, match="--config"):
        run(file)


def test_a_network_file_is_a_configuration(tmp_path: Path) -> None:
    init(tmp_path / "net", 3, None, 7000, None, "live")
    config = load_network(tmp_path / "net/network.toml").config
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"certificate": CERTIFICATE.encode().hex()}))
    with pytest.raises(EncodingError, match="is unknown: another network"):
        run(file, "--config", tmp_path / "net/network.toml")
    assert config.digest != CONFIG.digest


@pytest.mark.parametrize("arguments", [["nowhere"], ["nowhere", "--json"]])
def test_a_missing_file_is_an_error_line(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="nowhere: cannot be read"):
        run(*arguments)


def test_a_wrong_configuration_file_is_named(tmp_path: Path) -> None:
    file, bad = tmp_path / "c", tmp_path / "config"
    file.write_text(CERTIFICATE.encode().hex())
    for text in ("", "zz", "00", CERTIFICATE.encode().hex(), "é"):
        bad.write_text(text)
        with pytest.raises(ConfigError, match=r"no network\.toml and no CFG1 hex"):
            run(file, "--config", bad)
    with pytest.raises(ConfigError, match="cannot be read"):
        run(file, "--config", tmp_path / "none.toml")


def test_an_endless_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("actors.verify_command.MAX_BYTES", 1000)
    (tmp_path / "big").write_bytes(bytes(1001))
    with pytest.raises(ConfigError, match="more than 1000 bytes"):
        run(tmp_path / "big")
