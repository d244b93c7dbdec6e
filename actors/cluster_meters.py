"""What the supervisor of an operator's cluster shows to Prometheus."""

from collections.abc import Mapping, Sequence

from actors.cluster_state import ClusterState
from actors.metrics import Registry
from actors.supervision import Phase, State


class ClusterMeters:
    """``actors`` are the names of the actors of each role; all are known at the start."""

    def __init__(self, actors: Mapping[str, Sequence[str]]) -> None:
        self.registry = registry = Registry()
        names = [name for role in actors.values() for name in role]
        self.up = registry.gauge("actor_up", "1 while an actor answers.", actor=names)
        self.restarts = registry.counter(
            "restarts_total", "How often an actor ended and was to be started again.", actor=names
        )
        self.roles = registry.gauge(
            "role_state", "1 for the state that a role is in.", role=[*actors], state=[*State]
        )
        self.joined = registry.gauge("cluster_up", "1 while the head of the cluster answers.")

    def show(self, state: ClusterState) -> None:
        """Take over where everything stands."""
        self.joined.set(int(not state.fault))
        for role, one in state.roles.items():
            for other in State:
                self.roles.set(int(other is one.state), role=role, state=other)
            for name, actor in one.actors.items():
                self.up.set(int(actor.phase is Phase.RUNNING), actor=name)
                self.restarts.total(actor.restarts, actor=name)
