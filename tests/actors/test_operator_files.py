"""docs/operators: units, containers and examples call what there is, with files that parse."""

import re
import shlex
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from actors.cluster_check import PORTS, ROLES, nodes_of
from actors.cluster_config import load_cluster_config
from actors.cluster_file import load_cluster
from actors.cluster_start import commands_in
from actors.coordinator_config import load_coordinator
from actors.market_config import load_market
from actors.operator import load_operator
from actors.prover_config import load_prover
from actors.signer_config import load_signer
from actors.watchtower_config import load_watchtower
from tests.builders.command_line import parsed

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/operators"
UNITS = {path.stem: path for path in sorted((FOLDER / "systemd").glob("*.service"))}
CLUSTER = "oracle-vm-cluster"
RAY = {name: path for name, path in UNITS.items() if "-ray-" in name}
PROGRAMS = {name: path for name, path in UNITS.items() if name not in {CLUSTER, *RAY}}
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
LOADERS = {
    "oracle": load_operator,
    "signer": load_signer,
    "aggregator": load_operator,
    "coordinator": load_coordinator,
    "prover": load_prover,
    "watchtower": load_watchtower,
    "api": load_market,
}
INSTALLED = Path("/etc/oracle-vm")


def unit(path):
    """Sections of a unit; the lines that are there several times are joined by newlines."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in path.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = {}
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            before = found[section].get(key)
            found[section][key] = value if before is None else f"{before}\n{value}"
    return found


def loaded(words):
    """What the program of these words reads: the example of its file."""
    names, parameters = parsed(words)
    config = Path(parameters["config"])
    assert config.parent == INSTALLED
    return LOADERS[names[0]](FOLDER / "config" / config.name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_units_start_programs_with_files_that_parse(name):
    service = unit(PROGRAMS[name])["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/oracle-vm/.venv/bin/oracle-vm"
    assert name == f"oracle-vm-{words[0]}"
    settings = loaded(words)
    if hasattr(settings, "role"):
        assert settings.role == words[0]
    state = Path(service["ReadWritePaths"])
    written = settings.socket if words[0] == "prover" else settings.folder
    assert written.is_relative_to(state)
    assert service["User"] != "root"
    assert (service["UMask"], service["Restart"]) == ("0077", "always")


def test_a_signer_reaches_nobody_and_has_what_the_oracle_has():
    service = unit(PROGRAMS["oracle-vm-signer"])["Service"]
    assert service["PrivateNetwork"] == "yes"
    assert service["RestrictAddressFamilies"] == "AF_UNIX"
    assert COMPOSE["services"]["signer"]["network_mode"] == "none"
    signer = load_signer(FOLDER / "config/signer.toml")
    oracle = load_operator(FOLDER / "config/oracle.toml")
    assert (signer.keys, signer.folder) == (oracle.keys, oracle.folder)


@pytest.mark.parametrize("name", UNITS)
def test_units_name_units_that_exist(name):
    after = unit(UNITS[name])["Unit"]["After"].split()
    assert {other for other in after if other.startswith("oracle-vm")} <= {
        path.name for path in UNITS.values()
    }
    parser = ConfigParser(strict=False, interpolation=None)
    parser.read(UNITS[name])
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_ray_units_start_what_the_cluster_file_starts():
    nodes = nodes_of(load_cluster(ROOT / "cluster.yaml"))
    offered = set()
    for name, path in RAY.items():
        service = unit(path)["Service"]
        environment = dict(line.split("=", 1) for line in service["Environment"].splitlines())
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
        (start,) = commands_in([service["ExecStart"]])
        assert start.verb == "start"
        assert "block" in start.options
        ports = {option: start.options[option] for option in PORTS if option in start.options}
        assert ports.items() <= {o: str(port) for o, port in nodes.ports.items()}.items()
        assert len(ports) == len(PORTS) - (0 if "head" in name else 1)
        offered |= set(re.findall(r'"(\w+)"', start.options["resources"]))
    assert offered == set(ROLES)


def test_the_cluster_unit_runs_what_the_ray_units_offer():
    service = unit(UNITS[CLUSTER])["Service"]
    program, *words = shlex.split(service["ExecStart"])
    names, parameters = parsed(words)
    assert (program, names) == ("/opt/oracle-vm/.venv/bin/oracle-vm", ("cluster", "run"))
    file = Path(parameters["file"])
    assert file.parent == INSTALLED
    config = load_cluster_config(FOLDER / "config" / file.name)
    assert config.roles == set(ROLES)
    assert config.folder.is_relative_to(service["ReadWritePaths"])
    for role, path in config.files.items():
        LOADERS[role](path)
    tokens = [line for path in RAY.values() for line in path.read_text().splitlines()]
    assert f"Environment=RAY_AUTH_TOKEN_PATH={INSTALLED / config.token.name}" in tokens
    head = nodes_of(load_cluster(ROOT / "cluster.yaml"))
    assert config.address == f"{head.head}:{head.ports['port']}"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_services_start_programs_with_files_that_parse(name):
    service = COMPOSE["services"][name]
    assert loaded(service["command"]) is not None
    assert service["command"][0] == name
    assert service["cap_drop"] == ["ALL"]
    assert not service["user"].startswith("0")
    if "healthcheck" in service:
        kind, program, *words = service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "oracle-vm")
        assert loaded(words) is not None


def test_every_program_is_there_in_every_form():
    names = {name.removeprefix("oracle-vm-") for name in PROGRAMS}
    assert names == set(COMPOSE["services"]) == set(LOADERS)
    guide = (ROOT / "docs/operators.md").read_text()
    for name in names:
        assert f"| `{name} run` | `{name}.toml` |" in guide


def test_the_image_holds_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (FOLDER / "Containerfile").read_text().replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line and not line.startswith("#")]
    copied = [source for first, *rest in words if first == "COPY" for source in rest[:-1]]
    assert all((ROOT / source).exists() for source in copied)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, "pyproject.toml", "uv.lock", project["project"]["readme"]} <= set(copied)
    (base,) = (rest[0] for first, *rest in words if first == "FROM")
    minor = int(re.search(r"python:3\.(\d+)", base)[1])
    assert project["project"]["requires-python"] == ">=3.11,<3.14"
    assert 11 <= minor < 14
    (entry,) = (" ".join(rest) for first, *rest in words if first == "ENTRYPOINT")
    assert entry.strip("[]") in project["project"]["scripts"]
    uid = re.search(r"--uid (\d+)", "\n".join(lines))[1]
    assert COMPOSE["x-program"]["user"] == f"{uid}:{uid}"


@pytest.mark.parametrize("document", ["operators.md", "dlc.md"])
def test_command_lines_in_documents(document):
    text = (ROOT / "docs" / document).read_text()
    lines = re.findall(r"^ {4}(oracle-vm .*)$", text, re.MULTILINE)
    assert lines
    for line in lines:
        program, *words = shlex.split(re.split(r" {3,}| > ", line)[0])
        assert program == "oracle-vm"
        parsed(words)


def test_ports_in_the_guide_are_those_of_the_examples():
    guide = (ROOT / "docs/operators.md").read_text()
    network = load_operator(FOLDER / "config/oracle.toml").network
    ports = {peer.url.rpartition(":")[2] for peer in network.peers.values()}
    for name in ("oracle", "aggregator"):
        operator = load_operator(FOLDER / f"config/{name}.toml")
        ports |= {str(operator.listen.port), str(operator.metrics.port)}
        assert operator.tls is not None
    ports.add(str(load_market(FOLDER / "config/api.toml").listen.port))
    assert len(ports) == 5
    for port in ports:
        assert re.search(rf"\b{port}\b", guide), port


def test_no_example_holds_a_key():
    assert not [path for path in FOLDER.rglob("*") if path.suffix in (".key", ".pem")]
