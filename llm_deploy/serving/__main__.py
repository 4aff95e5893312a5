"""`python -m llm_deploy.serving`: the model server as a program, which is what runs in a container."""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_deploy.errors import LlmDeployError, MissingExtraError, ModelFileError

if TYPE_CHECKING:
    from llm_deploy.serving.process import Service

_EMBEDDING_MODEL = "minilm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; return the exit code of `llm_deploy.errors` on failure, after one line that says why."""
    options = _parser().parse_args(arguments)
    # An engine that dies of a signal (a CPU without AVX2: SIGILL) says so on standard error before it is gone.
    faulthandler.enable()
    try:
        return _serve(options)
    except LlmDeployError as error:
        hint = f" {error.hint}" if error.hint else ""
        sys.stderr.write(f"ERROR {type(error).__name__}: {error.message}{hint}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llm_deploy.serving", description=__doc__)
    add = parser.add_argument
    add("--model", required=True, help="path of a .gguf file, or the name of a known model (smollm2, minilm)")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8080, help="0 is any free port")
    add("--port-file", type=Path, help="gets the port's number as soon as connections are accepted")
    add("--dialect", choices=("tgi", "openai", "lmi", "tei"), default="tgi", help="what /invocations speaks")
    add("--served-model-name", help="what answers call the model")
    add("--parallel", type=_positive, default=4, help="generations at the same time")
    add("--context", type=_positive, help="tokens of prompt and answer together (default: the limits, else 2048)")
    add("--threads", type=_positive, default=1, help="of the engine; more than 1 needs an idle machine")
    add("--cache", type=Path, help="folder of the known models")
    add("--exit-with-parent", action="store_true", help="exit at once when standard input ends")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _serve(options: argparse.Namespace) -> int:
    try:
        from llm_deploy.serving import process  # noqa: PLC0415 - `--help` needs no web server
    except ImportError as error:
        raise MissingExtraError(
            f"The model server cannot be imported: {error}.",
            hint="Install the extra `serve`; in a clone: pip install -e '.[serve]'",
        ) from error
    process.set_up_log()
    if options.cache is not None:
        os.environ["LLMDEPLOY_CACHE"] = str(options.cache)
    path, name = _model(options.model)
    if options.dialect == "tei" and not _is_encoder(path):
        path, name = _stand_in()
    served = options.served_model_name or name
    service = _embedding(options, path, served) if _is_encoder(path) else _generation(options, path, served)
    if options.exit_with_parent:
        process.exit_with_parent(service.engine.remove_socket)
    return process.serve(service, process.Place(options.host, options.port, options.port_file))


def _generation(options: argparse.Namespace, path: Path, model: str) -> Service:
    from llm_deploy.serving import process  # noqa: PLC0415 - as above
    from llm_deploy.serving.contract import read_contract  # noqa: PLC0415 - as above
    from llm_deploy.serving.llamacpp import LlamaCpp  # noqa: PLC0415 - as above

    contract = read_contract(os.environ, options.dialect)
    context = contract.context_tokens(options.context)
    engine = LlamaCpp(path, context_tokens=context, parallel=options.parallel, threads=options.threads)
    return process.generation(engine, contract, model=model, dialect=options.dialect)


def _embedding(options: argparse.Namespace, path: Path, model: str) -> Service:
    from llm_deploy.serving import process  # noqa: PLC0415 - as above
    from llm_deploy.serving.contract import read_embedding_limits  # noqa: PLC0415 - as above
    from llm_deploy.serving.embedding import EmbeddingEngine  # noqa: PLC0415 - as above

    engine = EmbeddingEngine(path, parallel=options.parallel, threads=options.threads)
    return process.embedding(engine, read_embedding_limits(os.environ), model=model)


def _is_encoder(path: Path) -> bool:
    from llm_deploy.serving.gguf import read_facts  # noqa: PLC0415 - as above

    return read_facts(path).is_encoder


def _model(given: str) -> tuple[Path, str]:
    """Return the file and the default served name of a model given by path or by name."""
    path = Path(given)
    if path.suffix == ".gguf" or os.sep in given or path.is_file():
        return path, path.stem.lower()
    from llm_deploy.serving import models  # noqa: PLC0415 - a server that is given a path needs no registry

    return models.pull(given), models.known(given).served_name


def _stand_in() -> tuple[Path, str]:
    """The embedding model that answers for an image of TEI's; it is not fetched behind anybody's back.

    Raises:
        ModelFileError: It is not in the cache.
    """
    from llm_deploy.serving import models  # noqa: PLC0415 - only where an embedding model stands in

    if models.find(_EMBEDDING_MODEL) is None:
        raise ModelFileError(
            f"The embedding model {_EMBEDDING_MODEL} is not in the cache.",
            hint=f"Run: llmdeploy models pull {_EMBEDDING_MODEL}",
        )
    return models.pull(_EMBEDDING_MODEL), models.known(_EMBEDDING_MODEL).served_name


if __name__ == "__main__":
    sys.exit(main())
