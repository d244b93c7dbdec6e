"""The pool's guest: sizes, steps of every operation, and the proof of a batch of 100 signed ones.

python -m tests.bench.pool_guest [--json]
"""

from collections.abc import Callable
from copy import deepcopy
from time import perf_counter
from typing import Any

from actors import placement
from actors.outcomes import value
from actors.prover import Job, Prover
from actors.prover_pool import ProverPool
from actors.runtime import local_cluster
from protocol.pool.image import LOG4_STEPS, image_of, pool_template
from protocol.pool.operation import (
    AddLiquidity,
    CancelOrder,
    CloseAtCap,
    CreateOrder,
    Decrease,
    FillOrder,
    Increase,
    Liquidate,
    RemoveLiquidity,
    SignedOperation,
)
from protocol.pool.order import OrderKind
from protocol.pool.witness import Witness
from riscv_vm.fast import run
from riscv_vm.prove import Execution, prove, warm_up
from riscv_vm.tree import WIDTH_DEFAULT
from tests.bench._report import best, finish, hardware, say
from tests.builders.pool import ALICE, BTC, LONG, LP, SHORT, USDC, owner_of
from tests.builders.pool_guest import GuestPool

BATCH = 100
WORKERS = 2
REPEATS = 3
TASK_STEPS = 1 << 22
STARTUP_S = 180.0
FAR = 2**63

METHODS = {
    "text_bytes": "instructions of the guest",
    "data_bytes": "its constants and the terms page; not what is zero at the start",
    "steps": "of an empty batch of three tokens and two oracle signatures; of one operation, what a"
    " batch of that one takes more than an empty one of the same pool",
    "batch": f"{BATCH} owners, each with a signed increase of a position that is there: plain run,"
    f" proof by one process, proof by {WORKERS} prover processes that were started and compiled"
    f" before; wall seconds, the best of {REPEATS}",
}


def steps_of(guest: GuestPool, *operations: SignedOperation) -> int:
    """Steps of the next batch; all of it must be accepted."""
    result, witness = guest.witness(operations)
    assert not any(witness.codes), result.results
    outcome = run(image_of(guest.terms), witness.encode(), LOG4_STEPS)
    assert outcome.end == "HALT"
    assert outcome.steps < witness.steps_max
    return outcome.steps


def increase(guest: GuestPool, user: int, side: int = LONG) -> SignedOperation:
    operation = Increase(
        **guest.head(user),
        token=BTC,
        side=side,
        deposit=1_030 * USDC,
        size=10_000 * USDC,
        acceptable_price=FAR if side == LONG else 0,
    )
    return guest.signed(operation, user)


def decrease(guest: GuestPool, size: int) -> SignedOperation:
    operation = Decrease(
        **guest.head(ALICE), token=BTC, side=LONG, size=size * USDC, acceptable_price=0
    )
    return guest.signed(operation, ALICE)


def order(guest: GuestPool) -> SignedOperation:
    operation = CreateOrder(
        **guest.head(ALICE),
        token=BTC,
        side=LONG,
        order_kind=int(OrderKind.LIMIT),
        deposit=1_030 * USDC,
        size=10_000 * USDC,
        trigger_price=guest.prices[BTC],
        acceptable_price=FAR,
    )
    return guest.signed(operation, ALICE)


def funded() -> GuestPool:
    guest = GuestPool()
    guest.witness([guest.signed(AddLiquidity(**guest.head(LP), amount=10**7 * USDC), LP)])
    return guest


