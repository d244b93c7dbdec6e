"""``oracle-vm verify FILE``: whether a certificate, batch, expiry or evidence is what it claims;
with ``--anchor TXID``, whether a transaction on the chain commits to it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from actors.epochs import load_networks
from actors.history_export import price_text
from actors.json_text import json_object
from protocol.errors import ConfigError, EncodingError, ProtocolError
from protocol.oracle import batch as bat
from protocol.oracle import batch_certificate as batch_cert
from protocol.oracle import config as cfg
from protocol.oracle import evidence as evi
from protocol.oracle import expiry as exp
from protocol.oracle import report as rpt
from protocol.oracle.batch_certificate import BatchCertificate, FeedCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.epochs import Epochs
from protocol.oracle.evidence import Evidence
from protocol.oracle.expiry import ExpiryCertificate

MAX_BYTES: Final = 64 << 20
"""In a file, at most: a batch certificate of 65,535 feeds in hex has 22 MB."""

Details = dict[str, Any]
Judge = Callable[[bytes, OracleConfig], Details]
Trusted = OracleConfig | Epochs
"""One configuration, or those that rotations lead to from the one in network.toml."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: ``kind`` is "unknown" if even that could not be read; ``reason`` is None if
    it is valid; ``details`` says of what round and price it is, or whom it convicts."""

    kind: str
    reason: str | None
    details: Details


def verify(
    file: Annotated[
        Path | None,
        typer.Argument(help="Hex, or JSON with `config` and what to check."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="What you trust: network.toml with its rotations, or CFG1 in hex."),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="TXID", help="Check what this transaction's OP_RETURN commits to."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="The chain: a folder of `chain serve`.")
    ] = None,
    socket: Annotated[Path | None, typer.Option(help="Or its socket.")] = None,
    contract: Annotated[
        Path | None,
        typer.Option(help="A contract file. FILE, or the file itself, has the expiry or claim."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="A node's history.sqlite, whose head was anchored.")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Blocks that must hold the anchor.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a price, batch or expiry certificate, or evidence, against its oracle configuration; or
    a DLC announcement, and its attestation with it; the exit code says it too.

    Without --config the configuration in the file counts: compare its digest with one you trust.

    With --anchor, and the chain by --dir or --socket: whether that transaction commits to the
    claim that settles a --contract, or to the head of a --history.
    """
    if anchor is not None:
        # Not at the top: a certificate is checked without a node and its libraries.
        from actors.anchor_verdict import judge_anchor

        verdict = judge_anchor(anchor, depth, folder, socket, file, contract, history)
    elif file is None:
        raise ConfigError("FILE: say what to check, or --anchor TXID")
    else:
        verdict = judge(read(file), None if config is None else load_config(config))
    valid = verdict.reason is None
    if as_json:
        record = {"kind": verdict.kind, "valid": valid, "reason": verdict.reason}
        print(json.dumps(record | verdict.details))
        raise typer.Exit(0 if valid else 1)
    if verdict.reason is not None:
        raise EncodingError(verdict.reason)
    print(f"{verdict.kind}: valid")


def judge(data: bytes, trusted: Trusted | None) -> Verdict:
    """The verdict on the bytes of a file. ``trusted`` goes before a configuration in the file."""
    # Not at the top: it uses what is here.
    from actors.verify_dlc import judge_dlc

    if (verdict := judge_dlc(data)) is not None:
        return verdict
    kind = "unknown"
    try:
        kind, config, message = parse(data)
        if isinstance(trusted, Epochs):
            used: OracleConfig | None = _of_epoch(trusted, kind, message)
        else:
            used = trusted or (None if config is None else OracleConfig.decode(config))
        if used is None:
            raise EncodingError("config: none; name the one you trust with --config")
        return Verdict(kind, None, _JUDGES[kind](message, used) | {"config": used.digest.hex()})
    except ProtocolError as error:
        return Verdict(kind, str(error), {})


