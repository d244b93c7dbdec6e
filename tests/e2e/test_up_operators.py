"""``oracle-vm up --operators 3``: three owners on one machine, each with a keeper and a process
group of its own. One is killed whole, the others go on, and it catches up; one after the other is
upgraded, and certificates go on."""

import json
import os
import shutil
import signal
from itertools import islice
from pathlib import Path

import pytest

import actors
from actors.local.place import Site
from actors.local.process import living
from actors.local.programs import KEEPER, programs_of
from actors.local.status import look
from tests.builders.local import (
    audit,
    end_below,
    history_of,
    log_lines,
    oracle_vm,
    prices_alone,
    processes_below,
    rounds,
)
from tests.builders.network import until

OWNERS = ("alpha", "bravo", "charlie")
COMMON = {"time", "level", "program", "operator", "logger", "event"}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "net"
    yield place
    end_below(place)


def require_apart(folder, found):
    """Nobody shares a process group, a key or a version of the truth."""
    groups = {group["name"]: group for group in found["groups"]}
    assert ([*groups], found["phase"]) == (["world", *OWNERS], "up")
    assert len({group["pgid"] for group in groups.values()}) == 4
    for group in groups.values():
        members = {os.getpgid(pid) for pid in processes_below(Path(group["folder"]))}
        assert members == {group["pgid"]} == {os.getsid(group["pgid"])}
    nodes = [row for row in found["programs"] if row["name"].endswith("/oracle")]
    keys = {row[purpose] for row in nodes for purpose in ("oracle_key", "identity_key")}
    assert (len(keys), {len(key) for key in keys}) == (6, {64})
    for owner in OWNERS:
        held = {path.parent.name for path in (folder / "operators" / owner / "keys").glob("*/*")}
        assert held == ({owner, "aggregator"} if owner == "alpha" else {owner})


def until_all_sign(folder):
    """Returns once each oracle's signature is in a certificate that each of them has stored."""
    seen = {owner: set() for owner in OWNERS}

    def have_all():
        for owner, signers in seen.items():
            with history_of(folder, owner) as history:
                signers.update(*(found.signers for found in islice(history.newest_first(), 3)))
        return all(signers == {0, 1, 2} for signers in seen.values())

    until(have_all, "all three sign", 180)


def require_logged(folder):
    """Every line of every log says when, how bad, who and what."""
    for path, lines in log_lines(folder).items():
        for line in lines:
            assert line.keys() >= COMMON, path
            assert line["operator"] == path.relative_to(folder).parts[-3]


def until_after(folder, known, owners, count=3):
    """Returns once these have stored so many certificates more than those that are known."""
    newest = max(known)

    def are_after():
        return all(len([r for r in rounds(folder, o) if r > newest]) >= count for o in owners)

    until(are_after, f"{sorted(owners)} go on", 180)


@pytest.mark.timeout(900)
def test_an_operator_dies_whole_and_the_others_go_on(folder):
    site = prices_alone(folder)
    oracle_vm("up", "--dir", folder)
    require_apart(folder, look(site))
    until_all_sign(folder)

    alpha = site.groups[1]  # which has the aggregator
    os.killpg(living(alpha.process(KEEPER)).pid, signal.SIGKILL)
    until(lambda: not any(living(p.process) for p in programs_of(alpha)), "all of it is dead")
    until_after(folder, rounds(folder, "bravo"), OWNERS[1:])
    said = oracle_vm("status", "--dir", folder, code=1)
    assert "is incomplete" in said
    assert "alpha is down; missing: alpha/oracle, alpha/aggregator" in said
    assert not processes_below(alpha.folder), "a stranger's keeper has started something"

    oracle_vm("up", "--operator", "alpha", "--dir", folder)
    found = look(site)
    require_apart(folder, found)
    missed = rounds(folder, "bravo")
    until(lambda: missed <= rounds(folder, "alpha"), "it has what it missed", 180)
    assert oracle_vm("down", "--dir", folder).strip() == "down"
    assert processes_below(folder) == set()
    audit(folder)
    require_logged(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_market_and_pool(folder):
    printed = oracle_vm("up", "--operators", "3", "--block-s", "1", "--dir", folder)
    for said in ("bravo, prices", "alpha/aggregator", "/v1/contracts -H", "world/coordinator"):
        assert said in printed
    require_apart(folder, json.loads(oracle_vm("status", "--json", "--dir", folder)))
    height = look(Site.load(folder))["height"]
    oracle_vm("mine", 3, "--dir", folder)
    oracle_vm("faucet", "--role", "writer", "--dir", folder)
    assert look(Site.load(folder))["height"] >= height + 4
    assert "--dir is the folder" in oracle_vm("mine", "--dir", folder / "operators/alpha", code=1)
    assert {*log_names(folder, "bravo")} == {"bravo/oracle", "bravo/api", "bravo/up"}

    oracle_vm("down", "--operator", "alpha", "--dir", folder)
    found = look(Site.load(folder))
    assert (found["phase"], found["price_usd"] is None) == ("incomplete", False)
    assert "already up" in oracle_vm("up", "--operator", "bravo", "--dir", folder)
    oracle_vm("up", "--dir", folder)
    assert look(Site.load(folder))["phase"] == "up"
    oracle_vm("down", "--dir", folder)
    assert processes_below(folder) == set()
    require_logged(folder)


def log_names(folder, name):
    return {line.split()[1] for line in oracle_vm("logs", name, "--dir", folder).splitlines()}


def another_copy(folder):
    """The code as an installation of another version has it: a tree of its own."""
    for name in ("actors", "protocol", "riscv_vm", "regtest"):
        source = Path(actors.__file__).parent.parent / name
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    metadata = folder / "oracle_vm-99.0.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: oracle-vm\nVersion: 99.0.0\n")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_operator_after_the_other_is_upgraded(folder, tmp_path):
    """The aggregator's last. The others go on while one is away, and nobody has missed a round in
    the end."""
    site, new = prices_alone(folder), another_copy(tmp_path / "new")
    oracle_vm("up", "--dir", folder)
    first = max(rounds(folder, "bravo"))
    for owner in ("charlie", "bravo", "alpha"):
        alone = folder / "operators" / owner
        oracle_vm("down", "--dir", alone)
        until_after(folder, rounds(folder, owner), {*OWNERS} - {owner})
        oracle_vm("up", "--dir", alone, PYTHONPATH=str(new))  # returns once it is well
        assert {row["version"] for row in look(Site.load(alone))["programs"]} == {"99.0.0"}
        for pid in processes_below(alone):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert f"PYTHONPATH={new}".encode() in environment
        until_after(folder, rounds(folder, owner), OWNERS)
    assert {group["phase"] for group in look(site)["groups"]} == {"up"}
    oracle_vm("down", "--dir", folder)
    audit(folder)
    certified = set().union(*(rounds(folder, owner) for owner in OWNERS))
    last = min(max(rounds(folder, owner)) for owner in OWNERS)
    for owner in OWNERS:
        assert rounds(folder, owner) >= {r for r in certified if first < r <= last}
    with history_of(folder, "bravo") as history:
        assert all(len(found.signers) >= 2 for found in history.newest_first())
