"""The plot of a soak: memory, descriptors, contracts and disk over the hours."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from tests.soak.gauges import Sample


def draw(samples: Sequence[Sample], hours: float, warm_h: float, path: Path) -> None:
    """An SVG at ``path``."""
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "soak"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(4, 1, sharex=True, figsize=(8, 9), layout="constrained")
    time = [sample.hour for sample in samples]
    rows = (
        ("memory, MB", {"": [sample.rss_kb / 1024 for sample in samples]}),
        (
            "count",
            {
                "descriptors": [sample.fds for sample in samples],
                "tasks": [sample.tasks for sample in samples],
                "threads": [sample.threads for sample in samples],
            },
        ),
        ("contracts alive", {"": [sample.alive for sample in samples]}),
        (
            "disk, MB",
            {kind: [s.disk.get(kind, 0) / 1e6 for s in samples] for kind in _kinds(samples)},
        ),
    )
    for axis, (label, lines) in zip(axes, rows, strict=True):
        for name, values in lines.items():
            axis.plot(time, values, label=name or None, linewidth=1.2)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.axvspan(0, warm_h, color="0.93")
        axis.axvline(hours, color="0.6", linewidth=0.8)
        if len(lines) > 1:
            axis.legend(fontsize="small", ncols=3)
    axes[-1].set_xlabel("hours of virtual time (grey: warm-up; behind the line: no more orders)")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _kinds(samples: Sequence[Sample]) -> list[str]:
    """The five that are largest in the end."""
    last = samples[-1].disk
    return sorted(last, key=lambda kind: -last[kind])[:5]
