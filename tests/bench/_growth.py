"""Child of the machine's benchmark: how far a 100 M-step proof grows an idle process (Linux)."""

import json
from pathlib import Path

from riscv_vm.prove import Execution, prove, warm_up
from tests.bench._workload import ROUNDS_100_M, chain_image, chain_input

_STATUS = Path("/proc/self/status")


def _bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    execution = Execution(chain_image(), chain_input(ROUNDS_100_M), log4_steps=14)
    imported = _bytes("VmRSS")
    warm_up((20,))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    warm = _bytes("VmRSS")
    trace = prove(execution)
    peak = _bytes("VmHWM")
    assert trace.steps >= 100_000_000
    print(json.dumps({"from_imported": peak - imported, "from_warm": peak - warm}))


if __name__ == "__main__":
    main()
