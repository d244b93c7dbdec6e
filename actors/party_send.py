"""A transaction on its way into a block, also where a node relays less than blocks may hold."""

import logging
from pathlib import Path
from typing import Final

from bitcoin.core import CTransaction

from actors.config import Chain
from actors.logs import event
from protocol.bitcoin.tx import hash_hex, serialize, txid
from protocol.errors import ChainError, PolicyError

SCRIPT_REFUSALS: Final = ("mempool-script-verify-flag", "non-mandatory-script-verify-flag")
"""How nodes begin their reason if they do not relay what a script does. Anything else, a fee or a
rival in the mempool, is no matter for a miner."""

log = logging.getLogger(__name__)


def send(chain: Chain, name: str, tx: CTransaction, folder: Path) -> None:
    """``tx`` into the mempool, or to who mines if this node relays no such script though a block
    may hold it (Bitcoin Knots and OP_IF): on regtest the node itself, elsewhere a person, for whom
    the transaction is written into ``folder``. What is refused is logged: the party asks again."""
    known = {"name": name, "txid": hash_hex(txid(tx))}
    try:
        chain.broadcast(tx)
        event(log, "broadcast", **known)
    except PolicyError as error:
        if not str(error).startswith(SCRIPT_REFUSALS):
            event(log, "not broadcast", logging.WARNING, **known, reason=str(error))
        elif chain.caps.network == "regtest":
            chain.mine(txs=[tx])
            event(log, "mined", **known, reason=str(error))
        else:
            _leave_for_miners(name, tx, folder, str(error))
    except ChainError as error:  # the next look says whether it is there, and asks again
        event(log, "not broadcast", logging.WARNING, **known, reason=str(error))


def _leave_for_miners(name: str, tx: CTransaction, folder: Path, reason: str) -> None:
    path = folder / f"{hash_hex(txid(tx))}.hex"
    path.write_text(serialize(tx).hex() + "\n")
    advice = "a block may hold it, this node does not relay it: give the file to a miner, or use a"
    event(
        log,
        "not relayed",
        logging.ERROR,
        name=name,
        file=str(path),
        reason=reason,
        advice=f"{advice} node with Bitcoin Core's policy",
    )
