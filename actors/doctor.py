"""What is wrong with a node or its machine, as a list of checks. Nothing is ever changed.

doctor_machine   what any program here needs: interpreter, packages, memory, disk, clock
doctor_files     a node's files, whether it runs or not
doctor_running   what a node that runs says of itself
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import ProtocolError


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``remedy`` is what to do, empty if nothing is."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Finding:
    """As it should be."""
    return Finding(name, State.OK, detail)


def warn(name: str, detail: str, remedy: str) -> Finding:
    """It works, and is not as it should be."""
    return Finding(name, State.WARN, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Finding:
    """It does not work, or must not go on."""
    return Finding(name, State.FAIL, detail, remedy)


def findings_of(
    checks: Iterable[tuple[str, Callable[[], Finding | Iterable[Finding]]]],
) -> Iterator[Finding]:
    """What these checks find, one after the other. An error of ours is a failed check with what it
    says to do; one of the system, too."""
    for name, check in checks:
        try:
            found = check()
            yield from [found] if isinstance(found, Finding) else list(found)
        except ProtocolError as error:
            yield fail(name, type(error).__name__, str(error))
        except OSError as error:
            yield fail(name, str(error), "make it readable for the user who runs this")
