"""docs/operators/alerts.yml and dashboard.json: every rule fires in its fault, after its time, and
clears; every expression is over metrics that our programs export."""

import json
import re
import shutil
import subprocess
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from actors.cluster_meters import ClusterMeters
from actors.cluster_state import ActorState, ClusterState, RoleState
from actors.gateway.meters import ApiMeters
from actors.meters import Meters
from actors.operator import load_operator
from actors.supervision import Phase, Watched, role_state
from protocol.options.book import Stage
from protocol.oracle.messages import AGGREGATOR
from tests.actors.test_metrics import parse
from tests.builders.promql import Alert, Expression, seconds

FOLDER = Path(__file__).parents[2] / "docs/operators"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {
    rule["alert"]: Alert(rule["alert"], Expression(rule["expr"]), seconds(rule.get("for", "")))
    for rule in RULES
}
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
NETWORK = load_operator(FOLDER / "config/oracle.toml").network
VENUES = ("binance", "coinbase", "kraken")
ROUTE = "/v1/quote"
STEP_S = 30
STEPS = 22


@dataclass(frozen=True, slots=True)
class World:
    """What is, or happens in half a minute, while all is well."""

    up: int = 1
    age_s: float = 5
    grade: str = "FULL"
    given_up: int = 0
    connected: bool = True
    convicted: int = 0
    flagged: int = 0
    breaker: int = 0
    clock_alarm: int = 0
    subscribed: tuple[int, ...] = (1, 1, 1)
    quote_age_s: float = 1
    dropped: int = 0
    refused: int = 0
    latency_s: float = 0.02
    api_age_s: float = 5
    api_status: int = 200
    api_s: float = 0.001
    stage: Stage = Stage.OPEN
    signer: int = 1
    epoch_s: float | None = None
    ready: bool = True
    tls_s: float = 8e6
    cluster_fault: str = ""
    phases: tuple[Phase, ...] = (Phase.RUNNING, Phase.RUNNING)
    stand_in: bool = True
    restarts: int = 0


FAULTS = {
    "ProgramDown": ({"up": 0}, set()),
    "PriceStale": ({"age_s": 95}, set()),
    "NoFullPrice": ({"grade": "DEGRADED"}, set()),
    "RoundsGivenUp": ({"given_up": 1}, set()),
    "PeerLost": ({"connected": False}, set()),
    "OracleEquivocated": ({"convicted": 1}, set()),
    "OracleDeviates": ({"flagged": 1}, set()),
    "BreakerOpen": ({"breaker": 1}, set()),
    "ClockOff": ({"clock_alarm": 1}, set()),
    "VenueLost": ({"subscribed": (0, 1, 1)}, set()),
    "VenuesGone": ({"subscribed": (0, 0, 1)}, {"VenueLost"}),
    "VenueSilent": ({"quote_age_s": 40}, set()),
    "QueueFull": ({"dropped": 1}, set()),
    "PeerRefused": ({"refused": 2}, set()),
    "CertificatesSlow": ({"latency_s": 2.0}, set()),
    "ApiPriceOld": ({"api_age_s": 95}, set()),
    "ApiFaults": ({"api_status": 500}, set()),
    "ApiSlow": ({"api_s": 0.4}, set()),
    "ContractDisputed": ({"stage": Stage.DISPUTED}, set()),
    "ContractFailed": ({"stage": Stage.FAILED}, set()),
    "SignerGone": ({"signer": 0}, set()),
    "EpochPending": ({"epoch_s": 1800.0}, set()),
    "EpochNotReady": ({"epoch_s": 90_000.0, "ready": False}, set()),
    "EpochOverdue": ({"epoch_s": -60.0}, {"EpochPending"}),
    "TlsCertificateEnds": ({"tls_s": 86_400.0}, set()),
    "ClusterLost": ({"cluster_fault": "the head does not answer"}, set()),
    "ActorDown": ({"phases": (Phase.RUNNING, Phase.OUT)}, {"RoleDegraded"}),
    "ActorRestarts": ({"restarts": 1}, set()),
    "RoleDegraded": ({"phases": (Phase.OUT, Phase.OUT)}, {"ActorDown"}),
    "RoleHalted": ({"phases": (Phase.OUT, Phase.OUT), "stand_in": False}, {"ActorDown"}),
    "RoleFailed": ({"phases": (Phase.FAILED, Phase.FAILED)}, {"ActorDown"}),
}


