"""What a soak writes down while it runs."""

from dataclasses import dataclass, field

from protocol.settlement.terms import ContractTerms
from protocol.units import UnixMs
from tests.soak.gauges import Sample
from tests.soak.plan import Plan


@dataclass
class Story:
    """One contract of the run. ``problems`` is what was not as it should be."""

    plan: Plan
    number: int = 0
    instrument: str = ""
    ordered_h: float = 0.0
    over_h: float = 0.0
    outcome: str = ""
    due_round: int = 0
    terms: ContractTerms | None = None
    problems: list[str] = field(default_factory=list)


@dataclass
class Day:
    """Everything that the report tells."""

    seed: int
    hours: float
    block_s: int
    start_ms: UnixMs
    stories: list[Story]
    samples: list[Sample] = field(default_factory=list)
    expected_rounds: int = 0
    missing_rounds: list[int] = field(default_factory=list)
    rounds: int = 0
    grades: dict[str, int] = field(default_factory=dict)
    end_h: float = 0.0
    blocks: int = 0
    real_s: float = 0.0
    cpu_s: float = 0.0
    errors: list[str] = field(default_factory=list)
