"""Write `constraints.txt`: the versions of this environment, by name and version only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "constraints.txt"
LEFT_OUT = {"llm-deploy", "pip", "setuptools"}


def main() -> None:
    """Ask pip what is installed and note it down."""
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    lines = sorted(line for line in frozen if line.split("==")[0] not in LEFT_OUT)
    FILE.write_text("\n".join(["# Versions that the tests ran with. Written by scripts/constraints.py.", *lines, ""]))
    print(f"{FILE.name}: {len(lines)} versions")


if __name__ == "__main__":
    main()
