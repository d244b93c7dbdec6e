"""The file of ``oracle-vm cluster run`` (TOML): what an operator runs on its Ray cluster.

    [cluster]       address of the head, the token's file, folder of what is kept, metrics
    [roles]         files of the nodes, on the machines that run them; how many provers
    [supervision]   how often an actor is asked, and when its silence is its end; if wanted

Paths of ``[cluster]`` are relative to the file. A role's file is read by its actor, on whichever
node offers the role: there it must be, at the same path.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from actors.files import expanded
from actors.network import Table, decode
from actors.supervision import Patience
from actors.transport_options import Address, parse_address
from protocol.errors import ConfigError, ProtocolError

Text = Annotated[str, Meta(min_length=1)]
MOST_PROVERS: Final = 1000
USUAL: Final = Patience()


class _Cluster(Table, frozen=True):
    address: Text
    token: Text
    folder: Text
    metrics: str = "127.0.0.1:0"
    log: Literal["debug", "info", "warning", "error"] = "info"


class _Roles(Table, frozen=True):
    oracle: Text | None = None
    aggregator: Text | None = None
    coordinator: Text | None = None
    provers: Annotated[int, Meta(ge=0, le=MOST_PROVERS)] = 0


class _Supervision(Table, frozen=True):
    heartbeat_s: Annotated[float, Meta(ge=0.1, le=60)] = USUAL.beat_s
    misses: Annotated[int, Meta(ge=1, le=100)] = USUAL.misses
    start_s: Annotated[float, Meta(ge=1, le=3600)] = USUAL.start_s


class _File(Table, frozen=True):
    cluster: _Cluster
    roles: _Roles
    supervision: _Supervision = field(default_factory=_Supervision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """``files`` are those of the roles that have one: oracle, aggregator, coordinator."""

    path: Path
    address: str
    token: Path
    folder: Path
    metrics: Address
    log: str
    files: dict[str, Path]
    provers: int
    patience: Patience

    @property
    def roles(self) -> set[str]:
        """The resources that its actors ask for."""
        return {*self.files, *(["prover"] if self.provers else [])}

    @property
    def state(self) -> Path:
        """What the supervisor says, for ``cluster status``."""
        return self.folder / "state.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor."""
        return self.folder / "supervisor.lock"


def load_cluster_config(path: Path) -> ClusterConfig:
    """The file; ConfigError names file, table and field, and what to write."""
    file, folder = decode(path, _File), path.absolute().parent
    cluster, roles, supervision = file.cluster, file.roles, file.supervision
    try:
        parse_address("address", cluster.address)
        metrics = parse_address("metrics", cluster.metrics)
    except ProtocolError as error:
        raise ConfigError(f"{path}: [cluster] {error}") from None
    named = {
        "oracle": roles.oracle,
        "aggregator": roles.aggregator,
        "coordinator": roles.coordinator,
    }
    files = {role: folder / text for role, text in named.items() if text is not None}
    if not files and not roles.provers:
        raise ConfigError(f"{path}: [roles] is empty; name what this operator runs")
    return ClusterConfig(
        path=path.absolute(),
        address=cluster.address,
        token=folder / expanded(Path(cluster.token)),
        folder=folder / cluster.folder,
        metrics=metrics,
        log=cluster.log,
        files=files,
        provers=roles.provers,
        patience=Patience(supervision.heartbeat_s, supervision.misses, supervision.start_s),
    )
