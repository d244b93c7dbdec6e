"""``cluster check``: our files are fine, broken ones get their sentence; docs name every port."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.cluster_check import PORTS, ROLES, check, check_together, nodes_of
from actors.cluster_commands import cluster
from actors.cluster_file import load_cluster
from actors.cluster_start import commands_in
from protocol.errors import ConfigError

ROOT = Path(__file__).parents[2]
OURS = ROOT / "cluster.yaml"
THREE = tuple(ROOT / f"docs/examples/operators/{name}.yaml" for name in "abc")
TEXT = OURS.read_text()
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


@pytest.mark.parametrize("path", [OURS, *THREE], ids=lambda path: path.name)
def test_our_files_are_fine(path):
    assert check(load_cluster(path)) == []


def test_what_a_file_says():
    nodes = nodes_of(load_cluster(OURS))
    assert (nodes.head, nodes.workers) == ("10.20.0.10", ("10.20.0.11", "10.20.0.12"))
    assert set(nodes.roles["head"]) | set(nodes.roles["worker"]) == set(ROLES)
    assert list(nodes.ports) == list(PORTS)


def test_the_guide_names_every_port():
    guide = (ROOT / "docs/operators.md").read_text()
    for path in (OURS, *THREE):
        for port in nodes_of(load_cluster(path)).ports.values():
            assert str(port) in guide


BROKEN = {
    "no provider": ("provider:", "providers:", "", "'provider' is a required property"),
    "key of ours": ("max_workers: 2", "min_workers: 2", "min_workers", "did you mean max_workers?"),
    "key of the provider": ("  head_ip", "  head_iq", "provider.head_iq", "did you mean head_ip?"),
    "strange key": ("  head_ip", "  region: x\n  head_ip", "provider.region", "known are type"),
    "key of auth": ("  ssh_user: oracle", "  user: oracle", "auth.user", "unknown key"),
    "type": ("type: local", "type: aws", "provider.type", "write local"),
    "text for a number": ("max_workers: 2", "max_workers: two", "max_workers", "Ray's schema"),
    "max_workers": ("max_workers: 2", "max_workers: 3", "max_workers", "write 2, as many"),
    "no address": ("10.20.0.12]", "10.20.0]", "provider.worker_ips[1]", "no IP address"),
    "number": ("10.20.0.12]", "10.2]", "provider.worker_ips[1]", "10.2 is no IP address"),
    "twice": ("10.20.0.12]", "10.20.0.11]", "provider.worker_ips[1]", "a machine is one node"),
    "head works": ("10.20.0.12]", "10.20.0.10]", "provider.worker_ips[1]", "a machine is one node"),
    "loopback": ("head_ip: 10.20.0.10", "head_ip: 127.0.0.1", "provider.head_ip", "no machine"),
    "public": ("head_ip: 10.20.0.10", "head_ip: 8.8.8.8", "provider.head_ip", "a public address"),
    "no user": ("ssh_user: oracle", "ssh_user: ''", "auth.ssh_user", "name the user"),
    "root": ("ssh_user: oracle", "ssh_user: root", "auth.ssh_user", "a user of its own"),
    "no key": (
        "  ssh_private_key: ~/.ssh/oracle_ray\n",
        "",
        "auth.ssh_private_key",
        "name the file",
    ),
    "open": ("RAY_AUTH_MODE=token RAY", "RAY", f"{HEAD}[1]", "write RAY_AUTH_MODE=token"),
    "closed later": (
        "RAY_AUTH_MODE=token RAY",
        "RAY_AUTH_MODE=token; RAY",
        f"{HEAD}[1]",
        "write RAY_AUTH_MODE=token",
    ),
    "usage": (
        "STATS_ENABLED=0",
        "STATS_ENABLED=1",
        f"{HEAD}[1]",
        "write RAY_USAGE_STATS_ENABLED=0",
    ),
    "dashboard": ("--include-dashboard=false", "", f"{HEAD}[1]", "--include-dashboard=false"),
    "dashboard for all": (
        "--include-dashboard=false",
        "--dashboard-host=0.0.0.0",
        f"{HEAD}[1]",
        "--dashboard-host=127.0.0.1",
    ),
    "free port": ("--node-manager-port=6380", "", f"{HEAD}[1]", "--node-manager-port: fix"),
    "port of a worker": (
        "--node-manager-port=6380",
        "--node-manager-port=10500",
        f"{HEAD}[1]",
        "one of the workers' ports, 10002 to 10999",
    ),
    "other port": ("$RAY_HEAD_IP:6379", "$RAY_HEAD_IP:6389", f"{WORKER}[1]", "$RAY_HEAD_IP:6379"),
    "no head": ("ray start --head ", "ray start ", f"{HEAD}[1]", "write --head"),
    "no autoscaling": ("--autoscaling-config", "--autoscale", f"{HEAD}[1]", "--autoscaling-config"),
    "missing role": ('"coordinator": 1', '"oracle": 2', HEAD, "no node offers the role coord"),
    "unknown role": ('{"prover"', '{"provers"', f"{WORKER}[1]", "provers is none of"),
    "no resource": ('{"prover": 1}', '{"prover": 0}', f"{WORKER}[1]", "JSON of roles"),
    "no JSON": ("'{\"prover\": 1}'", '{"prover": 1}', f"{WORKER}[1]", "JSON of roles"),
    "roles": (
        "max_workers",
        "metadata: {roles: [king]}\nmax_workers",
        "metadata.roles",
        "a list of",
    ),
    "other role": (
        "max_workers",
        "metadata: {roles: [oracle]}\nmax_workers",
        f"{HEAD}[1]",
        "aggregator is none of this operator's roles",
    ),
    "no stop": ("  - ~/oracle-vm/.venv/bin/ray stop\n", "", HEAD, "no `ray stop` before"),
    "hard stop": ("ray stop\n", "ray stop --force\n", f"{HEAD}[0]", "stands alone"),
    "stop and": ("ray stop\n", "ray stop; reboot\n", f"{HEAD}[0]", "stands alone"),
    "stop after": (
        "worker_start_ray_commands:",
        "  - ray stop\nworker_start_ray_commands:",
        f"{HEAD}[2]",
        "ends what was started",
    ),
    "elsewhere": ("ray stop\n", "ray stop\n  - ssh other true\n", f"{HEAD}[1]", "on that node"),
    "two starts": ("; RAY_AUTH", "; ray start; RAY_AUTH", HEAD, "is there 2 times"),
    "quote": ("ulimit -n", "ulimit '-n", f"{HEAD}[1]", "no shell command"),
    "no commands": (f"{WORKER}:", f"{WORKER}: []\nfile_mounts:", WORKER, "0 times"),
    "token": (
        "RAY_AUTH_MODE=token RAY",
        "RAY_AUTH_TOKEN=x RAY_AUTH_MODE=token RAY",
        f"{HEAD}[1]",
        "a token or key",
    ),
    "token sent": (
        "max_workers: 2",
        "file_mounts: {a: ~/.ray/auth_token}\nmax_workers: 2",
        "file_mounts.a",
        "a token or key",
    ),
    "node types": (
        "max_workers: 2",
        "available_node_types: {x: {node_config: {}, resources: {}}}\nmax_workers: 2",
        "",
        "not supported for on-premise",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_get_their_sentence(tmp_path, name, capfd):
    old, new, place, says = BROKEN[name]
    assert old in TEXT
    path = tmp_path / "cluster.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    problems = check(load_cluster(path))
    assert [p for p in problems if p.place == place and says in p.text], list(map(str, problems))
    for problem in problems:
        assert "\n" not in str(problem)
        if problem.line:
            first = problem.place.split(".")[0].split("[")[0]
            assert any(first in line for line in path.read_text().splitlines()[: problem.line])
    assert capfd.readouterr() == ("", ""), "Ray prints nothing of its own"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "cluster.yaml:2: a: the key is there twice"),
        ("x: {b: 1, b: 2}\n", "x.b: the key is there twice"),
        ("- a\n", "a mapping is needed"),
        ("", "a mapping is needed"),
        ("a: [", "no YAML"),
        ("!!python/object:os.system {}", "no YAML"),
        ("[" * 5000, "no YAML"),
    ],
)
def test_what_is_no_cluster_file(tmp_path, text, says):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"cluster\.yaml") as caught:
        check(load_cluster(path))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_cluster(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no UTF-8"):
        load_cluster(tmp_path / "bytes.yaml")
    (tmp_path / "long.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="more than"):
        load_cluster(tmp_path / "long.yaml")


def test_operators_share_nothing(tmp_path):
    assert check_together([load_cluster(path) for path in THREE]) == []
    other = tmp_path / "other.yaml"
    other.write_text(THREE[1].read_text().replace("10.22.0.11", "10.21.0.10"))
    problems = check_together([load_cluster(path) for path in (THREE[0], other)])
    assert [(p.path, p.place) for p in problems] == [(other, "provider.worker_ips[0]")]
    assert "one operator, one cluster" in problems[0].text


def test_commands_are_read_as_a_shell_does():
    stop, limit, start = commands_in(
        ["/a/ray stop", "ulimit -n 9;A=b C='d e' ray start --head --port 7 --x='{\"y\": 1}'"]
    )
    assert (stop.verb, limit.program, start.verb) == ("stop", "ulimit", "start")
    assert start.environment == {"A": "b", "C": "d e"}
    assert start.options == {"head": "", "port": "7", "x": '{"y": 1}'}
    assert (stop.item, limit.item, start.item) == (0, 1, 1)


def run(*paths, code):
    result = CliRunner().invoke(cluster, ["check", *map(str, paths)])
    assert result.exit_code == code, result.output
    return result


def test_the_command(tmp_path):
    assert "10.20.0.11: prover" in run(OURS, code=0).stdout
    answer = json.loads(run("--json", *THREE, code=0).stdout)
    assert (answer["valid"], len(answer["clusters"])) == (True, 3)
    bad = tmp_path / "bad.yaml"
    bad.write_text(TEXT.replace("max_workers: 2", "max_workers: 3"))
    result = run(bad, code=1)
    assert result.stdout == ""
    assert result.stderr == f"error: {bad}:8: max_workers: 3: write 2, as many as worker_ips\n"
    answer = json.loads(run("--json", bad, code=1).stdout)
    assert answer["problems"] == [
        {
            "file": str(bad),
            "line": 8,
            "place": "max_workers",
            "problem": "3: write 2, as many as worker_ips",
        }
    ]


def test_the_file_of_cluster_run_asks_for_what_nodes_offer(tmp_path):
    run, example = CliRunner(), ROOT / "docs/operators/config/cluster.toml"
    fine = run.invoke(cluster, ["check", str(OURS), str(example)])
    assert fine.exit_code == 0
    assert "cluster.toml: valid, aggregator, coordinator, oracle, prover" in fine.output
    poor = run.invoke(cluster, ["check", str(THREE[1]), str(example)])
    assert poor.exit_code == 1
    assert "[roles] aggregator: no node offers it" in poor.output