def operation_steps() -> dict[str, int]:
    """Steps of each kind of operation beside those of an empty batch."""
    guest = funded()
    found = {"empty batch": steps_of(guest)}

    def note(name: str, make: Callable[[], SignedOperation]) -> None:
        operation, empty = make(), steps_of(deepcopy(guest))
        found[name] = steps_of(guest, operation) - empty

    note("add_liquidity", lambda: guest.signed(AddLiquidity(**guest.head(LP), amount=USDC), LP))
    note("remove_liquidity", lambda: guest.signed(RemoveLiquidity(**guest.head(LP), glp=USDC), LP))
    note("increase, new", lambda: increase(guest, ALICE))
    note("increase", lambda: increase(guest, ALICE))
    note("decrease", lambda: decrease(guest, 1_000))
    note("decrease, all", lambda: decrease(guest, 19_000))
    note("create_order", lambda: order(guest))
    nonce = guest.head(ALICE)["nonce"] - 1
    note("fill_order", lambda: _anybodys(FillOrder(owner=owner_of(ALICE), order_nonce=nonce)))
    guest.prices[BTC] = guest.prices[BTC] * 11 // 10
    note("close_at_cap", lambda: _anybodys(CloseAtCap(**_alices())))
    note("create_order again", lambda: order(guest))
    nonce = guest.head(ALICE)["nonce"] - 1
    cancel = CancelOrder(**guest.head(ALICE), order_nonce=nonce)
    note("cancel_order", lambda: guest.signed(cancel, ALICE))
    del found["create_order again"]
    steps_of(guest, increase(guest, ALICE))
    guest.prices[BTC] = guest.prices[BTC] * 9 // 10
    note("liquidate", lambda: _anybodys(Liquidate(**_alices())))
    return found


def _alices() -> dict[str, Any]:
    return {"owner": owner_of(ALICE), "token": BTC, "side": LONG}


def _anybodys(operation: FillOrder | CloseAtCap | Liquidate) -> SignedOperation:
    return SignedOperation(operation)


def updates() -> tuple[GuestPool, Witness]:
    """A batch of 100 signed updates of as many positions."""
    guest = funded()
    users = range(1, BATCH + 1)
    for _ in range(2):
        operations = [increase(guest, user, (LONG, SHORT)[user % 2]) for user in users]
        _, witness = guest.witness(operations)
        assert not any(witness.codes)
    return guest, witness


def batch() -> dict[str, Any]:
    """Steps, bytes and seconds of that batch."""
    guest, witness = updates()
    image, data = image_of(guest.terms), witness.encode()
    warm_up((WIDTH_DEFAULT,))
    outcome = run(image, data, LOG4_STEPS)
    assert outcome.end == "HALT"
    execution = Execution(image, data, log4_steps=LOG4_STEPS)
    say("proving, one process")
    roots = {prove(execution).root}
    alone = best(REPEATS, lambda: _seconds(lambda: prove(execution)))
    plain = best(REPEATS, lambda: _seconds(lambda: run(image, data, LOG4_STEPS)))
    say(f"proving, {WORKERS} prover processes")
    pooled, root = by_pool(guest, data)
    assert {root} == roots
    return {
        "steps": outcome.steps,
        "steps_max": witness.steps_max,
        "input_bytes": len(data),
        "plain_seconds": plain,
        "prove_seconds_1_process": alone,
        f"prove_seconds_{WORKERS}_processes": pooled,
    }


def by_pool(guest: GuestPool, data: bytes) -> tuple[float, bytes]:
    """The least seconds, and the root."""
    image = image_of(guest.terms)
    with local_cluster(cpus=WORKERS):
        provers = {
            f"prover-{i}": placement.start(placement.PROVER, str(i), Prover, image)
            for i in range(WORKERS)
        }
        for prover in provers.values():
            value(prover.pid.remote(), STARTUP_S)
        pool = ProverPool(image, provers, twice=0)
        job = Job(data, LOG4_STEPS, WIDTH_DEFAULT, 8)
        proofs = [pool.prove(job, TASK_STEPS) for _ in range(REPEATS)]
    return min(proof.seconds for proof in proofs), proofs[0].trace.root


def _seconds(work: Callable[[], object]) -> float:
    begin = perf_counter()
    work()
    return perf_counter() - begin


def measure() -> dict[str, Any]:
    """Everything, as JSON."""
    template = pool_template()
    return {
        "hardware": hardware(),
        "text_bytes": len(template.text),
        "data_bytes": sum(len(segment.content) for segment in template.data),
        "memory_bytes": sum(segment.size for segment in template.data),
        "steps": operation_steps(),
        "batch": batch(),
        "methods": METHODS,
    }


if __name__ == "__main__":
    finish("pool_guest", measure)
