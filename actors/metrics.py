"""Counters, gauges and histograms, and their text form for Prometheus (exposition format 0.0.4).

    registry = Registry()
    rounds = registry.counter("rounds_total", "Certified rounds.", grade=("FULL", "DEGRADED"))
    rounds.inc(grade="FULL")
    registry.text()

Every label value is declared with the metric, so what is heard on the network never adds a series.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, product
from typing import Final, TypeVar

from protocol.errors import ConfigError

MAX_SERIES: Final = 10_000
"""Of one metric."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_Key = tuple[str, ...]


class Metric:
    """A name, a sentence, and the values that each label may have. ConfigError names what is
    wrong; ``labels`` of every call must be exactly the declared ones."""

    kind: str

    def __init__(self, name: str, about: str, labels: Mapping[str, Sequence[object]]) -> None:
        for word in (name, *labels):
            if not _NAME.fullmatch(word) or word == "le":
                raise ConfigError(f"metric {name}: {word!r} is no name of a metric or label")
        self.name = name
        self._about = about
        self._labels = {label: tuple(map(str, values)) for label, values in labels.items()}
        if math.prod(map(len, self._labels.values())) > MAX_SERIES:
            raise ConfigError(f"metric {name}: more than {MAX_SERIES} series; declare fewer labels")
        self._keys = frozenset(product(*self._labels.values()))

    def lines(self) -> Iterable[str]:
        """The metric as text."""
        about = self._about.replace("\\", "\\\\").replace("\n", "\\n")
        yield f"# HELP {self.name} {about}"
        yield f"# TYPE {self.name} {self.kind}"
        yield from self._samples()

    def _samples(self) -> Iterable[str]:
        raise NotImplementedError

    def _key(self, labels: Mapping[str, object]) -> _Key:
        key = tuple([str(labels.get(label, "")) for label in self._labels])
        if key not in self._keys or len(labels) != len(self._labels):
            raise ConfigError(f"metric {self.name}: {dict(labels)} is not declared")
        return key

    def _line(self, suffix: str, key: _Key, value: float, **more: str) -> str:
        labels = [*zip(self._labels, key, strict=True), *more.items()]
        shown = ",".join(f'{label}="{_escape(text)}"' for label, text in labels)
        return (
            f"{self.name}{suffix}{{{shown}}} {value}" if shown else f"{self.name}{suffix} {value}"
        )


class Counter(Metric):
    """Only grows; every series is there from the start, at 0."""

    kind = "counter"

    def __init__(self, name: str, about: str, labels: Mapping[str, Sequence[object]]) -> None:
        super().__init__(name, about, labels)
        self._values: dict[_Key, float] = dict.fromkeys(sorted(self._keys), 0)

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Adds ``amount`` >= 0."""
        key = self._key(labels)
        self._values[key] += _finite(self.name, max(amount, 0))

    def total(self, count: float, **labels: object) -> None:
        """Takes over a count that is kept elsewhere; it does not go back."""
        key = self._key(labels)
        self._values[key] = max(self._values[key], _finite(self.name, count))

    def value(self, **labels: object) -> float:
        """The count."""
        return self._values[self._key(labels)]

    def _samples(self) -> Iterable[str]:
        return (self._line("", key, value) for key, value in self._values.items())


class Gauge(Metric):
    """Goes up and down; a series is shown once it has a value."""

    kind = "gauge"

    def __init__(self, name: str, about: str, labels: Mapping[str, Sequence[object]]) -> None:
        super().__init__(name, about, labels)
        self._values: dict[_Key, float] = {}

    def set(self, value: float | None, **labels: object) -> None:
        """The value now; None: there is none."""
        key = self._key(labels)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = _finite(self.name, value)

    def value(self, **labels: object) -> float | None:
        """The value, if there is one."""
        return self._values.get(self._key(labels))

    def _samples(self) -> Iterable[str]:
        return (self._line("", key, value) for key, value in sorted(self._values.items()))


class Histogram(Metric):
    """How many observations were at most each of the ``buckets``, ascending."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        about: str,
        labels: Mapping[str, Sequence[object]],
        buckets: Sequence[float],
    ) -> None:
        super().__init__(name, about, labels)
        if not buckets or list(buckets) != sorted(set(buckets)) or not math.isfinite(buckets[-1]):
            raise ConfigError(f"metric {name}: buckets must be finite and ascend, got {buckets}")
        self._buckets = tuple(buckets)
        self._counts = {key: [0] * (len(buckets) + 1) for key in sorted(self._keys)}
        self._sums: dict[_Key, float] = dict.fromkeys(self._counts, 0)

    def observe(self, value: float, **labels: object) -> None:
        """Counts one observation."""
        key = self._key(labels)
        self._sums[key] += _finite(self.name, value)
        self._counts[key][bisect_left(self._buckets, value)] += 1

    def count(self, **labels: object) -> int:
        """How many observations there were."""
        return sum(self._counts[self._key(labels)])

    def _samples(self) -> Iterable[str]:
        bounds = [*map(str, self._buckets), "+Inf"]
        for key, counts in self._counts.items():
            for bound, count in zip(bounds, accumulate(counts), strict=True):
                yield self._line("_bucket", key, count, le=bound)
            yield self._line("_sum", key, self._sums[key])
            yield self._line("_count", key, sum(counts))


_Kind = TypeVar("_Kind", bound=Metric)


class Registry:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, about: str, /, **labels: Sequence[object]) -> Counter:
        """A new counter; ConfigError if the name is taken or malformed."""
        return self._add(Counter(name, about, labels))

    def gauge(self, name: str, about: str, /, **labels: Sequence[object]) -> Gauge:
        """A new gauge; ConfigError if the name is taken or malformed."""
        return self._add(Gauge(name, about, labels))

    def histogram(
        self, name: str, about: str, buckets: Sequence[float], /, **labels: Sequence[object]
    ) -> Histogram:
        """A new histogram; ConfigError if the name is taken or malformed."""
        return self._add(Histogram(name, about, labels, buckets))

    def text(self) -> str:
        """All metrics in the text format of Prometheus."""
        return "".join(f"{line}\n" for metric in self._metrics.values() for line in metric.lines())

    def _add(self, metric: _Kind) -> _Kind:
        if metric.name in self._metrics:
            raise ConfigError(f"metric {metric.name} exists: a name has one meaning")
        self._metrics[metric.name] = metric
        return metric


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"metric {name}: {value} is no number to show")
    return value


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
