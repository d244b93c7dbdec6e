"""What Ray is told of the demo's actors: it keeps arguments in files and logs, so no secret."""

import pytest
from ray import cloudpickle

from actors import placement
from actors.clock import SystemClock
from actors.demo_config import DEMO, load
from actors.feeds.endpoints import LIVE
from actors.keyfile import load_key
from actors.supervisor import deploy
from protocol.errors import SignatureError
from protocol.settlement.terms import Role
from tests.builders.network import leaks, secrets_in


@pytest.fixture
def started(monkeypatch):
    """The arguments of every actor that would have been started, as Ray sends them, by name."""
    found = {}

    def start(kind, name, actor, *arguments):
        found[kind.full_name(name)] = cloudpickle.dumps(arguments)

    monkeypatch.setattr(placement, "start", start)
    return found


@pytest.mark.parametrize("lie", [None, "step"])
def test_no_actor_is_given_a_secret(tmp_path, started, lie):
    config = load(DEMO)
    deploy(config, tmp_path, SystemClock(), LIVE, Role.HOLDER, lie)
    kinds = {name.partition("/")[0] for name in started}
    assert kinds == {kind.prefix for kind in placement.KINDS}
    secrets = secrets_in(tmp_path)
    assert len(secrets) > 4 * len(config.oracle.names), "the oracles' and the parties'"
    assert leaks(secrets, started) == []
    bait = {"bait": cloudpickle.dumps(tuple(secrets.values()))}
    assert leaks(secrets, bait) == ["bait"]


def test_a_key_cannot_be_an_argument(tmp_path, started):
    deploy(load(DEMO), tmp_path, SystemClock(), LIVE, Role.HOLDER)
    for path in secrets_in(tmp_path):
        with pytest.raises(SignatureError, match="does not travel"):
            cloudpickle.dumps(load_key(path))
