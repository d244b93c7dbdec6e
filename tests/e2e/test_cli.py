"""The command line on good and bad input: one line, the field, the remedy, no traceback."""

import json
import subprocess
import sys

import pytest

from actors import cli
from actors.demo_config import DEMO
from protocol.settlement.terms import terms_page
from riscv_vm.guest import guest_elf
from tests.builders.claims import C_UNITS, claim_at, patched
from tests.builders.oracles import CONFIG, certify, observed, proposal_of
from tests.builders.terms import contract_terms


def oracle_vm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "actors.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110)


@pytest.fixture
def refused(monkeypatch, capfd):
    """The one line that a command ends with, here: a process of its own takes seconds."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["oracle-vm", *map(str, arguments)])
        with pytest.raises(SystemExit, match="1"):
            cli.main()
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    return run


@pytest.fixture(scope="module")
def settle(tmp_path_factory):
    path = tmp_path_factory.mktemp("elf") / "settle.elf"
    path.write_bytes(guest_elf("settle"))
    return path


TERMS = contract_terms()
SETTLING = ("--terms", terms_page(TERMS).hex())


@pytest.fixture(scope="module")
def claim():
    return claim_at(TERMS).encode()


@pytest.mark.parametrize("provers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_run_and_prove_agree_for_every_number_of_provers(settle, claim, provers):
    arguments = (settle, "--input", claim.hex(), *SETTLING, "--json")
    run = json.loads(oracle_vm("vm", "run", *arguments).stdout)
    assert run["end"] == "HALT"
    assert run["steps"] > 1_000_000, "below that a pool is not worth its start"
    proved = json.loads(oracle_vm("vm", "prove", *arguments, "--provers", provers).stdout)
    assert (proved["root"], proved["steps"]) == (run["root"], run["steps"])
    assert proved["workers"] == provers
    assert proved["steps_per_second"] == pytest.approx(run["steps"] / proved["seconds"])


@pytest.mark.parametrize(("width", "digits"), [(20, 40), (32, 64)])
def test_the_shape_of_the_commitment_is_chosen(settle, claim, width, digits):
    arguments = ("--input", claim.hex(), *SETTLING, "--width", width, "--log4-steps", 8, "--json")
    run = json.loads(oracle_vm("vm", "run", settle, *arguments).stdout)
    assert len(run["root"]) == digits
    assert run["root"] == run["root"].lower()


def test_a_trap_and_a_limit_are_answers_not_errors(settle, claim):
    lie = patched(claim, C_UNITS, bytes(4))
    run = oracle_vm("vm", "run", settle, "--input", lie.hex(), *SETTLING, "--json")
    assert (run.returncode, json.loads(run.stdout)["end"]) == (0, "TRAP")
    run = oracle_vm(
        "vm", "run", settle, "--input", claim.hex(), *SETTLING, "--log4-steps", 5, "--json"
    )
    assert json.loads(run.stdout)["end"] == "LIMIT"
    assert json.loads(run.stdout)["steps"] == 4**5


def test_a_malformed_elf_is_refused(tmp_path, settle, refused):
    path = tmp_path / "bad.elf"
    path.write_bytes(settle.read_bytes()[:60])
    assert "ELF" in refused("vm", "run", path)
    path.write_bytes(b"#!/bin/sh\n")
    assert "ELF" in refused("vm", "prove", path)
    assert "cannot be read" in refused("vm", "run", tmp_path / "none.elf")


def test_bad_options_are_refused(settle, refused):
    assert "--input" in refused("vm", "run", settle, "--input", "xyz")
    assert "--width" in refused("vm", "run", settle, "--width", "24")
    run = oracle_vm("vm", "run", settle, "--log4-steps", "16")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr


def test_a_config_with_a_missing_key_names_it(tmp_path, refused):
    path = tmp_path / "demo.toml"
    path.write_text(DEMO.read_text().replace("quorum = 2\n", ""))
    assert "quorum" in refused("config", "check", path)
    assert "quorum" in refused("demo", "--config", path)
    assert oracle_vm("config", "check", DEMO).returncode == 0


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path, refused):
    (tmp_path / "mine").write_text("x")
    assert "not an empty folder" in refused("demo", "--dir", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def certificate_file(path, certificate: bytes):
    path.write_text(json.dumps({"config": CONFIG.encode().hex(), "certificate": certificate.hex()}))
    return path


def test_certificates_are_verified_and_bad_ones_named(tmp_path, refused):
    file = tmp_path / "certificate.json"
    good = certify(proposal_of(*(observed(i) for i in range(3))).report)
    assert oracle_vm("verify", certificate_file(file, good.encode())).stdout == (
        "certificate: valid\n"
    )
    assert "length" in refused("verify", certificate_file(file, good.encode()[:-1]))
    forged = good.encode()[:-1] + bytes([good.encode()[-1] ^ 1])
    assert "signature of oracle 1" in refused("verify", certificate_file(file, forged))
    run = oracle_vm("verify", file, "--json")
    assert run.returncode == 1
    answer = json.loads(run.stdout)
    assert (answer["kind"], answer["valid"]) == ("certificate", False)
    file.write_text("{}")
    assert "config" in refused("verify", file)
    assert "cannot be read" in refused("verify", tmp_path / "none")
