"""Chains of certificates, and histories that hold them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from actors.history import History
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.feed import Feed
from tests.builders.epochs import certificate
from tests.builders.oracles import CONFIG, PRICE, ROUND

FEED = Feed("BTC/USD")


def chain(
    count: int, first: int = ROUND, step: int = 1, previous: bytes = bytes(32)
) -> list[Certificate]:
    """Certificates that link to each other, the price rises by one cent a round."""
    found = []
    for number in range(count):
        made = certificate(
            round_id=first + number * step, previous=previous, price=PRICE + number * 10**6
        )
        found.append(made)
        previous = made.hash
    return found


def store(path: Path, certificates: list[Certificate], *configs: OracleConfig) -> Path:
    """A closed history with these certificates, in this order."""
    history = History.open(path, *(configs or (CONFIG,)), feeds=(FEED,))
    for made in certificates:
        history.append(made.encode())
    history.close()
    return path


def alter(path: Path, *statements: str, parameters: tuple[object, ...] = ()) -> None:
    """What somebody does who has the file and a copy of SQLite."""
    with closing(sqlite3.connect(path)) as db, db:
        for name in ("certificate_stays", "certificate_remains"):
            db.execute(f"DROP TRIGGER IF EXISTS {name}")
        for sql in statements:
            db.execute(sql, parameters)
