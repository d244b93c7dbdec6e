"""cluster.yaml against Ray's own schema and loader, offline, plus what Ray does not check."""

import copy
import ipaddress
import json
import re
from pathlib import Path

import jsonschema
import pytest
import ray.autoscaler
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster.yaml"


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load(CLUSTER.read_text())


def test_ray_accepts_it(cluster):
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(cluster, json.loads(schema.read_text()))
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_ray_refuses_an_unknown_key(cluster):
    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**cluster, "min_workers": 1}, json.loads(schema.read_text()))


def test_provider_fields_that_ray_lets_pass(cluster):
    provider = cluster["provider"]
    assert set(provider) == {"type", "head_ip", "worker_ips"}
    addresses = [ipaddress.ip_address(ip) for ip in (provider["head_ip"], *provider["worker_ips"])]
    assert len(set(addresses)) == 1 + cluster["max_workers"]
    assert cluster["auth"]["ssh_user"]


def test_every_node_starts_closed(cluster):
    for role in ("head", "worker"):
        start = cluster[f"{role}_start_ray_commands"][-1]
        assert "RAY_AUTH_MODE=token" in start
        assert "RAY_USAGE_STATS_ENABLED=0" in start
        resources = re.search(r"--resources='(.+?)'", start)
        assert resources and all(n == 1 for n in json.loads(resources[1]).values())
