"""Contract files at the command line: what a chain shows of them, their drawing, their anchors."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from actors.chain_commands import chain as app
from actors.cli import app as oracle_vm
from actors.config import CHAIN_NODE
from actors.party_prover import prove_claim
from protocol.bitcoin.tx import hash_hex, txid, txout
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, ProtocolError
from protocol.settlement.anchor import ClaimAnchor, HeadAnchor, anchor_script
from protocol.settlement.closing import assemble_close, close_tx, sign_close
from protocol.settlement.contract_file import ContractFile
from protocol.settlement.graph import Graph
from protocol.settlement.onetime import labels_of
from protocol.settlement.record import Facts
from protocol.settlement.terms import ContractTerms, Role
from regtest.kernel import KernelChain
from regtest.served import ChainServer
from regtest.wallet import Wallet
from tests.builders.claims import claim_at
from tests.builders.contracts import AUX, KEYS, Stage, contract_of, contract_terms
from tests.builders.histories import chain as certificates
from tests.builders.histories import store
from tests.builders.terms import claim_terms


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two funded parties on a kernel that is served in tmp_path."""
    with (
        KernelChain(tmp_path / CHAIN_NODE) as chain,
        ChainServer(chain, tmp_path / "chain.sock"),
    ):
        wallets = {r: Wallet(chain, SecretKey(bytes([n]) * 32)) for n, r in enumerate(Role, 1)}
        for wallet in wallets.values():
            chain.mine(3, to=wallet.script())
        chain.mine(100)
        yield Stage(chain, wallets)
    shutil.rmtree(tmp_path)


def contract_file(stage: Stage, terms: ContractTerms, role: Role = Role.HOLDER) -> bytes:
    """What a watcher has of the contract that ``stage.fund(terms)`` makes next."""
    contract = contract_of(terms)
    coins = {each: stage.contribution(contract, each) for each in Role}
    bundles = {each: contract.one_time[each].encode() for each in Role}
    facts = Facts(terms=terms, bundle=bundles[role.other], coins=coins)
    empty = ((),) * len(labels_of(terms, role))
    return ContractFile(role, bundles[role], b"", empty, facts).encode()


def run(*words: object, of=app) -> str:
    result = CliRunner().invoke(of, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def funded(stage: Stage, tmp_path: Path) -> tuple[Path, Graph]:
    """A contract in a block, and its file in a party's folder."""
    terms = contract_terms()
    path = tmp_path / "parties" / "holder" / "watch.contract"
    path.parent.mkdir(parents=True)
    path.write_bytes(contract_file(stage, terms))
    return path, stage.fund(terms).graph


def test_contracts_below_the_folder_are_shown(stage, funded, tmp_path: Path) -> None:
    path, graph = funded
    copy = tmp_path / "parties" / "the same.contract"
    copy.write_bytes(path.read_bytes())
    record = json.loads(run("--dir", tmp_path, "--json"))
    (contract,) = record["contracts"]  # once, however many files it has
    assert contract["id"] == graph.contract.id.hex()
    assert contract["state"] == "funded"
    (fund,) = contract["txs"]
    assert (fund["name"], fund["txid"]) == ("FUND", hash_hex(bytes(graph.fund.hash)))
    assert (fund["height"], fund["depth"]) == (stage.chain.height, 1)
    shown = run("--socket", tmp_path / "chain.sock", "--contract", path)
    assert f"FUND of {graph.contract.id.hex()[:8]}" in shown


def test_files_that_are_no_contracts(stage, tmp_path: Path) -> None:
    other = tmp_path / "CTF0"
    other.write_bytes(b"CTF0" + bytes(50))
    assert json.loads(run("--dir", tmp_path, "--json"))["contracts"] == []
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"CTF1" + bytes(50))
    for words in (("--dir", tmp_path), ("graph", other, "--dir", tmp_path),
                  ("graph", tmp_path / "none", "--dir", tmp_path)):  # fmt: skip
        with pytest.raises(ConfigError, match=r"damaged: no contract|CTF0: no contract|none: cann"):
            run(*words)


def test_its_graph_as_text_and_as_svg(funded, tmp_path: Path) -> None:
    path, graph = funded
    text = run("graph", path, "--dir", tmp_path)
    claims = [
        f"{role.value}:{name}" for role in Role for name in ("KICKOFF", "SETTLE", "CHALLENGE")
    ]
    for name in ("FUND", "CLOSE", "REFUND", *claims):
        assert f"] {name}  " in text
    assert text.startswith(f"Contract {graph.contract.id.hex()}")
    assert (
        run("graph", path, "--dir", tmp_path, "--out", tmp_path / "a.txt").strip().endswith("txt")
    )
    assert (tmp_path / "a.txt").read_text() == text
    run("graph", path, "--dir", tmp_path, "--out", tmp_path / "a.svg")
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    for out, why in (("a.png", "an SVG and `rsvg-convert"), ("a", "write .svg or .txt")):
        with pytest.raises(ConfigError, match=why):
            run("graph", path, "--dir", tmp_path, "--out", tmp_path / out)
    with pytest.raises(ConfigError, match="not written"):
        run("graph", path, "--dir", tmp_path, "--out", tmp_path / "none" / "a.svg")


# Anchors


