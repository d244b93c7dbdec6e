"""The command line, ``oracle-vm``: results on stdout, progress on stderr, errors in one line."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console

from actors import config as configuration
from actors.bench_command import bench
from actors.demo import Demo, Faults
from actors.faults import Lie
from actors.feed_commands import feeds
from actors.report import show
from actors.vm_commands import vm
from protocol.errors import ConfigError, EncodingError, ProtocolError
from protocol.oracle.certificate import Certificate
from protocol.oracle.config import OracleConfig
from riscv_vm.image import ImageError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Prices signed by oracles, computed on by a RISC-V program, settled on Bitcoin.",
)
app.add_typer(vm, name="vm")
app.add_typer(feeds, name="feeds")
app.command()(bench)
config_app = typer.Typer(no_args_is_help=True, help="Configuration files.")
app.add_typer(config_app, name="config")


@app.command()
def demo(
    lie: Annotated[Lie | None, typer.Option(help="What the prover does wrong.")] = None,
    kill: Annotated[int, typer.Option(min=0, help="SIGKILL so many oracles mid-round.")] = 0,
    config: Annotated[Path, typer.Option(help="TOML file.")] = configuration.DEMO,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep all files here, not in a temporary folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """One option, from exchange price to Bitcoin, end to end, on this machine."""
    loaded = configuration.load(config)
    with _folder(folder) as place, Announcer() as announce:
        run = Demo(loaded, Faults(lie, kill), place, announce)
        try:
            run.run()
        except (ProtocolError, TimeoutError) as error:
            if not as_json:
                raise
            run.report.outcome = str(error)
    if as_json:
        print(json.dumps(run.report.to_json()))
    else:
        show(run.report, Console(width=None if sys.stdout.isatty() else 110))
    if not run.report.ok:
        raise typer.Exit(1)


@config_app.command("check")
def config_check(file: Annotated[Path, typer.Argument(help="TOML file.")]) -> None:
    """Say whether FILE is a valid configuration."""
    configuration.load(file)
    print(f"{file}: valid")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="JSON with `config` and `certificate` in hex.")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Check a price certificate against its oracle configuration; the exit code says it too."""
    reason = None
    try:
        _verify(file)
    except ProtocolError as error:
        reason = str(error)
    if as_json:
        print(json.dumps({"kind": "certificate", "valid": reason is None, "reason": reason}))
    elif reason is None:
        print("certificate: valid")
    if reason is not None:
        if not as_json:
            raise EncodingError(reason)
        raise typer.Exit(1)


def _verify(file: Path) -> None:
    try:
        record: Any = json.loads(file.read_text(encoding="utf-8"))
        config, certificate = (bytes.fromhex(record[key]) for key in ("config", "certificate"))
    except OSError as error:
        raise EncodingError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EncodingError(
            f"{file}: needs `config` and `certificate` in hex ({type(error).__name__}: {error})"
        ) from None
    Certificate.decode(certificate).check(OracleConfig.decode(config))


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="oracle-vm-", ignore_cleanup_errors=True) as place:
            yield Path(place)
        return
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        used = any(wanted.iterdir())
    except OSError as error:
        raise ConfigError(f"--dir {wanted}: cannot be used ({error.strerror})") from None
    if used:
        raise ConfigError(f"--dir {wanted}: exists and is not an empty folder; name a new one")
    yield wanted.resolve()


class Announcer:
    """Shows the stage that is under way: a spinner in a terminal, else a line for each stage."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("")

    def __call__(self, stage: str) -> None:
        if self._console.is_terminal:
            self._status.update(f"{stage} ...")
        else:
            self._console.print(f"... {stage}", highlight=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and exit code 1."""
    try:
        app()
    except (ProtocolError, ImageError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
