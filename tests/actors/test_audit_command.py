"""``oracle-vm audit``, ``dispute explain``, ``dispute cost``: a stranger with a contract file."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.config import CHAIN_NODE
from actors.contract_setting import Ending, Setting
from actors.party_prover import prove_claim
from protocol.bitcoin.tx import hash_hex, txid
from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError, DisputeError, EncodingError
from protocol.settlement.dispute.costs import least_bond_sats
from protocol.settlement.onetime import claim_digits
from protocol.settlement.presign import assemble
from protocol.settlement.terms import ContractTerms, Role
from regtest.kernel import KernelChain
from regtest.wallet import Wallet
from tests.actors.test_chain_contract import contract_file
from tests.builders.claims import claim_at
from tests.builders.contracts import Stage, contract_of, contract_terms
from tests.builders.terms import claim_terms

PRICE_E8 = 70_000 * 10**8
RIGHT, WRONG, OPEN = "right.contract", "wrong.contract", "open.contract"


def terms(number: int) -> ContractTerms:
    """About the expiry that ``claim_at`` makes."""
    return contract_terms(claim_terms(), premium_sats=5_000 + number, bond_sats=600_000)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def claim(stage: Stage, about: ContractTerms, excess: int) -> str:
    """The holder claims, ``excess`` units too many, and nobody challenges it; KICKOFF's txid."""
    made = stage.fund(about)
    true = claim_at(about, PRICE_E8)
    claimed = replace(true, units=true.units + excess)
    root = prove_claim(about, true)
    digits = claim_digits(about, Role.HOLDER, claimed.encode(), root)
    messages = made.one_time[Role.HOLDER].sign(digits, {})
    forward = [
        assemble(move, made.signatures, messages) for move in made.graph.forward(Role.HOLDER)
    ]
    stage.broadcast(*forward)
    stage.when_ripe(made.settle(Role.HOLDER))
    return hash_hex(txid(forward[-1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A chain and three contracts: one claimed rightly, one a unit too high, one open."""
    place = tmp_path_factory.mktemp("audit")
    with KernelChain(place / CHAIN_NODE) as chain:
        wallets = {r: Wallet(chain, SecretKey(bytes([n]) * 32)) for n, r in enumerate(Role, 1)}
        for wallet in wallets.values():
            chain.mine(4, to=wallet.script())
        chain.mine(100)
        stage = Stage(chain, wallets)
        for number, name in enumerate((RIGHT, WRONG, OPEN)):
            about = terms(number)
            (place / name).write_bytes(contract_file(stage, about))
            if name == OPEN:
                stage.fund(about)
            else:
                (place / f"{name}.txid").write_text(claim(stage, about, excess=name == WRONG))
    yield place


def test_a_right_contract_is_audited(folder: Path) -> None:
    code, output = run("audit", folder / RIGHT, "--json")
    found = json.loads(output)
    assert (code, found["right"], found["wronged"]) == (0, True, None)
    assert found["claim"]["true"] and found["claim"]["failed_check"] is None
    assert found["claim"]["root"] == found["claim"]["honest_root"]
    assert found["decided"]["name"] == "holder:SETTLE"
    assert [move["name"] for move in found["moves"]] == [
        *("FUND", "holder:INPUT_1", "holder:KICKOFF", "holder:SETTLE"),
    ]
    assert all(share["right"] for share in found["shares"].values())
    code, output = run("audit", folder / RIGHT)
    assert code == 0 and "Settled rightly. The claim was true, and it was paid." in output


def test_a_wrong_contract_is_audited(folder: Path) -> None:
    code, output = run("audit", folder / WRONG, "--chain", folder, "--json")
    found = json.loads(output)
    assert (code, found["right"], found["wronged"]) == (2, False, "writer")
    assert not found["claim"]["true"] and found["claim"]["failed_check"] == "PAYOUT"
    assert [lie["what"] for lie in found["lies"]] == ["root", "end"]
    code, output = run("audit", folder / WRONG)
    assert code == 2 and "The writer was wronged." in " ".join(output.split())


def test_an_open_contract_is_an_error(folder: Path) -> None:
    with pytest.raises(DisputeError, match="not settled"):
        run("audit", folder / OPEN)
    with pytest.raises(ConfigError, match="cannot be read"):
        run("audit", folder / "none")


def test_explain_finds_the_contract(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kickoff = (folder / f"{RIGHT}.txid").read_text()
    _, output = run("dispute", "explain", kickoff, "--chain", folder, "--json")
    found = json.loads(output)
    assert found["contract"] == contract_of(terms(0)).id.hex()
    assert found["name"] == "holder:KICKOFF" and found["txid"] == kickoff
    assert found["fields"]["price"].startswith("70,000.00000000 USD")
    assert found["fields"]["signed by oracles"] == "0, 1"
    challenge, _ = sorted(found["next"], key=lambda after: after["opens"])
    assert (challenge["name"], challenge["opens"]) == ("holder:CHALLENGE", found["height"] + 1)
    monkeypatch.chdir(folder)
    code, output = run("dispute", "explain", kickoff)
    assert code == 0 and "next: holder:CHALLENGE by the writer" in output


def test_explain_of_what_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no such transaction"):
        run("dispute", "explain", "00" * 32, "--chain", folder)
    with pytest.raises(EncodingError, match="64 hexadecimal digits"):
        run("dispute", "explain", "xyz", "--chain", folder)
    kickoff = (folder / f"{RIGHT}.txid").read_text()
    with pytest.raises(ConfigError, match="of none of these 1 contracts"):
        run("dispute", "explain", kickoff, "--chain", folder, "--contract", folder / OPEN)


def test_cost_of_a_contract(folder: Path) -> None:
    words = ("dispute", "cost", "--feerate", 7, "--contract", folder / RIGHT)
    code, output = run(*words, "--json")
    found = json.loads(output)
    contract = contract_of(terms(0))
    costs = contract.costs(Role.HOLDER)
    told = found["costs"]["holder"]
    assert told["prover_typical"]["vbytes"] == costs.prover.vbytes
    assert told["both_worst"]["sats"] == costs.dearest.sats(7)
    least = max(least_bond_sats(contract.terms, contract.costs(role)) for role in Role)
    assert (code, found["least_bond_sats"], found["covered"]) == (0, least, True)
    code, output = run(*words, "--max-feerate", 4, "--width", 32, "--json")
    dear = json.loads(output)
    assert (code, dear["covered"], dear["width"]) == (2, False, 32)
    assert dear["least_bond_sats"] > 2 * least and dear["bond_sats"] == 600_000
    code, output = run(*words)
    assert code == 0 and "bond_sats 600,000 covers it." in output


def test_cost_names_one_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match="name one of them"):
        run("dispute", "cost", "--feerate", 7, "--contract", "a", "--terms", "b")


def test_cost_of_terms_and_of_the_demo(tmp_path: Path) -> None:
    Setting.create(tmp_path, Ending.COOPERATIVE, move_window=7)
    words = ("dispute", "cost", "--feerate", 5, "--json")
    _, output = run(*words, "--terms", tmp_path / "holder.toml")
    slow = json.loads(output)
    code, output = run(*words)
    demo = json.loads(output)
    assert code == 0 and demo["covered"] and demo["costs"] == slow["costs"]
    rounds = 2 * demo["log4_steps"] + 1
    assert slow["clock_blocks"] - demo["clock_blocks"] >= rounds
