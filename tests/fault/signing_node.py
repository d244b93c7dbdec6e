"""A node that signs a report a round, as fast as its signer lets it, and says what it got.

python signing_node.py SOCKET PUBLIC PRICE

A line on stdout for each signature: the report and the signature (hex). It ends when its signer
never comes back, and says why on stderr.
"""

import sys
from pathlib import Path

from actors.signer_client import Signer
from actors.signer_dial import SocketDial
from protocol.errors import GuardError, SignerError
from protocol.oracle.layout import ZERO32
from protocol.oracle.report import MAGIC, Grade, Report


def main(path: str, public: str, price: str) -> None:
    signer = Signer(SocketDial(Path(path)))
    key, round_id = signer.oracle(bytes.fromhex(public)), 1
    while True:
        report = Report(
            config_digest=ZERO32,
            feed_id=ZERO32,
            round=round_id,
            price_e8=int(price),
            conf_e8=0,
            grade=Grade.FULL,
            observers=1,
            time=0,
            observations_root=ZERO32,
            prev_report_hash=ZERO32,
        )
        try:
            key.record(MAGIC, ZERO32, ZERO32, round_id, report.encode())
            print(report.encode().hex(), key.sign(report.hash).hex(), flush=True)
        except SignerError:
            signer.check()
            continue  # the same round again: it was signed, or it was not
        except GuardError:
            pass  # another one has the round
        round_id += 1


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SignerError as error:
        sys.exit(str(error))
