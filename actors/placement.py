"""How each kind of actor is started: its name, restarts and resources. One place wraps our classes.

A call is never repeated by Ray (``max_task_retries`` 0): most of them sign, write or settle. Each
kind asks for one of a resource that the nodes of ``cluster.yaml`` offer: it runs where it belongs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import ray


@dataclass(frozen=True, slots=True)
class Kind:
    """The Ray options of a kind of actor; ``prefix`` is its resource too."""

    prefix: str
    restarts: int  # -1: for ever
    cpus: float

    def full_name(self, name: str) -> str:
        """The name by which Ray knows an actor of this kind."""
        return f"{self.prefix}/{name}"


ORACLE: Final = Kind("oracle", restarts=-1, cpus=0)
AGGREGATOR: Final = Kind("aggregator", restarts=-1, cpus=0)
COORDINATOR: Final = Kind("coordinator", restarts=-1, cpus=0)
PARTY: Final = Kind("party", restarts=-1, cpus=0)
PROVER: Final = Kind("prover", restarts=2, cpus=1)
KINDS: Final = (ORACLE, AGGREGATOR, COORDINATOR, PARTY, PROVER)


def start(kind: Kind, name: str, actor: type, *args: Any) -> Any:
    """A handle of a new actor ``prefix/name`` of class ``actor``; its constructor runs later."""
    return (
        ray.remote(actor)
        .options(
            name=kind.full_name(name),
            num_cpus=kind.cpus,
            resources={kind.prefix: 1},
            max_restarts=kind.restarts,
            max_task_retries=0,
        )
        .remote(*args)
    )


def named(kind: Kind, names: Iterable[str]) -> dict[str, Any]:
    """Handles of running actors by their full names. Ray keeps no handle for an actor that it will
    start again, but names always lead to the living one."""
    return {full: ray.get_actor(full) for full in map(kind.full_name, names)}


def stop(actor: Any) -> None:
    """End an actor for good, without its exit hooks."""
    ray.kill(actor, no_restart=True)
