"""PSBTs between this code and a real node: each reads what the other writes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.bitcoin.address import REGTEST, decode_address, encode_wif
from protocol.bitcoin.psbt import Psbt, combine, encode_psbt, parse_psbt, signed_tx
from protocol.bitcoin.tx import Coin, transaction, txin, txout, witness_stack
from protocol.crypto.keys import SecretKey
from protocol.errors import EncodingError
from regtest.bitcoind import BitcoindChain
from regtest.conformance.backends import BITCOIND
from regtest.node_wallet import NodeWallet
from regtest.rpc import RpcError
from regtest.wallet import Wallet

if missing := BITCOIND.missing():
    pytest.skip(missing, allow_module_level=True)

AUX = bytes(32)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bip174" / "psbt.json").read_text())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BitcoindChain]:
    with BitcoindChain(tmp_path_factory.mktemp("psbt") / "node") as chain:
        yield chain


@pytest.fixture(scope="module")
def theirs(node: BitcoindChain) -> NodeWallet:
    """The node's wallet with a Taproot coin and, of another key, a P2WPKH coin."""
    wallet = node.wallet("theirs")
    told = f"wpkh({encode_wif(bytes([5]) * 32, REGTEST)})"
    wallet.import_descriptor(told)
    public = node.rpc.call("getdescriptorinfo", told)["descriptor"]
    (address,) = node.rpc.call("deriveaddresses", public)
    for script in (wallet.script(), decode_address(address, REGTEST)):
        node.mine(to=script)
    node.mine(100)
    return wallet


@pytest.fixture(scope="module")
def ours(node: BitcoindChain, theirs: NodeWallet) -> Wallet:
    wallet = Wallet(node, SecretKey(b"\xa7" * 32))
    node.mine(to=wallet.script())
    node.mine(100)
    return wallet


def joint(ours: Wallet, theirs: NodeWallet) -> tuple[Psbt, list[Coin]]:
    """An unsigned PSBT that spends our coin and both of theirs."""
    coins = [ours.utxos()[0].coin, *theirs.coins()]
    assert sorted(len(coin.output.scriptPubKey) for coin in coins) == [22, 34, 34]
    tx = transaction([txin(c.outpoint) for c in coins], [txout(10_000_000, ours.script(2))])
    return Psbt.unsigned(tx, [coin.output for coin in coins]), coins


def unfinished(node: BitcoindChain, wallet: NodeWallet, psbt: Psbt) -> Psbt:
    """With the wallet's signatures, which it leaves to us to finish."""
    answer = node.rpc.call(
        "walletprocesspsbt", psbt.text, True, "DEFAULT", True, False, wallet=wallet.name
    )
    return parse_psbt(answer["psbt"])


@pytest.mark.parametrize("finalized", [True, False])
def test_wallets_sign_apart_and_the_node_accepts_the_whole(
    node: BitcoindChain, ours: Wallet, theirs: NodeWallet, finalized: bool
) -> None:
    asked, coins = joint(ours, theirs)
    half = ours.sign_psbt(asked, AUX)
    other = theirs.sign_psbt(asked) if finalized else unfinished(node, theirs, asked)
    assert any(b"\x08" in fields for fields in other.inputs) is finalized
    for told, n in ((half, range(1)), (other, range(1, 3))):
        signed = signed_tx(told.text, asked.tx)
        assert [i for i in range(3) if witness_stack(signed, i)] == [*n]
    whole = combine([half, other])
    tx = signed_tx(whole.encode(), asked.tx)
    kinds = {34: 1, 22: 2}
    sizes = [len(witness_stack(tx, n)) for n in range(3)]
    assert sizes == [kinds[len(coin.output.scriptPubKey)] for coin in coins]
    assert node.check(tx).consensus
    done = node.rpc.call("finalizepsbt", whole.text)
    assert done["complete"]
    assert done["hex"] == tx.serialize().hex()


def test_the_node_reads_what_we_write(
    node: BitcoindChain, ours: Wallet, theirs: NodeWallet
) -> None:
    asked, coins = joint(ours, theirs)
    read = node.rpc.call("decodepsbt", ours.sign_psbt(asked, AUX).text)
    assert read["tx"]["txid"] == node.rpc.call("decodepsbt", asked.text)["tx"]["txid"]
    assert [set(one) for one in read["inputs"]] == [
        {"witness_utxo", "taproot_key_path_sig"},
        {"witness_utxo"},
        {"witness_utxo"},
    ]
    scripts = [one["witness_utxo"]["scriptPubKey"]["hex"] for one in read["inputs"]]
    assert scripts == [bytes(coin.output.scriptPubKey).hex() for coin in coins]
    assert encode_psbt(asked.tx, [coin.output for coin in coins]) == asked.text


def test_the_node_judges_the_vectors_as_we_do(node: BitcoindChain) -> None:
    for _, text, _ in VECTORS["valid"]:
        assert node.rpc.call("decodepsbt", text)["inputs"]
    for case, text, _ in VECTORS["invalid"]:
        with pytest.raises(RpcError, match="decode failed"):
            node.rpc.call("decodepsbt", text)
        with pytest.raises(EncodingError):
            parse_psbt(text)
            pytest.fail(case)


def test_a_psbt_of_the_node_comes_out_of_ours_as_it_came_in(
    node: BitcoindChain, theirs: NodeWallet
) -> None:
    """With its derivation paths, previous transactions and whatever else it adds."""
    funded = theirs.fund_psbt([txout(1_000_000, theirs.script())])
    for psbt in (funded, theirs.sign_psbt(funded), unfinished(node, theirs, funded)):
        again = node.rpc.call("combinepsbt", [psbt.text])
        assert parse_psbt(again) == psbt
        assert Psbt.decode(psbt.encode()) == psbt
        assert all(psbt.spent(n) is not None for n in range(len(psbt.tx.vin)))
