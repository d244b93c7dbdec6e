"""A pool whose batches run in Python and then in the guest, under certificates of known oracles."""

from collections.abc import Mapping, Sequence
from typing import Any

from protocol.oracle import merkle
from protocol.oracle.batch import BatchReport
from protocol.oracle.batch_certificate import BatchCertificate
from protocol.oracle.config import OracleConfig
from protocol.oracle.report import Grade, Report
from protocol.oracle.rows import ReportRows
from protocol.pool.batch import Batch, BatchResult, Deposit
from protocol.pool.image import PoolTerms, image_of
from protocol.pool.operation import Operation, SignedOperation
from protocol.pool.params import PoolParams, TokenParams
from protocol.pool.pool import Pool
from protocol.pool.prices import BatchPrices
from protocol.pool.witness import Witness, witnessed_batch
from riscv_vm import fast
from riscv_vm.isa import A0, HALT, TRAP
from riscv_vm.machine import step_limit
from tests.builders.batches import certify_batch
from tests.builders.oracles import make_config
from tests.builders.pool import ETH, PRICES, START, TOKENS, key_of, owner_of, sign, terms

ORACLES = make_config(3)
LIMIT = step_limit(15)


def report_rows(
    params: PoolParams,
    prices: Mapping[int, int],
    time_s: int,
    conf: int = 0,
    config: OracleConfig = ORACLES,
    **changes: Any,
) -> ReportRows:
    """The reports of the pool's feeds; ``changes`` are of every row."""
    fields: dict[str, Any] = {
        "config_digest": config.digest,
        "round": time_s,
        "conf_e8": conf,
        "grade": Grade.FULL,
        "observers": 2 ** len(config.oracles) - 1,
        "time": time_s * 1000 + 250,
        "observations_root": bytes(32),
        "prev_report_hash": bytes(32),
    }
    rows = [
        Report(feed_id=feed, price_e8=prices[token], **(fields | changes)).encode()
        for feed, token in sorted((feed, token) for token, feed in params.feeds)
    ]
    return ReportRows(b"".join(rows))


def batch_certificate(
    rows: ReportRows,
    round_id: int,
    signers: tuple[int, ...] = (0, 1),
    config: OracleConfig = ORACLES,
    **changes: Any,
) -> BatchCertificate:
    """Those rows under a quorum; ``changes`` are of the header."""
    fields: dict[str, Any] = {
        "config_digest": config.digest,
        "round": round_id,
        "n": len(rows),
        "root": rows.root,
        "prev_batch_hash": bytes(32),
    }
    assert rows.root == merkle.root([leaf.tobytes() for leaf in rows.leaves])
    return certify_batch(BatchReport(**(fields | changes)), rows, signers)


def exit_code(terms_of: PoolTerms, data: bytes) -> tuple[int, int]:
    """The guest's exit code and steps, by the fast machine; it must end within N."""
    run = fast.Machine(image_of(terms_of), data)
    run.run(LIMIT)
    assert run.pc == (HALT if run.register(A0) == 0 else TRAP), "the guest did not end"
    return run.register(A0), run.steps


class GuestPool:
    """A pool, its clock and prices, and the next batch's operations. Arguments as ``World``'s."""

    def __init__(
        self,
        *,
        tokens: Mapping[int, Mapping[str, int]] | None = None,
        token: Mapping[str, int] | None = None,
        pool: Mapping[str, Any] | None = None,
        config: OracleConfig = ORACLES,
    ) -> None:
        rows = TOKENS if tokens is None else tokens
        params = {i: TokenParams(**{**rows[i], **(token or {})}) for i in sorted(rows)}
        changes: dict[str, Any] = {"oracle_config": config.digest, **(pool or {})}
        self.pool = Pool.genesis(terms(params, **changes), params)
        self.terms = PoolTerms(self.pool.params, config)
        self.prices = {token_id: PRICES.get(token_id, PRICES[ETH]) for token_id in rows}
        self.conf = 0
        self.now = START
        self.steps = 0

    def head(self, user: int, ahead: int = 0) -> dict[str, Any]:
        """Owner, nonce and deadline; ``ahead`` of a user's operations come before in the batch."""
        nonce = self.pool.account(owner_of(user)).nonce + ahead
        return {"owner": owner_of(user), "nonce": nonce, "deadline": 2**63}

    def signed(self, operation: Operation, user: int) -> SignedOperation:
        return sign(operation, self.pool.pool_id, user)

    def certificate(self, **changes: Any) -> BatchCertificate:
        rows = report_rows(
            self.pool.params, self.prices, self.now, self.conf, self.terms.oracles, **changes
        )
        signers = tuple(range(self.terms.oracles.quorum))
        return batch_certificate(rows, self.now, signers, self.terms.oracles)

    def witness(
        self,
        operations: Sequence[SignedOperation] = (),
        seconds: int = 1,
        deposits: Sequence[Deposit] = (),
    ) -> tuple[BatchResult, Witness]:
        """Runs the next batch in Python."""
        self.now += seconds
        certificate = self.certificate()
        certificate.check(self.terms.oracles)
        prices = BatchPrices.certified(certificate, self.pool.params)
        batch = Batch(prices, tuple(operations), tuple(deposits))
        return witnessed_batch(self.pool, batch, certificate)

    def prove(
        self,
        operations: Sequence[SignedOperation] = (),
        seconds: int = 1,
        deposits: Sequence[Deposit] = (),
    ) -> BatchResult:
        """Runs the next batch in Python, then in the guest, which must halt with 0."""
        result, witness = self.witness(operations, seconds, deposits)
        code, steps = exit_code(self.terms, witness.encode())
        assert code == 0, f"the guest exits with check {code}"
        assert steps < witness.steps_max
        self.steps = steps
        return result


__all__ = [
    "GuestPool",
    "batch_certificate",
    "exit_code",
    "key_of",
    "owner_of",
    "report_rows",
]
