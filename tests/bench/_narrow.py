"""Child of the machine's benchmark: the commitment with the vector units that it may use."""

import json

from riscv_vm.jit import vector_lanes
from riscv_vm.tree import WIDTHS
from tests.bench._workload import ENDLESS, chain_image, chain_input
from tests.bench.vm import commit_steps_per_second


def main() -> None:
    image, data = chain_image(), chain_input(ENDLESS)
    found = {str(width): commit_steps_per_second(image, data, width) for width in WIDTHS}
    print(json.dumps({"lanes": vector_lanes(), "steps_per_second": found}))


if __name__ == "__main__":
    main()
