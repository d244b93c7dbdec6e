"""A cluster file as written: its values, the line of each, and what Ray itself says of it.

The only place that touches Ray's launcher, most of which is private: it goes with the pinned Ray.
"""

import copy
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema
import ray.autoscaler
import yaml

from protocol.errors import ConfigError

MAX_BYTES: Final = 1 << 20

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """``lines`` are those of every value, by its place: ``provider.worker_ips[1]``."""

    path: Path
    content: Json
    lines: dict[str, int]


def load_cluster(path: Path) -> ClusterFile:
    """The file; ConfigError if it cannot be read or is not one YAML mapping of distinct keys."""
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES} bytes, this is no cluster file")
        text = data.decode()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[str, int] = {}
        _walk(path, root, "", lines)
        content = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: no UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a mapping is needed, it begins with `cluster_name:`")
    return ClusterFile(path, content, lines)


def _walk(path: Path, node: yaml.Node | None, place: str, lines: dict[str, int]) -> None:
    """The lines of everything below a node; a key that is there twice is refused."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{place}.{key.value}".removeprefix(".")
            if below in lines:
                raise ConfigError(
                    f"{path}:{key.start_mark.line + 1}: {below}: the key is there twice"
                )
            lines[below] = key.start_mark.line + 1
            _walk(path, value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[f"{place}[{number}]"] = value.start_mark.line + 1
            _walk(path, value, f"{place}[{number}]", lines)


def ray_schema() -> Json:
    """Ray's own schema of a cluster file."""
    path = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    found: Json = json.loads(path.read_text())
    return found


def ray_refusals(content: Json) -> list[tuple[str, str]]:
    """What Ray's schema, or else what `ray up` does first, says against a file: place and reason.
    Unknown keys at the top and in `auth` are left to a check with better words."""
    errors = list(jsonschema.Draft7Validator(ray_schema()).iter_errors(content))
    if not errors:
        return _prepared(content)
    found = [(_place(error.absolute_path), error) for error in errors]
    return [
        (place, f"Ray's schema: {error.message[:200]}")
        for place, error in found
        if error.validator != "additionalProperties" or place not in ("", "auth")
    ]


def _place(path: Any) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def _prepared(content: Json) -> list[tuple[str, str]]:
    """Ray prints what it dislikes, and raises what it likes."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            validate_config(prepare_config(copy.deepcopy(content)))
    except Exception as error:  # noqa: BLE001 - click's, its own and built-in ones
        text = " ".join(f"{said.getvalue()} {error}".split())
        return [("", f"Ray refuses it: {text[:300]}")]
    return []
