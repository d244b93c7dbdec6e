"""The kinds of faults, as a plan has them: a table ``[[fault]]`` with a ``kind``. Pure."""

from typing import Annotated, ClassVar, Final, Literal, get_args

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Percent = Annotated[float, Meta(gt=0, le=100)]

PROCESS: Final = "process"
CLUSTER: Final = "cluster"
AGGREGATOR: Final = "aggregator"
ALL: Final = "all"
PROVER: Final = "prover"


class Fault(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """What all kinds have. ``at_s`` is since the start; None is drawn, as is no victim."""

    victim: str | None = None
    at_s: Seconds | None = None
    for_s: Seconds = 2.0

    of: ClassVar[tuple[str, ...]] = (PROCESS,)
    """Who can be a victim: oracles that are processes or on a Ray cluster, the aggregator, all of
    them at once, the prover."""
    weakens: ClassVar[bool] = True
    """Whether an oracle that is its victim is to be counted among the f faulty ones."""
    ends: ClassVar[bool] = False
    """Whether programs may end by it; of a fault of a Ray cluster, what was started on it."""
    settle_s: ClassVar[float] = 10.0
    """How long its victim may take to observe again after it: to start, connect and catch up."""


class Sigkill(Fault, frozen=True, tag="sigkill"):
    """SIGKILL. After ``for_s`` its keeper may start it again."""

    of = (PROCESS, AGGREGATOR)
    ends = True
    for_s: Seconds = 0.0


class Sigstop(Fault, frozen=True, tag="sigstop"):
    """SIGSTOP, and SIGCONT after ``for_s``."""

    of = (PROCESS, AGGREGATOR)


class DiskFull(Fault, frozen=True, tag="disk-full"):
    """It cannot write to any file (RLIMIT_FSIZE)."""

    ends = True


class ClockStep(Fault, frozen=True, tag="clock-step"):
    """Its clock steps by ``step_ms``, and back."""

    step_ms: Annotated[int, Meta(ge=-3_600_000, le=3_600_000)] = 3_000


class Partition(Fault, frozen=True, tag="partition"):
    """Nothing passes between it and ``peer`` (all others, if none is given): what it says (``out``)
    is lost, what it hears (``in``), or both. Packets are dropped, or connections reset."""

    of = (PROCESS, CLUSTER, AGGREGATOR)
    peer: str | None = None
    ways: Literal["both", "out", "in"] = "both"
    reset: bool = False


class Delay(Fault, frozen=True, tag="delay"):
    """Everything that it says takes ``delay_ms``, one way, give or take ``jitter_ms``."""

    of = (ALL, PROCESS, CLUSTER, AGGREGATOR)
    weakens = False
    delay_ms: Annotated[int, Meta(ge=1, le=10_000)] = 40
    jitter_ms: Annotated[int, Meta(ge=0, le=10_000)] = 10


class Drop(Fault, frozen=True, tag="drop"):
    """So many of the packets that it sends are lost: TCP sends them again, and what is behind them
    waits. ``cut``: its connections are dropped once, too."""

    of = (ALL, PROCESS, CLUSTER, AGGREGATOR)
    weakens = False
    percent: Percent = 5.0
    cut: bool = False


class CorruptFrame(Fault, frozen=True, tag="corrupt-frame"):
    """A bit of each of the next ``frames`` that it sends to ``peer`` (to each, if none) is
    flipped."""

    of = (PROCESS, CLUSTER, AGGREGATOR)
    peer: str | None = None
    frames: Annotated[int, Meta(ge=1, le=1_000)] = 1


class LyingOracle(Fault, frozen=True, tag="lying-oracle"):
    """``price``: its venues show it prices that are ``percent`` too high. ``twice``: whoever has
    its keys signs two prices for every round, one for each listener, and is convicted for good."""

    how: Literal["price", "twice"] = "price"
    percent: Percent = 3.0


class LyingProver(Fault, frozen=True, tag="lying-prover"):
    """The prover gives false roots."""

    of = (PROVER,)
    weakens = False
    ends = True


class NodeRemoval(Fault, frozen=True, tag="node-removal"):
    """The Ray node that an oracle runs on is removed, and added again after ``for_s``."""

    of = (CLUSTER,)
    ends = True
    settle_s = 40.0


class HeadLoss(Fault, frozen=True, tag="head-loss"):
    """The head of an operator's Ray cluster is lost with all that it knows; it is back after
    ``for_s``."""

    of = (CLUSTER,)
    ends = True
    settle_s = 40.0


class WorkerLoss(Fault, frozen=True, tag="worker-loss"):
    """The Ray node of a prover is lost during a proof, and added again after ``for_s``."""

    of = (PROVER,)
    weakens = False
    ends = True


Any = (
    Sigkill
    | Sigstop
    | DiskFull
    | ClockStep
    | Partition
    | Delay
    | Drop
    | CorruptFrame
    | LyingOracle
    | LyingProver
    | NodeRemoval
    | HeadLoss
    | WorkerLoss
)
KINDS: Final[dict[str, type[Fault]]] = {k.__struct_config__.tag: k for k in get_args(Any)}
"""By the name in a plan."""
ON_CLUSTER: Final = (NodeRemoval, HeadLoss, WorkerLoss)
"""For a ground with a Ray cluster alone."""


def name_of(fault: Fault) -> str:
    """Of its kind."""
    return str(type(fault).__struct_config__.tag)
