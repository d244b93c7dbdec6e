"""The only place that starts Ray: one embedded cluster, silent, closed to others, gone at exit."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import ray

from actors import placement

NAMESPACE = "oracle-vm"
OBJECT_STORE_BYTES = 150 * 2**20


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """A private Ray cluster of this process, with room for ``cpus`` busy actors.

    Ray announces dead workers on the driver's stdout whatever its log settings; what a program
    prints belongs to its user, so stdout is closed to everybody while the cluster is up.
    """
    ray.init(
        address="local",
        namespace=NAMESPACE,
        num_cpus=cpus,
        num_gpus=0,
        resources=dict.fromkeys((kind.prefix for kind in placement.KINDS), 64.0),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            ray.shutdown()
