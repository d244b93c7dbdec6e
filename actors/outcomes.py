"""What became of a call to an actor, as a value: the only names of ray.exceptions.

A call is answered, refused (the actor raised one of our errors) or lost (dead or late: it may have
acted or not). Only ``insist`` repeats a call.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

import ray
from ray.exceptions import ActorAlreadyExistsError as NameTaken
from ray.exceptions import ActorDiedError, RayActorError, RayError, RayTaskError

from protocol.errors import ProtocolError
from riscv_vm.image import ImageError

__all__ = ["NameTaken"]

T = TypeVar("T")

RETRY_S: Final = 0.05
"""Between two calls to an actor that is being started again."""


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The call returned ``value``."""

    value: T


@dataclass(frozen=True, slots=True)
class Refused:
    """The actor raised one of our errors; ``error`` says why."""

    error: ValueError

    @property
    def reason(self) -> str:
        """The refusal in words."""
        return str(self.error)


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: the actor is dead, being restarted, or late. ``is_dead``: it is, for good."""

    reason: str
    is_dead: bool = False


Outcome = Answered[T] | Refused | Lost


def _failed(error: Exception, deadline_s: float, foreign: bool = False) -> Refused | Lost:
    """The outcome of a failed call; an error that is a bug of ours is raised again.

    ``foreign`` calls go to another party, whose errors of any kind are no answer.
    """
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, ProtocolError | ImageError):
            return Refused(cause)
        if foreign:
            return Lost(f"the other side failed: {type(cause).__name__}")
        raise error
    if isinstance(error, TimeoutError):  # Ray's GetTimeoutError is one
        return Lost(f"no answer within {deadline_s:g} s")
    is_dead = isinstance(error, ActorDiedError)
    if isinstance(error, RayActorError) and "creation task" in str(error):
        why = str(error).strip().splitlines()[-1]
        return Lost(f"the process could not start: {why}", is_dead)
    return Lost("the process died", is_dead)


async def ask(call: Awaitable[T], deadline_s: float) -> Outcome[T]:
    """Await a call to another party inside an async actor, at most ``deadline_s`` seconds."""
    try:
        return Answered(await asyncio.wait_for(call, deadline_s))
    except (TimeoutError, RayError) as error:
        return _failed(error, deadline_s, foreign=True)


def fetch(call: Any, deadline_s: float, *, foreign: bool = False) -> Outcome[Any]:
    """Wait for an actor call outside of any actor, at most ``deadline_s`` seconds."""
    try:
        return Answered(ray.get(call, timeout=deadline_s))
    except RayError as error:
        return _failed(error, deadline_s, foreign)


def value(call: Any, deadline_s: float) -> Any:
    """The value of a call that must succeed; raises its refusal, TimeoutError if it is lost."""
    outcome = fetch(call, deadline_s)
    if isinstance(outcome, Answered):
        return cast(Any, outcome.value)
    if isinstance(outcome, Refused):
        raise outcome.error
    raise TimeoutError(outcome.reason)


def insist(ask: Callable[[], Any], deadline_s: float) -> Any:
    """The value of a call that may be repeated: ``ask()`` makes it, again while its actor is being
    started again. Raises its refusal, TimeoutError if all are lost."""
    end = time.monotonic() + deadline_s
    while isinstance(outcome := fetch(ask(), deadline_s), Lost):
        if time.monotonic() > end:
            raise TimeoutError(outcome.reason)
        time.sleep(RETRY_S)
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome.value


def first_done(calls: list[Any], deadline_s: float) -> Any | None:
    """The first of ``calls`` to finish in any way; None if none does within ``deadline_s``."""
    done, _ = ray.wait(calls, num_returns=1, timeout=deadline_s)
    return done[0] if done else None


def eventually(ready: Callable[[], bool], deadline_s: float, interval_s: float = 0.02) -> None:
    """Ask ``ready`` until it says yes; TimeoutError after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"not ready within {deadline_s:g} s")
        time.sleep(interval_s)
