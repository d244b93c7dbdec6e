"""The only place that starts Ray: one embedded cluster, silent, closed to others, gone at exit."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray

NAMESPACE = "oracle-vm"
OBJECT_STORE_BYTES = 150 * 2**20


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """A private Ray cluster of this process, with room for ``cpus`` busy actors."""
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=cpus,
        num_gpus=0,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()
