"""What a run had done when it was cut off: said with the error, so that nobody has to guess what is there now."""

from __future__ import annotations

from collections.abc import Iterator

from llm_deploy.deploy.plan import Action, short_kind
from llm_deploy.deploy.steps import Stage, Step
from llm_deploy.errors import LlmDeployError

_WORDS = {Action.CREATE: "made", Action.UPDATE: "changed", Action.REPLACE: "made anew", Action.DELETE: "removed"}
GOES_ON = "Running the same command again goes on from there."


def with_account(steps: Iterator[Step]) -> Iterator[Step]:
    """The steps; an error that ends them says in its hint what had been done, and that another run goes on."""
    done: list[Step] = []
    begun: Step | None = None
    try:
        for step in steps:
            if step.stage is Stage.STARTED:
                begun = step
            elif step.stage is Stage.DONE:
                begun = None
                done += [step] if step.action in _WORDS else []
            yield step
    except LlmDeployError as error:
        lines = [f"{_WORDS[step.action]} so far: {_named(step)}" for step in done]
        lines += [f"under way when it stopped: {_named(begun)}"] if begun else []
        if lines:
            error.hint = "\n  ".join([*([error.hint] if error.hint else []), *lines, GOES_ON])
        raise


def _named(step: Step) -> str:
    return f"{short_kind(step.kind)} {step.name}"
