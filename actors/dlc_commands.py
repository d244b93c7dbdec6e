"""``oracle-vm oracle dlc ...``: announce events of prices, attest them once they are certified.

The ledger is in FOLDER/dlc of the oracle. Nobody but the operator's own user can read its journal;
FOLDER/dlc/public is what the gateway serves ([api] dlc).
"""

import json
import secrets
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.dlc_store import DlcStore
from actors.epochs import Networks
from actors.history import History
from actors.keyfile import load_key, load_seed
from actors.operator import Operator, load_operator
from actors.signer_config import key_file
from actors.verify_command import parse, read
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.batch_certificate import FEED_MAGIC, BatchCertificate, FeedCertificate
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.dlc.announcement import Announcement
from protocol.oracle.dlc.attestation import attest as sign_outcome
from protocol.oracle.dlc.nonce import make_event
from protocol.oracle.dlc.price import (
    SCALES,
    PriceCertificate,
    Scale,
    answer_of,
    asked,
    maturity_round,
)
from protocol.oracle.expiry import ExpiryCertificate

dlc = typer.Typer(no_args_is_help=True, help="Events for discreet log contracts.")

Config = Annotated[Path, typer.Option(help="The oracle's TOML file.")]
SignerFile = Annotated[
    Path | None, typer.Option("--signer", help="The signer's TOML file, if it has the keys.")
]


@dlc.command()
def announce(
    config: Config,
    maturity: Annotated[
        str, typer.Option(metavar="TIME", help="ISO 8601 with a zone, or unix seconds.")
    ],
    feed: Annotated[str, typer.Option(help="Of the network.")] = "BTC/USD",
    unit: Annotated[str, typer.Option(help="usd: 20 bits; cents: 27 bits.")] = "usd",
    signer: SignerFile = None,
) -> None:
    """Announce the price of a feed at a time to come; JSON for `verify`. The same event again
    prints the same announcement."""
    operator = _oracle(config)
    at_s = _seconds(maturity)
    if 1000 * at_s <= operator.network.clock.now_ms():
        raise ConfigError(f"--maturity {maturity}: it is over; name a time to come")
    if unit not in SCALES:
        raise ConfigError(f"--unit {unit}: choose from {', '.join(SCALES)}")
    maturity_round(operator.network.config, at_s)
    scale = SCALES[unit]
    event_id = scale.event_id(operator.network.feed(feed), at_s)
    with _store(operator, signer) as (store, key, seed):
        event = make_event(seed, event_id, at_s, scale.descriptor)
        made = store.announce(Announcement.sign(key, event, secrets.token_bytes(32)))
    _print(event_id, announcement=made.encode().hex())


@dlc.command()
def attest(
    config: Config,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A certificate, batch or expiry, as `verify`.")
    ],
    signer: SignerFile = None,
) -> None:
    """Attest every announced event that this certified price answers; one JSON line each. Again
    with the same price: the same bytes. With another one: refused, for ever."""
    operator = _oracle(config)
    kind, _, message = parse(read(file))
    with _store(operator, signer) as (store, key, seed):
        due = list(_due(operator.networks, store.ledger.announced, kind, message))
        if not due:
            raise ConfigError(f"{file}: {kind}: it answers no event that was announced")
        for event_id, scale, price_e8 in due:
            outcomes = scale.outcomes(price_e8)
            attested = store.attest(
                event_id, outcomes, lambda of, texts: sign_outcome(key, seed, of, texts)
            )
            _print(
                event_id,
                value=scale.descriptor.value_of(outcomes),
                announcement=store.ledger.announcement(event_id).encode().hex(),
                attestation=attested.encode().hex(),
            )


def _due(
    networks: Networks, announced: Container[str], kind: str, message: bytes
) -> Iterator[tuple[str, Scale, int]]:
    """The announced events that a message answers, each with its scale and price in 10^-8 USD.
    It may be of any epoch that had a say in its round. Errors as ``answer_of``."""
    for certificate in _certificates(networks, kind, message):
        feed_id, round_id = asked(certificate)
        at_s = round_id * networks.newest.config.interval_ms // 1000
        names = {
            scale.event_id(feed, at_s): scale
            for feed in networks.feeds
            if feed.feed_id == feed_id
            for scale in SCALES.values()
        }
        due = [name for name in names if name in announced]
        if due:
            answer = answer_of(_config(networks, certificate), certificate)
            yield from ((name, names[name], answer.price_e8) for name in due)


def _config(networks: Networks, certificate: PriceCertificate) -> OracleConfig:
    """What to check it under; QuorumError if its epoch is unknown or had no say in its round."""
    if isinstance(certificate, ExpiryCertificate):
        return networks.epochs.of(certificate.expiry.slot.config_digest)
    return networks.epochs.of_price(certificate)


def _certificates(networks: Networks, kind: str, message: bytes) -> Iterator[PriceCertificate]:
    """Those in a message, not yet checked; ConfigError for a message without any."""
    if kind == "expiry":
        yield ExpiryCertificate.decode(message)
    elif kind == "certificate":
        yield Certificate.decode(message)
    elif kind != "batch":
        raise ConfigError(f"FILE: {kind}: name a certificate, a batch or an expiry")
    elif message[:4] == FEED_MAGIC:
        yield FeedCertificate.decode(message)
    else:
        batch = BatchCertificate.decode(message)
        known = {feed.feed_id for feed in networks.feeds}
        yield from (batch.feed_certificate(feed) for feed in batch.reports.feeds if feed in known)


def _oracle(file: Path) -> Operator:
    operator = load_operator(file)
    if operator.role != "oracle":
        raise ConfigError(f"{file}: [node] role is {operator.role}, not oracle: name another file")
    return operator


@contextmanager
def _store(operator: Operator, signer: Path | None) -> Iterator[tuple[DlcStore, SecretKey, bytes]]:
    """The ledger, the key that attests and the seed of its nonces."""
    key = load_key(key_file(operator.keys, "dlc", signer))
    seed = load_seed(key_file(operator.keys, "nonce_seed", signer))
    store = DlcStore.open(operator.folder / "dlc", key.public)
    try:
        if store.is_restored:
            store.resume(_reached_s(operator))
        yield store, key, seed
    finally:
        store.close()


def _reached_s(operator: Operator) -> int:
    """Until when something may have been attested, unix s: now, by the clock or, if that is behind,
    by the newest certified report."""
    reached_ms: int = operator.networks.clock.now_ms()
    path = operator.folder / "history.sqlite"
    if path.exists():
        with closing(History.read(path)) as history:
            heads = (history.head(feed_id) for feed_id in history.feeds)
            reached_ms = max([reached_ms, *(head.report.time for head in heads if head)])
    return -(-reached_ms // 1000)


def _seconds(text: str) -> int:
    """Unix seconds of ISO 8601 with a zone, or of digits."""
    try:
        found = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else None
        found = found or datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None or found.microsecond:
        raise ConfigError(f"--maturity {text}: write 2026-12-25T08:00:00Z, or unix seconds")
    return int(found.timestamp())


def _print(event_id: str, **fields: Any) -> None:
    print(json.dumps({"event_id": event_id, **fields}))
