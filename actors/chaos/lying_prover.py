"""``python -m actors.chaos.lying_prover CONFIG``: ``oracle-vm prover run`` with false roots."""

import asyncio
import sys
from pathlib import Path

from actors.logs import open_log
from actors.prover_config import load_prover
from actors.prover_frames import Request
from actors.prover_program import ProverProgram
from actors.until_stopped import until_stopped


class LyingProver(ProverProgram):
    """Serves as the honest one does; no root that it gives is true."""

    def _prove(self, request: Request) -> list[bytes]:
        return [bytes(byte ^ 0xFF for byte in root) for root in super()._prove(request)]


def main() -> None:
    """Serve until it is ended."""
    open_log()
    asyncio.run(until_stopped(LyingProver(load_prover(Path(sys.argv[1]))).serve()))


if __name__ == "__main__":
    main()