class Programs:
    """An oracle, a gateway and the supervisor of a cluster, as far as their meters go; they show a
    ``World``."""

    def __init__(self):
        self.meters = Meters(NETWORK)
        self.traffic = {
            peer: SimpleNamespace(
                connected=True, frames_in=0, frames_out=0, dropped=0, unsent=0, refused={}
            )
            for peer in (1, 2, AGGREGATOR)
        }
        contract = SimpleNamespace(stage=Stage.OPEN)
        self.market = SimpleNamespace(
            certified_count=1,
            indexes={},
            config=SimpleNamespace(feed=SimpleNamespace(symbol="BTC/USD")),
            now_ms=lambda: 1_000_000,
            nodes=[SimpleNamespace(connected=True)],
            book=SimpleNamespace(contracts={1: contract}),
        )
        self.api = ApiMeters(self.market, [ROUTE])
        self.cluster = ClusterMeters({"prover": ACTORS})
        self.given_up = self.dropped = self.restarts = 0

    def show(self, world):
        """The page of half a minute later, as Prometheus keeps it."""
        meters = self.meters
        meters.rounds.inc(grade=world.grade)
        meters.latency.observe(world.latency_s)
        self.given_up += world.given_up
        self.dropped += world.dropped
        meters.node(SimpleNamespace(given_up=self.given_up, dropped=self.dropped))
        meters.age.set(world.age_s)
        meters.breaker.set(world.breaker)
        meters.evidence.total(world.convicted, oracle="charlie")
        meters.flagged.set(world.flagged, oracle="charlie")
        for one in self.traffic.values():
            one.connected = world.connected
            one.refused = {"skew": one.refused.get("skew", 0) + world.refused}
        meters.peers(self.traffic)
        for venue, subscribed in zip(VENUES, world.subscribed, strict=True):
            meters.venue_up.set(subscribed, venue=venue)
            meters.venue_age.set(world.quote_age_s, venue=venue)
            meters.clock_alarm.set(world.clock_alarm, venue=venue)
        time = 1_000_000 - 1000 * world.api_age_s
        self.market.indexes["BTC/USD"] = SimpleNamespace(report=SimpleNamespace(time=time))
        self.market.book.contracts[1].stage = world.stage
        self.api.observe(ROUTE, world.api_status, world.api_s)
        meters.signer_up.set(world.signer)
        meters.next_epoch(world.epoch_s, ready=world.ready)
        meters.tls_left.set(world.tls_s)
        self.restarts += world.restarts
        self.cluster.show(cluster_state(world, self.restarts))
        page = {("up", frozenset({("job", "oracle-vm"), ("instance", "node")})): float(world.up)}
        pages = {"node": meters.registry, "api": self.api, "cluster": self.cluster.registry}
        for instance, text in ((name, shown.text()) for name, shown in pages.items()):
            for (name, labels), value in parse(_watched(text))[0].items():
                page[name, labels | {("instance", instance)}] = value
        return page


ACTORS = ("prover/0", "prover/1")


def cluster_state(world, restarts):
    """As the supervisor judges what it sees of two actors of one role."""
    seen = [
        Watched(phase=phase, reason="" if phase is Phase.RUNNING else "its node is gone")
        for phase in world.phases
    ]
    state, reason = role_state(seen, world.stand_in)
    actors = {
        name: ActorState(phase=one.phase, restarts=restarts)
        for name, one in zip(ACTORS, seen, strict=True)
    }
    role = RoleState(state, reason, actors)
    return ClusterState(state, world.cluster_fault, 1, 9100, 0, {"prover": role})


WATCHED = {selector.name for alert in ALERTS.values() for selector in alert.expression.selectors}
LINE = re.compile(
    rf"(# TYPE )?({'|'.join(WATCHED | {n.removesuffix('_bucket') for n in WATCHED})})[ {{]"
)


def _watched(text):
    """The lines of a page that a rule looks at: to read a page is what takes the time here."""
    return "".join(line for line in text.splitlines(True) if LINE.match(line))


def firing(history):
    return {name for name, alert in ALERTS.items() if alert.fires(history)}


