"""What becomes of a transaction that the node refuses."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.party_core import PartyCore
from actors.party_send import send
from protocol.bitcoin.tx import hash_hex, outpoint, serialize, transaction, txid, txin, txout
from protocol.errors import ChainError, PolicyError, ProtocolError, SignatureError
from protocol.settlement.messages import Bump

TX = transaction([txin(outpoint(b"\x01" * 32, 0))], [txout(1_000, b"\x51")])
SCRIPT = "mempool-script-verify-flag-failed (OP_IF is discouraged)"


class Node:
    """Refuses everything, and mines what it is given."""

    def __init__(self, refusal: Exception, network: str = "regtest") -> None:
        self.refusal = refusal
        self.caps = SimpleNamespace(network=network)
        self.mined: list[object] = []

    def broadcast(self, tx: object) -> bytes:
        raise self.refusal

    def mine(self, *, txs: list[object]) -> None:
        self.mined += txs


@pytest.mark.parametrize("reason", [SCRIPT, SCRIPT.replace("mempool", "non-mandatory")])
def test_what_nodes_do_not_relay_is_mined_on_regtest(tmp_path: Path, reason: str) -> None:
    node = Node(PolicyError(reason))
    send(node, "holder:EXECUTE", TX, tmp_path)
    assert node.mined == [TX]


@pytest.mark.parametrize(
    "refusal",
    [
        PolicyError("insufficient fee, rejecting replacement"),
        PolicyError("txn-mempool-conflict"),
        ChainError("the node hangs"),
    ],
)
def test_what_another_transaction_keeps_out_waits(
    tmp_path: Path, refusal: ChainError, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(refusal)
    with caplog.at_level(logging.WARNING):
        send(node, "holder:EXECUTE", TX, tmp_path)
    assert not node.mined
    assert [record.message for record in caplog.records] == ["not broadcast"]
    assert not list(tmp_path.iterdir())


def test_elsewhere_a_person_is_given_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(PolicyError(SCRIPT), network="signet")
    with caplog.at_level(logging.ERROR):
        send(node, "holder:EXECUTE", TX, tmp_path)
    assert not node.mined
    (file,) = tmp_path.iterdir()
    assert file.name == f"{hash_hex(txid(TX))}.hex"
    assert bytes.fromhex(file.read_text()) == serialize(TX)
    (record,) = caplog.records
    assert record.message == "not relayed"
    assert "give the file to a miner" in record.fields["advice"]


class Willing:
    """Takes everything; knows ``known``."""

    def __init__(self, known: object = None) -> None:
        self._known = known
        self.sent: list[object] = []

    def spender(self, point: object) -> None:
        return None

    def tx(self, name: bytes) -> object:
        return self._known

    def broadcast(self, tx: object) -> bytes:
        self.sent.append(tx)
        return b""


class Purse:
    """A wallet that cannot pay."""

    def __init__(self, failure: ProtocolError) -> None:
        self._failure = failure

    def contribution(self, needs: object, again: object) -> None:
        raise self._failure


@pytest.mark.parametrize("failure", [ChainError("no coins"), SignatureError("of another")])
@pytest.mark.parametrize("known", [None, TX])
def test_what_nobody_can_pay_more_for_is_sent_at_its_own_rate(
    tmp_path: Path, failure: ProtocolError, known: object
) -> None:
    node = Willing(known)
    core = PartyCore.__new__(PartyCore)
    core.chain, core.wallet = node, Purse(failure)
    core.folder = SimpleNamespace(path=tmp_path)
    move = SimpleNamespace(name="holder:EXECUTE", anchor=0)
    core.party = SimpleNamespace(graph=SimpleNamespace(move=lambda name: move))
    core.do(Bump("holder:EXECUTE", TX, 20))
    assert node.sent == ([] if known else [TX])
