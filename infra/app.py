"""What the cdk command runs: `cdk synth -c config=configs/twin.yaml`. Paths are relative to the project's root."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from infra.node import use_node
from llm_deploy.errors import LlmDeployError
from llm_deploy.render import cloudformation
from llm_deploy.targets.blueprint import draft

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = "configs/twin.yaml"


def main() -> None:
    """Build the app from the context and write the assembly where the cdk command wants it.

    Context (`-c KEY=VALUE`, or in cdk.json): config, endpoint_type, region, account, with_roles=true, and stack, the
    stack's name, by default llmdeploy-NAME.
    """
    use_node()
    import aws_cdk as cdk  # noqa: PLC0415 - it starts Node

    from infra.stack import LlmEndpointStack  # noqa: PLC0415 - as above

    app = cdk.App(outdir=_in_the_root(), analytics_reporting=False)
    context = app.node.try_get_context
    blueprint = draft(
        context("config") or DEFAULT_CONFIG,
        endpoint_type=context("endpoint_type"),
        region=context("region"),
        account=context("account"),
        with_roles=str(context("with_roles")).lower() == "true",
    )
    LlmEndpointStack(app, context("stack") or cloudformation.stack_name(blueprint.name), blueprint)
    app.synth()


def _in_the_root() -> str:
    """Go to the project's root, whose `.env` and role file `llmdeploy` reads too; where the assembly is to go stays."""
    output = Path(os.environ.get("CDK_OUTDIR", "cdk.out")).resolve()
    os.chdir(ROOT)
    return str(output)


def told(run: Callable[[], None]) -> None:
    """Run, and end with message, hint and exit code where something is wrong, as `llmdeploy` does."""
    try:
        run()
    except LlmDeployError as error:
        print(f"error: {error.message}", *([f"  {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    told(main)
