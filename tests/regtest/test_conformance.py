"""Every backend present does the same, and takes the blocks of every other."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from protocol.errors import ChainError
from regtest.bitcoind import policy_label
from regtest.chain import Chain, Verdict, rule_broken
from regtest.conformance.backends import BACKENDS, BITCOIND, KERNEL, SERVED, Backend
from regtest.conformance.exchanges import EXCHANGES, follow, serialized_block
from regtest.conformance.record import Record
from regtest.conformance.scenarios import SCENARIOS, block_on_tip, record_of
from regtest.conformance.spends import CASES
from tests.regtest.contract_paths import PATHS, path_record


def opened(stack: ExitStack, backend: Backend, folder: Path) -> Chain:
    if reason := backend.missing():
        pytest.skip(f"{backend.name}: {reason}")
    return stack.enter_context(backend.open(folder))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """What a scenario records on the embedded kernel."""

    @cache
    def record(name: str) -> list[str]:
        folder = tmp_path_factory.mktemp("expected")
        with KERNEL.open(folder) as chain:
            lines = record_of(name, chain)
        shutil.rmtree(folder)
        return lines

    return record


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("backend", (*BACKENDS, SERVED), ids=lambda backend: backend.name)
def test_scenario(
    name: str, backend: Backend, expected: Callable[[str], list[str]], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        assert record_of(name, opened(stack, backend, tmp_path)) == expected(name)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("backend", (*BACKENDS, SERVED), ids=lambda backend: backend.name)
def test_contract_path(name: str, backend: Backend, tmp_path: Path) -> None:
    """The same lines on every backend; the kernel takes its blocks and stands at the same tip."""
    with ExitStack() as stack:
        chain = opened(stack, backend, tmp_path / "1")
        lines = path_record(name, chain)
        kernel = opened(stack, KERNEL, tmp_path / "2")
        follow(chain, kernel)
        if backend is not KERNEL:
            with KERNEL.open(tmp_path / "3") as again:
                assert path_record(name, again) == lines
                follow(again, chain)


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize(
    ("first", "second"),
    list(product(BACKENDS, repeat=2)),
    ids=lambda backend: backend.name,
)
def test_exchange(name: str, first: Backend, second: Backend, tmp_path: Path) -> None:
    with ExitStack() as stack:
        EXCHANGES[name](opened(stack, first, tmp_path / "1"), opened(stack, second, tmp_path / "2"))


def test_a_block_is_put_together_again(tmp_path: Path) -> None:
    with KERNEL.open(tmp_path) as chain:
        chain.mine(3)
        raw = block_on_tip(chain)
        chain.submit_block(raw)
        assert serialized_block(chain, 4) == raw


def test_the_spend_cases_are_those_of_the_measurement() -> None:
    assert len({case.name for case in CASES}) == 17
    assert sum(not case.error for case in CASES) == 12


# The suite itself must be able to fail


class Liar:
    """A chain with one wrong answer."""

    def __init__(self, chain: Chain, **answers: object) -> None:
        self._chain, self._answers = chain, answers

    def __getattr__(self, name: str) -> object:
        return self._answers.get(name) or getattr(self._chain, name)


def test_a_backend_that_takes_everything_does_not_pass(tmp_path: Path) -> None:
    with KERNEL.open(tmp_path) as chain:
        liar = Liar(chain, check=lambda tx: Verdict(True, "", True, "", "model"))
        with pytest.raises(ChainError, match="an OP_IF of 2 is invalid"):
            record_of("spend cases", liar)


def test_a_backend_with_another_policy_does_not_pass(tmp_path: Path) -> None:
    with KERNEL.open(tmp_path) as chain:
        liar = Liar(chain, check=lambda tx: Verdict(True, "", True, "", "knots-rdts"))
        with pytest.raises(ChainError, match="knots-rdts refuses an executed OP_IF"):
            record_of("spend cases", liar)


def test_a_reason_of_another_kind_does_not_pass(tmp_path: Path) -> None:
    with KERNEL.open(tmp_path) as chain:
        on = Record(chain)
        with pytest.raises(ChainError, match="breaks 'bad-cb-amount', not 'time-too-old'"):
            on.refused("an old time", block_on_tip(chain, when=1), "bad-cb-amount")
        with pytest.raises(ChainError, match="breaks 'bad-cb-amount', not 'nothing'"):
            on.refused("no fault", block_on_tip(chain), "bad-cb-amount")


# Words of different versions


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        ("block-script-verify-flag-failed (Invalid Schnorr signature), input 0 of 00ff (wtxid 11)",
         "Invalid Schnorr signature"),
        ("mandatory-script-verify-flag-failed (Invalid Schnorr signature)",
         "Invalid Schnorr signature"),
        ("mempool-script-verify-flag-failed (OP_SUCCESSx reserved for soft-fork upgrades)",
         "OP_SUCCESSx reserved for soft-fork upgrades"),
        ("bad-cb-amount, coinbase pays too much (actual=2 vs limit=1)", "bad-cb-amount"),
        ("bad-txns-nonfinal", "bad-txns-nonfinal"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_rule_in_a_reason(reason: str, rule: str) -> None:
    assert rule_broken(reason) == rule


@pytest.mark.parametrize(
    ("subversion", "takes_op_if", "label"),
    [
        ("/Satoshi:31.0.0/", True, "core"),
        ("/Satoshi:31.0.0(ours: a test)/", True, "core"),
        ("/Satoshi:31.0.0/", False, "knots-rdts"),
        ("/Satoshi:29.4.3/Knots:20260508/", False, "knots-rdts"),
        ("/Satoshi:28.1.0/Knots:20250305/", True, "other"),
        ("/btcd:0.24/", True, "other"),
    ],
)
def test_whose_policy_it_is(subversion: str, takes_op_if: bool, label: str) -> None:
    assert policy_label(subversion, takes_op_if=takes_op_if) == label


def test_only_core_and_its_model_speak_of_relay() -> None:
    for by, relayed in (("core", False), ("model", False), ("knots-rdts", None), ("other", None)):
        assert Verdict(True, "", False, "why", by).relayed is relayed
    assert Verdict(True, "", None, "", "none").relayed is None
    assert Verdict(False, "why", None, "", "knots-rdts").relayed is False


def test_a_bitcoind_that_was_asked_for_is_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITCOIND", "/nowhere/bitcoind")
    with pytest.raises(ChainError, match="no program that can be run"):
        BITCOIND.missing()
    monkeypatch.setenv("BITCOIND", "")
    monkeypatch.setenv("PATH", "")
    assert "set BITCOIND=/path/to/bitcoind" in BITCOIND.missing()