def goes_on(programs, history, world, steps=STEPS):
    for _ in range(steps):
        history.append((float(STEP_S * len(history)), programs.show(world)))


@pytest.fixture(scope="module")
def healthy():
    """Programs for which all was well for a while, and that while."""
    programs, history = Programs(), []
    goes_on(programs, history, World())
    assert firing(history) == set()
    return programs, history


@pytest.mark.parametrize("name", FAULTS)
def test_it_fires_in_its_fault_and_clears(name, healthy):
    changes, others = FAULTS[name]
    fault = replace(World(), **changes)
    programs, history = deepcopy(healthy[0]), [*healthy[1]]
    goes_on(programs, history, fault, 1)
    if ALERTS[name].hold_s > 0:
        assert name not in firing(history), "not before its time"
    goes_on(programs, history, fault)
    assert firing(history) == {name, *others}
    for labels in ALERTS[name].fires(history):
        (rule,) = (rule for rule in RULES if rule["alert"] == name)
        said = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert said <= {label for label, _ in labels}
    goes_on(Programs(), history, World())  # repaired and started again
    assert firing(history) == set()


def test_every_rule_has_its_fault_and_its_line_in_the_guide():
    assert list(ALERTS) == list(dict.fromkeys(rule["alert"] for rule in RULES))
    assert FAULTS.keys() == ALERTS.keys()
    guide = (FOLDER.parent / "operators.md").read_text()
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", guide, re.MULTILINE)) == ALERTS.keys()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "warn")


def exported():
    """The names of all samples that the programs show."""
    programs = Programs()
    programs.show(World())
    names = {"up"}
    programs.meters.next_epoch(1.0, ready=True)
    for shown in (programs.meters.registry, programs.api, programs.cluster.registry):
        text = shown.text()
        samples, types = parse(text)
        names |= {name for name, _ in samples} | types.keys()
    return names


EXPORTED = exported()


def expressions():
    found = {name: alert.expression for name, alert in ALERTS.items()}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']}: {target['refId']}"] = Expression(target["expr"])
    return found


@pytest.mark.parametrize("name", expressions())
def test_every_metric_exists(name):
    for selector in expressions()[name].selectors:
        assert selector.name in EXPORTED, f"{selector.name} is not exported"


def test_the_dashboard_is_one():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_agrees():
    command = ["promtool", "check", "rules", str(FOLDER / "alerts.yml")]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


# The evaluator itself


def at(expression, *pages, step_s=60.0):
    history = [
        (step_s * number, {(name, frozenset(labels.items())): v for name, labels, v in page})
        for number, page in enumerate(pages)
    ]
    found = Expression(expression).at(history, history[-1][0])
    return {tuple(sorted(labels)): value for labels, value in found.items()}


def test_increase_counts_over_a_restart():
    pages = [[("c", {"a": "x"}, v)] for v in (5, 7, 1, 4)]
    assert at("increase(c[10m])", *pages) == {(("a", "x"),): 2 + 1 + 3}
    assert at("increase(c[1m])", *pages) == {(("a", "x"),): 3}
    assert at("rate(c[1m])", *pages) == {(("a", "x"),): 0.05}
    assert at('increase(c{a="y"}[10m])', *pages) == {}


def test_sums_and_quantiles():
    buckets = [("h_bucket", {"le": le, "i": i}, v) for i, le, v in HISTOGRAM]
    assert at("histogram_quantile(0.5, sum by (le) (h_bucket))", buckets) == {(): 7 / 8}
    assert at("histogram_quantile(0.75, sum by (le) (h_bucket))", buckets) == {(): 1 + 2.5 / 6}
    assert at("sum by (i) (h_bucket) > 25", buckets) == {(("i", "b"),): 26.0}


HISTOGRAM = [("a", "1", 2), ("a", "2", 4), ("a", "+Inf", 4)]
HISTOGRAM += [("b", "1", 6), ("b", "2", 10), ("b", "+Inf", 10)]


@pytest.mark.parametrize("text", ["avg(x)", "x > y", "x or y", "x[5m] offset 1m", "sum(x)", "x +"])
def test_other_expressions_are_refused(text):
    with pytest.raises((AssertionError, ValueError, KeyError, IndexError)):
        Expression(text)
