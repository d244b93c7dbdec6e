"""pyproject.toml names what our code imports, all of it and nothing else."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SECOND_HAND = {"fastapi": {"starlette"}, "numba": {"llvmlite"}, "ray": {"jsonschema", "pyyaml"}}
"""What comes with a dependency and is used to speak to it alone: the types that FastAPI takes, the
code that numba is given, the file that Ray reads."""
TESTS_ALONE = {"scipy"}
"""Dependencies that only the tests of formulas import."""


def canonical(requirement: str) -> str:
    """The name in a requirement, as PEP 503 writes it."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(*packages: str) -> dict[str, Path]:
    """Top-level modules that the code in these folders imports, each with a file that does."""
    found: dict[str, Path] = {}
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                else:
                    continue
                found |= {name.partition(".")[0]: path for name in names}
    return found


IMPORTED = imported(*PACKAGES)
OWNERS = {
    module: {canonical(name) for name in names}
    for module, names in packages_distributions().items()
}
DECLARED = sorted(map(canonical, PROJECT["project"]["dependencies"]))


@pytest.mark.parametrize("dependency", DECLARED)
def test_every_dependency_is_imported(dependency: str) -> None:
    modules = {module for module, owners in OWNERS.items() if dependency in owners}
    assert modules, f"{dependency} is not installed"
    used = imported("tests/protocol/options") if dependency in TESTS_ALONE else IMPORTED
    assert modules & used.keys(), f"{dependency}: nothing imports {sorted(modules)}; remove it"


def test_every_import_is_a_dependency() -> None:
    known = {*DECLARED}
    for owner, second_hand in SECOND_HAND.items():
        assert second_hand <= {canonical(row) for row in requires(owner) or () if ";" not in row}
        known |= second_hand
    for module, path in IMPORTED.items():
        if module in sys.stdlib_module_names or module in PACKAGES:
            continue
        owners = OWNERS.get(module, set())
        assert owners & known, (
            f"{path.relative_to(ROOT)} imports {module}: add it to pyproject.toml"
        )