def load_config(path: Path) -> Trusted:
    """The configurations of a network file and the rotations beside it, or the one in a file of
    CFG1 hex; ConfigError if it is none."""
    if path.suffix == ".toml":
        return load_networks(path).epochs
    try:
        return OracleConfig.decode(from_hex("config", read(path).decode("ascii").strip()))
    except (EncodingError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: no network.toml and no CFG1 hex ({error})") from None


def _of_epoch(epochs: Epochs, kind: str, message: bytes) -> OracleConfig:
    """The configuration that the message names; QuorumError if it is none of these, or if it may
    not certify the round of a price."""
    if kind in ("certificate", "batch"):
        return epochs.of_price(_PRICES[message[:4]].decode(message))
    if kind == "expiry":
        return epochs.of(ExpiryCertificate.decode(message).expiry.slot.config_digest)
    return epochs.of(Evidence.decode(message).message_a[4:36])


def read(path: Path) -> bytes:
    """The bytes of a file; ConfigError if it cannot be read or is longer than anything here."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES} bytes, nothing to verify is that long")
    return data


def parse(data: bytes) -> tuple[str, bytes | None, bytes]:
    """Kind, configuration if there is one, and the message."""
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise EncodingError("neither hex nor JSON: write the bytes as hex") from None
    if not text.startswith("{"):
        message = from_hex("file", text)
        return _kind_of(message), None, message
    record = json_object(text)
    config = from_hex("config", record["config"]) if "config" in record else None
    found = [key for key in (*_JUDGES, "data") if key in record]
    if len(found) != 1:
        raise EncodingError(
            f"needs `config` and one of `data`, {', '.join(f'`{kind}`' for kind in _JUDGES)}"
        )
    message = from_hex(found[0], record[found[0]])
    said = found[0] if found[0] != "data" else record.get("kind", "")
    if said in ("", "certificate") and message[:4] in _KINDS:
        said = _KINDS[message[:4]]  # of a batch, too, people say certificate
    if not isinstance(said, str) or said not in _JUDGES:
        raise EncodingError(f"kind {str(said)[:40]!r}: write one of {', '.join(_JUDGES)}")
    return said, config, message


def from_hex(name: str, text: object) -> bytes:
    try:
        if isinstance(text, str) and text:
            return bytes.fromhex(text)
    except ValueError:
        pass
    raise EncodingError(f"{name}: hex is needed")


def _kind_of(message: bytes) -> str:
    magic = message[:4]
    if magic == cfg.MAGIC:
        raise EncodingError("this is a configuration: give it to --config, and what to check here")
    if magic not in _KINDS:
        known = ", ".join(m.decode() for m in _KINDS)
        raise EncodingError(f"magic {magic!r} is unknown, known are {known}")
    return _KINDS[magic]


def _certificate(data: bytes, config: OracleConfig) -> Details:
    certificate = Certificate.decode(data)
    certificate.check(config)
    return _price(certificate)


def _batch(data: bytes, config: OracleConfig) -> Details:
    """Of all feeds, or of one of them with its path."""
    if data[:4] == batch_cert.FEED_MAGIC:
        feed = FeedCertificate.decode(data)
        feed.check(config)
        return _price(feed)
    certificate = BatchCertificate.decode(data)
    certificate.check(config)
    prices = {feed_id.hex(): price_text(e8) for feed_id, e8 in certificate.prices.items()}
    return {"round": certificate.round, "prices": prices}


def _expiry(data: bytes, config: OracleConfig) -> Details:
    certificate = ExpiryCertificate.decode(data)
    certificate.check(config)
    expiry = certificate.expiry
    return {"round": expiry.end_round, "price": price_text(expiry.price_e8)}


def _evidence(data: bytes, config: OracleConfig) -> Details:
    return {"oracle": Evidence.decode(data).check(config)}


def _price(certificate: Certificate | FeedCertificate) -> Details:
    report = certificate.report
    return {
        "round": report.round,
        "price": price_text(report.price_e8),
        "grade": report.grade.name,
        "feed": report.feed_id.hex(),
    }


_JUDGES: Final[dict[str, Judge]] = {
    "certificate": _certificate,
    "batch": _batch,
    "expiry": _expiry,
    "evidence": _evidence,
}
_PRICES: Final[dict[bytes, Any]] = {
    rpt.MAGIC: Certificate,
    bat.REPORT_MAGIC: BatchCertificate,
    batch_cert.FEED_MAGIC: FeedCertificate,
}
_KINDS: Final = {
    rpt.MAGIC: "certificate",
    bat.REPORT_MAGIC: "batch",
    batch_cert.FEED_MAGIC: "batch",
    exp.MAGIC: "expiry",
    evi.MAGIC: "evidence",
    evi.MAGIC_CONTRACT: "evidence",
}
