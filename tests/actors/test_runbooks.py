"""docs/runbooks.md: every command in it exists, every alert and every check of `doctor` too."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from actors import doctor_files, doctor_machine, doctor_running
from actors.cli import app
from tests.builders.command_line import parsed

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/runbooks.md").read_text()
COMMANDS = re.findall(r"^    (.+)$", TEXT, re.MULTILINE)
OURS = [command for command in COMMANDS if command.startswith("oracle-vm")]
INLINE = re.findall(r"`(oracle-vm [^`]+)`", TEXT)
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("command", sorted(set(OURS)))
def test_a_command_is_one(command):
    words = shlex.split(command.partition(" > ")[0])
    parsed(words[1:])


@pytest.mark.parametrize("command", sorted(set(INLINE)))
def test_a_command_in_a_sentence_is_one(command):
    """Its arguments may be left out."""
    names = []
    for word in shlex.split(command)[1:]:
        if not re.fullmatch("[a-z]+", word):
            break
        names.append(word)
    assert names
    found = typer.main.get_command(app)
    for name in names:
        found = found.get_command(None, name)
        assert found is not None, f"{command}: there is no command {name}"


def test_there_is_a_runbook_for_each():
    assert len(SECTIONS) == 10
    for section in SECTIONS:
        parts = re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE)
        assert parts == ["Symptoms", "Do", "Lost", "Over"], section[:40]
        assert re.search(r"^    ", section, re.MULTILINE), section[:40]


def test_alerts_and_checks_that_are_named_exist():
    rules = yaml.safe_load((ROOT / "docs/operators/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", TEXT))
    assert named
    assert named <= alerts
    sources = (doctor_files, doctor_machine, doctor_running)
    code = "".join(Path(str(module.__file__)).read_text() for module in sources)
    for line in re.findall(r"`doctor`:((?: ?`[a-z ]+`,?)+)", TEXT):
        for check in re.findall(r"`([a-z ]+)`", line):
            assert f'"{check}"' in code, f"doctor has no check {check}"
