"""``oracle-vm pool run --prove``: the scenarios of docs/examples in the guest, batch by batch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cli import app
from actors.pool_prove import certify, prove_batch, run_proved, scenario_oracles
from protocol.errors import ConfigError
from protocol.pool.batch import Batch
from protocol.pool.image import Check, PoolTerms
from protocol.pool.params import TokenParams
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.witness import witnessed_batch
from tests.builders.pool import PRICES, START, TOKENS, terms

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = sorted(file.stem for file in EXAMPLES.glob("*.json"))


def empty_pool(oracle_config: bytes | None = None) -> Pool:
    digest = scenario_oracles().digest if oracle_config is None else oracle_config
    params = {token: TokenParams(**fields) for token, fields in TOKENS.items()}
    return Pool.genesis(terms(TOKENS, oracle_config=digest), params)


def test_the_examples_are_all_there() -> None:
    stories = {"alice-one-deposit", "bob-three-positions", "btc-crash-offset", "meme-capped"}
    assert {"scenario-1", "scenario-2", "pool-in-usdt", *stories} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_batch_of_every_example_is_proved(name: str) -> None:
    file = str(EXAMPLES / f"{name}.json")
    done = CliRunner().invoke(app, ["pool", "run", file, "--prove", "--json"])
    assert done.exit_code == 0, done.exception
    proofs = [batch["proof"] for batch in json.loads(done.stdout)["batches"]]
    assert proofs
    for proof in proofs:
        assert (proof["halted"], proof["check"]) == (True, 0)
        assert proof["steps"] > 3_000_000
        assert len(bytes.fromhex(proof["root"])) == 20
    assert len({proof["root"] for proof in proofs}) == len(proofs)


def test_a_claim_that_lies_does_not_halt() -> None:
    pool = empty_pool()
    batch = Batch(BatchPrices.plain(START, PRICES), ())
    _, witness = witnessed_batch(pool, batch, certify(batch.prices, pool.params))
    lie = replace(witness, journal=replace(witness.journal, new_root=bytes(32)))
    proof = prove_batch(PoolTerms(pool.params, scenario_oracles()), lie)
    assert (proof.halted, proof.check) == (False, Check.NEW_ROOT)


def test_only_a_pool_of_the_scenarios_oracles_is_proved() -> None:
    batch = Batch(BatchPrices.plain(START, PRICES), ())
    with pytest.raises(ConfigError, match="make its pool with scenario_oracles"):
        run_proved(empty_pool(bytes(32)), batch)
    assert run_proved(empty_pool(), batch)[1].halted