def verdict(*words: object) -> dict[str, object]:
    return json.loads(run("verify", *words, "--json", of=oracle_vm))


def test_the_anchor_of_a_claim(stage: Stage, tmp_path: Path) -> None:
    """CLOSE carries the root of the run that decides the payout: found again by running it."""
    terms = contract_terms(claim_terms())
    (tmp_path / "c").write_bytes(contract_file(stage, terms))
    made = stage.fund(terms)
    contract, claim = made.graph.contract, claim_at(terms)
    root = prove_claim(terms, claim)
    anchor = ClaimAnchor.of(root, claim.certificate.expiry.report_hash).encode()
    sats = terms.claim.payout_sats(claim.units)
    tx = close_tx(contract, made.graph.fund, sats, anchor)
    signed = {role: sign_close(contract, tx, KEYS[role].key, AUX) for role in Role}
    stage.broadcast(assemble_close(contract, tx, signed))
    (tmp_path / "claim").write_text(claim.encode().hex())
    (tmp_path / "expiry").write_text(claim.certificate.encode().hex() + "\n")
    name = hash_hex(txid(tx))
    for file in ("claim", "expiry"):
        found = verdict(tmp_path / file, "--anchor", name, "--dir", tmp_path,
                        "--contract", tmp_path / "c")  # fmt: skip
        assert found == {
            "kind": "anchor of a claim", "valid": True, "reason": None,
            "txid": name, "height": stage.chain.height, "depth": 1,
            "contract": contract.id.hex(), "root": root.hex(), "payout_sats": sats,
        }  # fmt: skip
    other = claim_at(terms, 80_000 * 10**8)
    (tmp_path / "other").write_text(other.encode().hex())
    words = ("--anchor", name, "--dir", tmp_path)
    found = verdict(tmp_path / "other", *words, "--contract", tmp_path / "c")
    assert not found["valid"] and "not of this contract and claim" in found["reason"]
    found = verdict(*words, "--history", store(tmp_path / "h.sqlite", certificates(2)))
    assert not found["valid"] and "anchor is of a claim" in found["reason"]
    with pytest.raises(ConfigError, match="no certificate in it; give FILE"):
        run("verify", *words, "--contract", tmp_path / "c", of=oracle_vm)


def test_the_anchor_of_a_history(stage: Stage, tmp_path: Path) -> None:
    """It holds while the history grows, survives a reorganisation, and fails on another history."""
    chain = certificates(5)
    history = store(tmp_path / "h.sqlite", chain[:3])
    key = tmp_path / "payer.key"
    key.write_text("01" * 32 + "\n")
    key.chmod(0o600)
    words = ("anchor", "--history", history, "--key", key, "--dir", tmp_path, "--json")
    name = json.loads(run(*words))["txid"]
    ask = ("--anchor", name, "--dir", tmp_path, "--history")
    assert "0 blocks deep, 1 are asked for" in verdict(*ask, history)["reason"]
    stage.chain.mine()
    store(history, chain[3:])
    expected = {"kind": "anchor of a history", "valid": True, "reason": None, "txid": name,
                "round": chain[2].round, "certificate": chain[2].hash.hex()}  # fmt: skip
    found = verdict(*ask, history)
    assert found == expected | {"height": stage.chain.height, "depth": 1}
    assert "3 are asked for" in verdict(*ask, history, "--depth", 3)["reason"]
    stage.chain.reorg(2)
    assert not verdict(*ask, history)["valid"]  # until it is mined again
    stage.chain.mine()
    assert verdict(*ask, history)["valid"]
    for at, (rival, why) in enumerate(
        (
            (certificates(2), "no certificate"),
            (certificates(3, previous=bytes([1]) * 32), "1 other"),
        )
    ):
        other = store(tmp_path / f"other{at}.sqlite", rival)
        assert f"the history holds {why}" in verdict(*ask, other)["reason"]


def test_what_is_no_anchor(stage: Stage, tmp_path: Path) -> None:
    history = store(tmp_path / "h.sqlite", certificates(1))
    wallet = stage.wallets[Role.HOLDER]
    twice = [txout(0, anchor_script(HeadAnchor.of(n, bytes(32)))) for n in (1, 2)]
    payments = [wallet.pay([txout(5_000, wallet.script())], AUX)]
    payments.append(wallet.pay(twice, AUX, without=[vin.prevout for vin in payments[0].vin]))
    stage.chain.mine(txs=payments)
    for tx, why in zip((*payments, None), ("has 0 anchors", "has 2 anchors", "has no such"),
                       strict=True):  # fmt: skip
        name = "07" * 32 if tx is None else hash_hex(txid(tx))
        found = verdict("--anchor", name, "--dir", tmp_path, "--history", history)
        assert not found["valid"] and why in found["reason"]
    words = ("verify", "--anchor", "07" * 32, "--dir", tmp_path)
    with pytest.raises(ConfigError, match="give --contract or --history"):
        run(*words, of=oracle_vm)
    with pytest.raises(ProtocolError, match="64 hex digits"):
        run("verify", "--anchor", "07", "--history", history, "--dir", tmp_path, of=oracle_vm)
    with pytest.raises(ConfigError, match="say what to check"):
        run("verify", of=oracle_vm)
