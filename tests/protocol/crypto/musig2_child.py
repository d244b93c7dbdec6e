"""Feeds MuSig2 what a hostile peer, or a careless caller, might: ``musig2_child.py SEED ROUNDS``.

It prints, as JSON, how many calls of each kind were refused with SignatureError and how many
passed. An abort() of the library, or any other exception, ends it with another exit code.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from coincurve import PrivateKey

from protocol.crypto.keys import CURVE_ORDER, SecretKey
from protocol.crypto.musig2 import AggregateKey, SecretNonce, Session, nonce_agg
from protocol.errors import SignatureError

T = TypeVar("T")
FIELD = 2**256 - 2**32 - 977


class Peer:
    """Draws arguments: mostly well-formed, often with one thing wrong."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys = [SecretKey(self.random.randbytes(32)) for _ in range(3)]

    def point(self) -> bytes:
        draw = self.random
        odd = [
            b"",
            bytes(33),
            b"\x02" + FIELD.to_bytes(32),
            b"\x03" + b"\xff" * 32,
            draw.randbytes(33),
            draw.choice([b"\x00", b"\x04", b"\x05", b"\x06", b"\x07"]) + self.keys[0].public,
            PrivateKey(b"\x01" * 32).public_key.format(compressed=False),
            self.keys[0].public,
            self.keys[1].point + b"\x00",
            bytes([self.keys[2].point[0] ^ 1]) + self.keys[2].public,
        ]
        return draw.choice([draw.choice(odd), *[key.point for key in self.keys] * 3])

    def nonce(self) -> bytes:
        draw = self.random
        mine = SecretNonce(self.key(), AggregateKey([self.keys[0].point]), draw.randbytes).public
        odd = [b"", bytes(66), draw.randbytes(66), mine[:65], mine + b"\x00", mine[:33] + bytes(33)]
        odd += [mine[33:] + mine[:33], mine[:33] * 2, self.point() + self.point()]
        return draw.choice([draw.choice(odd), mine, mine, mine])

    def scalar(self) -> bytes:
        draw = self.random
        edges = [0, 1, CURVE_ORDER - 1, CURVE_ORDER, CURVE_ORDER + 1, 2**256 - 1]
        odd = [b"", draw.randbytes(31), draw.randbytes(33), *[n.to_bytes(32) for n in edges]]
        return draw.choice([draw.choice(odd), draw.randbytes(32)])

    def key(self) -> SecretKey:
        return self.random.choice(self.keys)

    def some(self, draw: Callable[[], bytes]) -> list[bytes]:
        return [draw() for _ in range(self.random.choice([0, 1, 2, 2, 2, 3]))]


class Log:
    """What became of each kind of call."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()

    def attempt(self, name: str, call: Callable[[], T]) -> T | None:
        try:
            result = call()
        except SignatureError:
            self.refused[name] += 1
            return None
        self.passed[name] += 1
        return result


def round_of(peer: Peer, log: Log) -> None:
    """One session's worth of calls; each may be refused, and the rest goes on without it."""
    draw = peer.random
    keys = peer.keys[:2]
    honest = AggregateKey([key.point for key in keys])
    other = log.attempt("key", lambda: AggregateKey(peer.some(peer.point)))
    tweaked = log.attempt(
        "tweak", lambda: honest.tweaked(peer.scalar(), x_only=draw.random() < 0.5)
    )
    aggregate = draw.choice([honest, tweaked or honest, other or honest])
    log.attempt("nonce sum", lambda: nonce_agg(peer.some(peer.nonce)))
    message = draw.choice([draw.randbytes(32), draw.randbytes(32), peer.scalar()])
    entropy = draw.choice([draw.randbytes, draw.randbytes, bytes, lambda n: b""])
    nonces = [
        log.attempt("nonce", lambda k=key: SecretNonce(k, aggregate, entropy, message))
        or SecretNonce(key, honest, draw.randbytes)
        for key in keys
    ]
    public = [nonce.public for nonce in nonces]
    public = draw.choice([public, public, peer.some(peer.nonce)])
    session = log.attempt("session", lambda: Session(aggregate, public, message))
    if session is None:
        session = Session(honest, [nonce.public for nonce in nonces], draw.randbytes(32))
    partials = [log.attempt("sign", lambda n=n: session.sign(nonces[n], keys[n])) for n in range(2)]
    for _ in range(3):
        log.attempt("sign", lambda: session.sign(draw.choice(nonces), peer.key()))
    given = [one if one and draw.random() < 0.9 else peer.scalar() for one in partials]
    log.attempt("verify", lambda: session.verify(draw.randrange(-2, 5), draw.choice(given)))
    log.attempt("aggregate", lambda: session.aggregate(draw.choice([given, given[:1], [], given])))


def main() -> None:
    peer, log = Peer(int(sys.argv[1])), Log()
    for _ in range(int(sys.argv[2])):
        round_of(peer, log)
    print(json.dumps({"refused": log.refused, "passed": log.passed}))


if __name__ == "__main__":
    main()
