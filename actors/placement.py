"""How each kind of actor is started: its name, restarts and resources. One place wraps our classes.

A call is never repeated by Ray (``max_task_retries`` 0): most of them sign, write or settle. Each
kind asks for one of a resource that the nodes of ``cluster.yaml`` offer: it runs where it belongs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.util import list_named_actors


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
ROLES: Final = (ORACLE, AGGREGATOR, COORDINATOR, PROVER)
"""What an operator runs on a cluster of several machines (``cluster run``)."""
KINDS: Final = (*ROLES, PARTY)

CONTROL: Final = "control"
"""The concurrency group of calls that are answered while others are under way."""


def start(kind: Kind, name: str, actor: type, *args: Any, supervised: bool = False) -> Any:
    """A handle of a new actor ``prefix/name`` of class ``actor``; its constructor runs later.

    One that is ``supervised`` outlives the process that started it, and Ray does not start it
    again: its supervisor does. NameTaken (a ValueError) if an actor of this name lives.
    """
    options: dict[str, Any] = {"max_restarts": kind.restarts}
    remote: Any = ray.remote(actor)
    if supervised:
        options = {"max_restarts": 0, "lifetime": "detached"}
        groups: Any = {"concurrency_groups": {CONTROL: 1}}  # which Ray takes nowhere else
        remote = ray.remote(**groups)(actor)
    return remote.options(
        name=kind.full_name(name),
        num_cpus=kind.cpus,
        resources={kind.prefix: 1},
        max_task_retries=0,
        **options,
    ).remote(*args)


def ask_beside(method: Any, *args: Any) -> Any:
    """A call of a supervised actor's method that does not wait for those under way."""
    return method.options(concurrency_group=CONTROL).remote(*args)


def found(kind: Kind, name: str) -> Any | None:
    """The handle of a living actor of this name, None if there is none."""
    return by_full_name(kind.full_name(name))


def by_full_name(name: str) -> Any | None:
    """As ``found``."""
    try:
        return ray.get_actor(name)
    except ValueError:
        return None


def kept(kind: Kind) -> dict[str, Any]:
    """Handles of the living actors ``prefix/NUMBER`` by full names: those that `cluster run` keeps.
    Who starts others in its cluster names them otherwise."""
    names = [name for name in list_named_actors() if name.startswith(f"{kind.prefix}/")]
    numbered = sorted(name for name in names if name.rpartition("/")[2].isdecimal())
    return {name: actor for name in numbered if (actor := by_full_name(name)) is not None}


def named(kind: Kind, names: Iterable[str]) -> dict[str, Any]:
    """Handles of running actors by their full names. Ray keeps no handle for an actor that it will
    start again, but names always lead to the living one."""
    return {full: ray.get_actor(full) for full in map(kind.full_name, names)}


def stop(actor: Any) -> None:
    """End an actor for good, without its exit hooks."""
    ray.kill(actor, no_restart=True)
