"""Write configs/gateway.schema.json, which editors check a gateway's file with. `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from llm_deploy.gateway.config_file import json_schema

OUTPUT = Path(__file__).parents[1] / "configs" / "gateway.schema.json"


def render() -> str:
    """The file's text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or say whether it would change."""
    if "--check" in sys.argv[1:]:
        return int(OUTPUT.read_text(encoding="utf-8") != render())
    OUTPUT.write_text(render(), encoding="utf-8")
    print(OUTPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
