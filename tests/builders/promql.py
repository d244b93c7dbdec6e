"""Prometheus's rules over pages of metrics, for tests: the part of PromQL that our files use.

    expr    := vector [(== | != | > | < | >= | <=) number]
    vector  := selector | (increase | rate)(selector[10m]) | sum by (labels) (vector)
             | histogram_quantile(number, vector)

``increase`` is what a counter has grown within the window, resets included; Prometheus extrapolates
to the window's ends besides. Whatever else is written is an AssertionError.
"""

import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Labels = frozenset[tuple[str, str]]
Page = Mapping[tuple[str, Labels], float]
"""Samples by name and labels."""
Vector = dict[Labels, float]
History = Sequence[tuple[float, Page]]
"""Pages and the seconds at which they were scraped, ascending."""

UNITS = {"s": 1, "m": 60, "h": 3600}
COMPARED: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
TOKEN = re.compile(r'\s*(==|!=|>=|<=|[<>(){}\[\],=]|"[^"]*"|[0-9.]+[smh]?|[a-zA-Z_]\w*)')


def seconds(text: str) -> float:
    """Of ``10m``; 0 for nothing."""
    return float(text[:-1]) * UNITS[text[-1]] if text else 0.0


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's series whose labels have these values."""

    name: str
    labels: Labels

    def of(self, page: Page) -> Vector:
        return {
            labels: value
            for (name, labels), value in page.items()
            if name == self.name and self.labels <= labels
        }


class Expression:
    """One expression; ``selectors`` are those in it."""

    def __init__(self, text: str) -> None:
        self.selectors: list[Selector] = []
        self._tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = TOKEN.match(text, at)
            assert match is not None, f"{text!r}: not read at {text[at:]!r}"
            self._tokens.append(match[1])
            at = match.end()
        self._vector = self._read_vector()
        self._keeps: Callable[[float], bool] = lambda _: True
        if self._tokens:
            compare, limit = COMPARED[self._take()], float(self._take())
            self._keeps = lambda value: compare(value, limit)
        assert not self._tokens, f"{text!r}: {self._tokens} is not understood"

    def at(self, history: History, now_s: float) -> Vector:
        """The series for which it holds, and their values."""
        found = self._vector(history, now_s)
        return {labels: value for labels, value in found.items() if self._keeps(value)}

    def _take(self, expected: str | None = None) -> str:
        token = self._tokens.pop(0)
        assert expected in (None, token), f"{token!r} where {expected!r} is needed"
        return token

    def _read_vector(self) -> Callable[[History, float], Vector]:
        name = self._take()
        if name in ("increase", "rate"):
            return self._read_range(per_s=name == "rate")
        if name == "sum":
            self._take("by")
            kept = self._read_list()
            self._take("(")
            inner = self._read_vector()
            self._take(")")
            return lambda history, now_s: _sum(inner(history, now_s), kept)
        if name == "histogram_quantile":
            self._take("(")
            quantile = float(self._take())
            self._take(",")
            inner = self._read_vector()
            self._take(")")
            return lambda history, now_s: _quantile(quantile, inner(history, now_s))
        selector = self._read_selector(name)
        return lambda history, now_s: selector.of(_latest(history, now_s))

    def _read_range(self, per_s: bool) -> Callable[[History, float], Vector]:
        self._take("(")
        selector = self._read_selector(self._take())
        self._take("[")
        window_s = seconds(self._take())
        self._take("]")
        self._take(")")
        return lambda history, now_s: {
            labels: grown / (window_s if per_s else 1)
            for labels, grown in _grown(selector, history, now_s - window_s, now_s).items()
        }

    def _read_selector(self, name: str) -> Selector:
        labels: list[tuple[str, str]] = []
        if self._tokens[:1] == ["{"]:
            self._take()
            while self._tokens[0] != "}":
                label = self._take()
                self._take("=")
                labels.append((label, self._take().strip('"')))
                if self._tokens[0] == ",":
                    self._take()
            self._take("}")
        selector = Selector(name, frozenset(labels))
        self.selectors.append(selector)
        return selector

    def _read_list(self) -> set[str]:
        self._take("(")
        found = {self._take()}
        while self._take() == ",":
            found.add(self._take())
        return found


def _latest(history: History, now_s: float) -> Page:
    return next(page for at_s, page in reversed(history) if at_s <= now_s)


def _grown(selector: Selector, history: History, after_s: float, now_s: float) -> Vector:
    found: Vector = {}
    before: Vector = {}
    for at_s, page in history:
        if not after_s <= at_s <= now_s:
            continue
        values = selector.of(page)
        for labels, value in values.items():
            if labels in before:
                step = value - before[labels]
                found[labels] = found.get(labels, 0.0) + (step if step >= 0 else value)
        before = values
    return found


def _sum(vector: Vector, kept: set[str]) -> Vector:
    found: dict[Labels, float] = defaultdict(float)
    for labels, value in vector.items():
        found[frozenset(pair for pair in labels if pair[0] in kept)] += value
    return dict(found)


def _quantile(quantile: float, vector: Vector) -> Vector:
    """Linear within a bucket, as Prometheus has it; nothing was observed: not there."""
    groups: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, value in vector.items():
        bound = next(text for label, text in labels if label == "le")
        groups[frozenset(pair for pair in labels if pair[0] != "le")].append((float(bound), value))
    found: Vector = {}
    for labels, buckets in groups.items():
        buckets.sort()
        rank = quantile * buckets[-1][1]
        low, below = 0.0, 0.0
        for bound, count in buckets:
            if count >= rank > 0:
                found[labels] = (
                    low
                    if math.isinf(bound)
                    else low + (bound - low) * (rank - below) / (count - below)
                )
                break
            low, below = bound, count
    return found


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule: it fires for a series once its expression has held for ``hold_s``."""

    name: str
    expression: Expression
    hold_s: float

    def fires(self, history: History) -> set[Labels]:
        """The series for which it fires at the end of the history."""
        end_s = history[-1][0]
        due = [at_s for at_s, _ in history if at_s >= end_s - self.hold_s]
        if end_s - due[0] < self.hold_s:
            return set()
        held = [self.expression.at(history, at_s).keys() for at_s in due]
        return set(held[0]).intersection(*held)
