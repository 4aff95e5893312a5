"""Synthesise a deployment's stack in this process and print its template: `python -m infra.synth configs/twin.yaml`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from typing import Any

from infra.app import told
from infra.node import use_node
from llm_deploy.render import cloudformation
from llm_deploy.targets.blueprint import Blueprint, draft


def synthesised(blueprint: Blueprint) -> dict[str, Any]:
    """The template that `cdk deploy` would send."""
    # The CDK's own check starts a 440 MiB WASM module; `make test` lints templates with the same rules, natively.
    os.environ.setdefault("CDK_VALIDATION", "false")
    use_node()
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node

    from infra.stack import LlmEndpointStack  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        app = cdk.App(outdir=folder, analytics_reporting=False)
        stack = LlmEndpointStack(app, cloudformation.stack_name(blueprint.name), blueprint)
        template: dict[str, Any] = app.synth().get_stack_by_name(stack.stack_name).template
    return template


def main() -> None:
    """Take the same choices as `llmdeploy template`; notes go to standard error."""
    parser = argparse.ArgumentParser(prog="python -m infra.synth", description=__doc__)
    parser.add_argument("config", nargs="?", help="the spec's YAML file; without one, the Twin from .env")
    parser.add_argument("--endpoint-type", metavar="TYPE", help="model or inference-component")
    parser.add_argument("--region", help="in place of AWS_REGION")
    parser.add_argument("--account", metavar="NUMBER", help="for this account; else for any")
    parser.add_argument("--with-roles", action="store_true", help="make the execution role and the deployer's policy")
    blueprint = draft(**vars(parser.parse_args()))
    for note in blueprint.notes:
        print(f"note: {note}", file=sys.stderr)
    print(json.dumps(synthesised(blueprint), indent=2))


if __name__ == "__main__":
    told(main)
