"""``oracle-vm pool run --prove``: every batch of a scenario once more, in the guest.

A scenario has prices and no oracles, so three oracles whose keys everybody knows sign them: what is
proved is that the batch follows from those prices, not that anybody saw them.
"""

import time
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, Final

from protocol.crypto.keys import SecretKey
from protocol.errors import ConfigError
from protocol.oracle.batch import BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.layout import ZERO32
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ReportRows
from protocol.pool.batch import Batch, BatchResult
from protocol.pool.image import LOG4_STEPS, PoolTerms, image_of
from protocol.pool.params import PoolParams
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.witness import Witness, witnessed_batch
from riscv_vm.isa import A0
from riscv_vm.prove import Execution, prove, warm_up
from riscv_vm.record import register_address

_ORACLES: Final = 3
_FAULTS: Final = 1
_QUORUM: Final = 2


@dataclass(frozen=True, slots=True)
class BatchProof:
    """One run of the guest over a batch, committed to. ``check`` is the number of the check that
    failed (riscv_vm/guest/pool.c), 0 where it ``halted``; ``input_bytes`` is what it read."""

    halted: bool
    check: int
    steps: int
    root: bytes
    seconds: float
    input_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {
            "halted": self.halted,
            "check": self.check,
            "steps": self.steps,
            "root": self.root.hex(),
            "seconds": round(self.seconds, 3),
            "input_bytes": self.input_bytes,
        }


@cache
def scenario_oracles() -> OracleConfig:
    """The oracles of every scenario; ``PoolParams.oracle_config`` is their digest."""
    return OracleConfig(
        genesis_hash=sha256(b"scenario").digest(),
        epoch=1,
        oracles=tuple(_key(index).public for index in range(_ORACLES)),
        quorum=_QUORUM,
        faults=_FAULTS,
        interval_ms=1_000,
        delta_ppm=5_000,
        max_move_ppm=100_000,
        max_age_ms=5_000,
        future_ms=1_000,
        min_venues=1,
    )


def certify(prices: BatchPrices, params: PoolParams) -> BatchCertificate:
    """The certificate of the scenario's oracles that ``BatchPrices.certified`` reads ``prices`` of.
    ConfigError if the pool's parameters name other oracles."""
    config = scenario_oracles()
    if params.oracle_config != config.digest:
        raise ConfigError("oracle_config: to prove a scenario, make its pool with scenario_oracles")
    feeds = dict(params.feeds)
    reports = [
        Report(
            config_digest=config.digest,
            feed_id=feeds[token],
            round=prices.time,
            price_e8=price,
            conf_e8=conf,
            grade=Grade.FULL,
            observers=2**_ORACLES - 1,
            time=prices.time * 1_000,
            observations_root=ZERO32,
            prev_report_hash=ZERO32,
        )
        for token, price, conf in prices.rows
    ]
    reports.sort(key=lambda report: report.feed_id)
    rows = ReportRows(b"".join(report.encode() for report in reports))
    header = BatchReport(
        config_digest=config.digest,
        round=prices.time,
        n=len(rows),
        root=rows.root,
        prev_batch_hash=ZERO32,
    )
    signed = tuple((index, _key(index).sign(header.hash, ZERO32)) for index in range(_QUORUM))
    return BatchCertificate(header, rows, signed)


def run_proved(pool: Pool, batch: Batch) -> tuple[BatchResult, BatchProof]:
    """``run_batch`` of a scenario's batch, and the proof of what it did. ConfigError as
    ``certify``, otherwise the errors of ``run_batch``."""
    certificate = certify(batch.prices, pool.params)
    result, witness = witnessed_batch(pool, batch, certificate)
    return result, prove_batch(PoolTerms(pool.params, scenario_oracles()), witness)


def prove_batch(terms: PoolTerms, witness: Witness) -> BatchProof:
    """Run the guest on a batch and commit to its trace, alone in this process."""
    data = witness.encode()
    execution = Execution(image_of(terms), data, log4_steps=LOG4_STEPS)
    warm_up((execution.width,))
    begin = time.perf_counter()
    trace = prove(execution)
    seconds = time.perf_counter() - begin
    return BatchProof(
        halted=trace.outcome.end == "HALT",
        check=trace.value(register_address(A0), trace.steps),
        steps=trace.outcome.steps,
        root=trace.root,
        seconds=seconds,
        input_bytes=len(data),
    )


@cache
def _key(index: int) -> SecretKey:
    return SecretKey(sha256(b"scenario oracle %d" % index).digest())
