"""``python -m actors.chaos.traitor CONFIG``: whoever has an oracle's keys and no conscience.

It runs in the oracle's place, on its address and with its keys, without a sign guard, and repeats
what it hears: of every round it signs two observations with two prices, and shows one of them to
half of its peers and the other to the rest. Both prices are near the true one: nobody refuses them
for what they say.
"""

import asyncio
import secrets
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from actors.keyfile import load_keys
from actors.logs import open_log
from actors.operator import Operator, load_operator
from actors.transport import Transport
from actors.transport_options import Host
from actors.until_stopped import until_stopped
from protocol.oracle.observation import SignedObservation

APART_PPM: Final = 1_000
MILLION: Final = 1_000_000


class Traitor:
    """An oracle's identity and signature, in the hands of somebody else."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._keys = load_keys(operator.keys, operator.publics)
        self._round = -1
        self._transport: Transport

    async def serve(self) -> None:
        """Until it is cancelled."""
        operator, clock = self._operator, self._operator.network.clock
        self._transport = Transport(
            me=operator.address,
            key=self._keys["identity"],
            roster=operator.network.peers,
            listen=(operator.listen.host, operator.listen.port),
            digest=operator.network.config.digest,
            receive=self.receive,
            host=Host(now_ms=clock.now_ms),
            limits=operator.limits,
        )
        async with self._transport:
            await asyncio.Event().wait()

    def receive(self, sender: int, message: Any) -> None:
        """The first observation of a round that another oracle shows is told again, twice."""
        if not isinstance(message, SignedObservation) or message.round <= self._round:
            return
        self._round = message.round
        peers = sorted(self._transport.connected)
        for half, price_ppm in ((peers[::2], MILLION), (peers[1::2], MILLION + APART_PPM)):
            self._transport.send(half, self._signed(message, price_ppm))

    def _signed(self, heard: SignedObservation, price_ppm: int) -> SignedObservation:
        seen = heard.observation
        # Time in ms is a seq that nobody has seen yet.
        mine = replace(
            seen,
            seq=self._operator.network.clock.now_ms(),
            price_e8=seen.price_e8 * price_ppm // MILLION,
        )
        signature = self._keys["oracle"].sign(mine.message, secrets.token_bytes(32))
        return SignedObservation(self._operator.address, mine, signature)


def main() -> None:
    """Lie until it is ended."""
    open_log()
    asyncio.run(until_stopped(Traitor(load_operator(Path(sys.argv[1]))).serve()))


if __name__ == "__main__":
    main()
