"""The only place that starts Ray: one embedded cluster, silent, closed to others, gone at exit."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import ray

NAMESPACE = "oracle-vm"
OBJECT_STORE_BYTES = 150 * 2**20


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """A private Ray cluster of this process, with room for ``cpus`` busy actors.

    The token is fresh for each run and never written to the home folder; nothing is sent anywhere.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=cpus,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        yield
    finally:
        ray.shutdown()
