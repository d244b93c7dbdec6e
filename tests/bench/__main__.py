"""Every benchmark, each in a process of its own: ``python -m tests.bench [--json]``."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    names = sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))
    codes = [
        subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *sys.argv[1:]]).returncode
        for name in names
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
