"""Write the JSON schemas in configs/, which editors complete and check files with. `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from llm_deploy.gateway import config_file
from llm_deploy.spec import schema

CONFIGS = Path(__file__).parents[1] / "configs"


def schemas() -> dict[Path, str]:
    """Each file and its text: of a deployment's spec, and of a gateway's file."""
    documents: dict[str, dict[str, Any]] = {
        "deployment.schema.json": schema.json_schema(),
        "gateway.schema.json": config_file.json_schema(),
    }
    return {
        CONFIGS / name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }


def main() -> int:
    """Write the files, or say whether one would change."""
    written = schemas()
    if "--check" in sys.argv[1:]:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in written.items()))
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
