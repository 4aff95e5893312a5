"""`make demo`: the main job on the local cloud, from roles to "nothing left", with a real model's tokens.

Every line after a `$` is a command that you can type yourself. State and files go to `.demo/`, which is removed; what
was fetched stays in the cache.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from llm_deploy.service_models import cache_folder

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".demo"
LLMDEPLOY = Path(sys.executable).with_name("llmdeploy")
OF_AN_ACCOUNT = ("AWS_", "LLMDEPLOY_TARGET", "LLMDEPLOY_ROLE_ARN")
CONFIG = os.path.relpath(ROOT / "configs" / "smollm2.yaml", FOLDER)


def run(*arguments: str, says: str = "", allow: int = 0) -> None:
    """Run one command as a person would, and stop the demo when it fails."""
    if says:
        print(f"\n# {says}", flush=True)
    print(f"$ llmdeploy {shlex.join(arguments)}", flush=True)
    code = subprocess.run([LLMDEPLOY, *arguments], cwd=FOLDER, env=environment(), check=False).returncode
    if code not in {0, allow}:
        sys.exit(f"the demo stopped: exit code {code}")


def environment() -> dict[str, str]:
    """The person's environment without anything that points to a real account, and with the local target."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_AN_ACCOUNT)}
    return kept | {"LLMDEPLOY_TARGET": "local", "LLMDEPLOY_HOME": str(FOLDER / "home")}


def nothing_in_the_cloud() -> None:
    """Ask the cloud itself, with plain boto3, what there is."""
    print("\n# The same question asked with plain boto3:", flush=True)
    program = (
        "import boto3\n"
        "sm, aas, cw = (boto3.client(s) for s in ('sagemaker', 'application-autoscaling', 'cloudwatch'))\n"
        "left = {\n"
        "  'models': sm.list_models()['Models'],\n"
        "  'endpoint configs': sm.list_endpoint_configs()['EndpointConfigs'],\n"
        "  'endpoints': sm.list_endpoints()['Endpoints'],\n"
        "  'inference components': sm.list_inference_components()['InferenceComponents'],\n"
        "  'scalable targets': aas.describe_scalable_targets(ServiceNamespace='sagemaker')['ScalableTargets'],\n"
        "  'alarms': cw.describe_alarms()['MetricAlarms'],\n"
        "}\n"
        "print({name: len(found) for name, found in left.items()})\n"
        "raise SystemExit(any(left.values()))\n"
    )
    lines = subprocess.run(
        [LLMDEPLOY, "local", "env", "--shell", "sh"],
        cwd=FOLDER,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    exported = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    pointed = environment() | {name: value.strip("'\"") for name, value in exported.items()}
    if subprocess.run([sys.executable, "-c", program], cwd=FOLDER, env=pointed, check=False).returncode:
        sys.exit("the demo stopped: something is left")


def main() -> None:
    """The whole story."""
    started_s = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        tell()
    finally:
        subprocess.run([LLMDEPLOY, "local", "down"], cwd=FOLDER, env=environment(), check=False, capture_output=True)
        shutil.rmtree(FOLDER, ignore_errors=True)
    seconds = time.monotonic() - started_s
    print(
        f"\nThe demo took {seconds:.0f} s. What is left on this machine, for the next time: the model and the emulator"
    )
    print(f"behind IAM and S3, {kept_mb():.0f} MB in {cache_folder()}.")


def kept_mb() -> float:
    """Size of the cache in MB of 10^6 bytes, as `ls` and package indexes count."""
    return sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file()) / 1e6


def tell() -> None:
    """Roles, plan, endpoint, tokens, status, change, rollback, deletion, proof."""
    run("local", "up", says="A cloud on this machine: AWS's wire protocol, and a real model behind it.")
    roles = ("create-roles", "--prefix", "smollm2", "--write-env", "--yes")
    run(*roles, says="A role for the containers, and a narrow role to deploy as; .env names it from here on.")
    run("deploy-endpoint", CONFIG, "--dry-run", says="What would be made:")
    run("deploy-endpoint", CONFIG, "--yes", says="Make it. Waiting times are AWS's, divided by 60.")
    question = ("The capital of France is", "--stream", "--max-new-tokens", "24", "--temperature", "0")
    run("invoke", "smollm2", *question, says="Ask it; tokens come as they are made.")
    run("status", "smollm2", says="What runs, and what it would cost on AWS:")
    run("deploy-endpoint", CONFIG, "--yes", says="The same spec again: nothing to do.")
    change = ("--set", "limits.max_total_tokens=1024", "--set", "limits.max_input_tokens=512", "--yes")
    run("deploy-endpoint", CONFIG, *change, says="Another limit: another Model, and the endpoint moves to it in place.")
    run("rollback", "smollm2", "--yes", says="Back to what served before; the cloud is asked for all of it.")
    run("history", "smollm2")
    run("delete-endpoint", "smollm2", "--yes", says="Take everything away, and search again.")
    run("list", "--json")
    run("delete-roles", "--prefix", "smollm2", "--yes")
    nothing_in_the_cloud()
    run("local", "down")


if __name__ == "__main__":
    main()
