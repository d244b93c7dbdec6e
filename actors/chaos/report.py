"""What a chaos run tells: one JSON record, a summary for a terminal, and a folder with a report."""

from collections import Counter
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from actors.chaos.invariants import PROMISES, Injection, Invariant
from actors.chaos.plot import draw_timeline
from actors.chaos.run import Outcome
from actors.network_files import table

REPORT = "report.md"
TIMELINE = "timeline.png"


def record(outcome: Outcome, report: Path) -> dict[str, Any]:
    """Everything, as plain values."""
    ledger, injections = outcome.ledger, outcome.injections
    return {
        "plan": outcome.plan.name,
        "seed": outcome.plan.seed,
        "ground": outcome.plan.ground.kind,
        "oracles": len(outcome.plan.oracles),
        "seconds": round(outcome.seconds, 1),
        "broken": outcome.broken,
        "faults_injected": len(injections),
        "kinds": dict(sorted(Counter(i.event.kind for i in injections).items())),
        "faults": [_fault(injection) for injection in injections],
        "certificates": outcome.certificates,
        "longest_gap_s": round(outcome.pace.longest_s, 2),
        "judged_s": round(outcome.pace.judged_s, 1),
        "corrupted": outcome.corrupted,
        "proofs": outcome.proofs,
        "invariants_checked": ledger.checked.total(),
        "invariants": {
            name.value: {"checked": ledger.checked[name], "violations": ledger.violated[name]}
            for name in Invariant
        },
        "violations": outcome.violations,
        "violated": [
            {"invariant": v.invariant.value, "at_s": v.at_s, "detail": v.detail}
            for v in ledger.violations
        ],
        "report": str(report),
    }


def summary(outcome: Outcome, files: list[Path]) -> str:
    """For a person."""
    plan, ledger = outcome.plan, outcome.ledger
    kinds = Counter(i.event.kind for i in outcome.injections)
    lines = [
        f"{plan.name}, seed {plan.seed}: {len(plan.oracles)} oracles, {outcome.seconds:.0f} s",
        f"faults       {len(outcome.injections)}: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        f"certificates {outcome.certificates}, longest gap {outcome.pace.longest_s:.2f} s,"
        f" {outcome.pace.judged_s:.0f} s judged",
    ]
    if plan.ground.provers:
        told = [f"{count} {name.replace('_', ' ')}" for name, count in outcome.proofs.items()]
        lines.append(f"proofs       {', '.join(told)}")
    lines.append(f"{'invariant':22} {'checked':>9} {'violated':>9}")
    lines += [
        f"{name.value:22} {ledger.checked[name]:>9} {ledger.violated[name]:>9}"
        for name in Invariant
    ]
    lines += [f"VIOLATED {v.invariant} at {v.at_s:.1f} s: {v.detail}" for v in ledger.violations]
    lines.append(f"report       {', '.join(map(str, files))}")
    return "\n".join(lines)


def write_report(outcome: Outcome, folder: Path) -> list[Path]:
    """The report, its plot and the programs' logs in ``folder``; the files, the report first."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for name, text in outcome.logs.items():
        (logs / name).write_bytes(text)
    draw_timeline(outcome, folder / TIMELINE)
    (folder / REPORT).write_text(_markdown(outcome))
    return [folder / REPORT, folder / TIMELINE]


def _fault(injection: Injection) -> dict[str, Any]:
    event = injection.event
    settings = to_builtins(event.fault)
    own = {key: settings[key] for key in settings if key not in ("kind", "victim", "at_s", "for_s")}
    return {
        "kind": event.kind,
        "victim": event.victim,
        "at_s": round(injection.began_s, 2),
        "healed_s": _rounded(injection.ended_s),
        "back_s": _rounded(injection.recovered_s),
        **own,
    }


def _markdown(outcome: Outcome) -> str:
    plan, ledger, pace = outcome.plan, outcome.ledger, outcome.pace
    verdict = f"**{outcome.violations} violations**" if outcome.violations else "No violation."
    broken = f" `--break {outcome.broken}` took a defence away." if outcome.broken else ""
    faults = [
        f"| {row.pop('at_s'):.1f} | {_moment(row.pop('healed_s'))} |"
        f" {_moment(row.pop('back_s'))} | {row.pop('kind')} |"
        f" {row.pop('victim')} | {', '.join(f'{k} {v}' for k, v in row.items())} |"
        for row in map(_fault, outcome.injections)
    ]
    checks = [
        f"| {name} | {ledger.checked[name]} | {ledger.violated[name]} | {PROMISES[name]} |"
        for name in Invariant
    ]
    return "\n".join(
        [
            f"# {plan.name}, seed {plan.seed}",
            "",
            f"{verdict}{broken} {len(outcome.injections)} faults in {outcome.seconds:.0f} s on"
            f" {len(plan.oracles)} oracles and an aggregator ({plan.ground.kind}),"
            f" {outcome.certificates} certified rounds, the longest gap {pace.longest_s:.2f} s"
            f" (bound without a fault of the links: {pace.bound_s(-2.0, -1.0):.1f} s, of which"
            f" factor {plan.bounds.busy} for a busy machine; {pace.judged_s:.0f} s were judged).",
            "",
            f"![timeline]({TIMELINE})",
            "",
            *(f"* {v.at_s:.1f} s, {v.invariant}: {v.detail}" for v in ledger.violations),
            "",
            "| invariant | checked | violated | promise |",
            "|---|---|---|---|",
            *checks,
            "",
            "| from s | to s | back s | fault | victim | settings |",
            "|---|---|---|---|---|---|",
            *faults,
            "",
            "```toml",
            table("[ground]", to_builtins(plan.ground)).strip(),
            "```",
            "",
        ]
    )


def _rounded(at_s: float | None) -> float | None:
    return None if at_s is None else round(at_s, 2)


def _moment(at_s: float | None) -> str:
    return "" if at_s is None else f"{at_s:.1f}"
