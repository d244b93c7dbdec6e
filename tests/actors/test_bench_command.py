"""``oracle-vm bench``: a child process in a checkout, and a plain word outside one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors import bench_command
from actors.cli import app
from protocol.errors import ConfigError


def bench(*arguments: str) -> tuple[int, BaseException | None]:
    done = CliRunner().invoke(app, ["bench", *arguments])
    return done.exit_code, done.exception


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose one benchmark prints its arguments and fails if there are any."""
    monkeypatch.setattr(bench_command, "CHECKOUT", tmp_path)
    folder = tmp_path / "tests" / "bench"
    folder.mkdir(parents=True)
    for shared in ("__init__.py", "_shared.py"):
        (folder / shared).write_text("")
    (folder / "speed.py").write_text("import sys; print(sys.argv[1:]); sys.exit(len(sys.argv) + 5)")
    return tmp_path


def test_it_runs_a_child_and_passes_on_its_exit_code(
    checkout: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench("speed")[0] == 6
    assert bench("speed", "--json")[0] == 7
    assert capfd.readouterr().out == "[]\n['--json']\n"


def test_an_unknown_benchmark_is_refused_with_the_known_ones(checkout: Path) -> None:
    for name in ("sped", "_shared", "../speed"):
        code, error = bench(name)
        assert code == 1
        assert isinstance(error, ConfigError)
        assert "all, speed" in str(error)


def test_outside_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_command, "CHECKOUT", tmp_path)
    assert "checkout" in str(bench("vm")[1])


def test_the_machine_has_a_benchmark() -> None:
    assert (bench_command.CHECKOUT / "tests" / "bench" / "vm.py").is_file()
