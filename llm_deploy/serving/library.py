"""One llama.cpp server of xllamacpp inside this process: started, reached over a private unix socket, closed.

What both adapters need, `llamacpp` (generation) and `embedding`; the module text of `llamacpp` says what had to be
found out about it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llm_deploy.errors import InferenceRequestError, MissingExtraError, ModelFileError
from llm_deploy.serving.engine import EngineFailureError, Json
from llm_deploy.serving.socket_http import Exchange, document_of, exchange

Foreign = Any
"""An object of xllamacpp, which has no types."""

SPARE_HTTP_THREADS = 8
"""Threads of its HTTP server beside one for each slot."""

_PREFIX = "llmd-"
_STALE_S = 60
_MAX_SOCKET_PATH_BYTES = 100  # 108 on Linux, 104 on macOS, including the final zero
_BAD_REQUEST, _OK = 400, 200


class Library:
    """A server of xllamacpp, or none yet."""

    def __init__(self) -> None:
        self._server: Foreign = None
        self._folder: Path | None = None
        self._open: set[Exchange] = set()

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._server is not None

    @property
    def socket(self) -> Path:
        """Where llama.cpp's own HTTP server listens; only this user can connect."""
        if self._folder is None:
            raise EngineFailureError("The engine is not loaded.")
        return self._folder / "engine.sock"

    def start(self, path: Path, set_parameters: Callable[[Foreign], None]) -> None:
        """Load a model; blocks.

        Raises:
            ModelFileError: llama.cpp refuses the file.
            MissingExtraError: xllamacpp is not installed.
        """
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when the library is loaded
        try:
            import xllamacpp  # noqa: PLC0415 - 100 MB, and only after the line above
        except ImportError as error:
            raise MissingExtraError(
                f"The engine cannot be imported: {error}.",
                hint="Install the extra `serve`; in a clone: pip install -e '.[serve]'",
            ) from error
        self._folder = _private_folder()
        try:
            self._server = xllamacpp.Server(self._parameters(xllamacpp.CommonParams(), path, set_parameters))
        except (RuntimeError, ValueError) as error:
            self.close()
            raise ModelFileError(
                f"llama.cpp cannot load {path}; its reason is on the lines above.",
                hint="The file may be damaged: fetch it again (llmdeploy models verify, then pull).",
            ) from error

    def _parameters(self, parameters: Foreign, path: Path, set_parameters: Callable[[Foreign], None]) -> Foreign:
        parameters.model.path = str(path)
        parameters.cache_ram_mib = 0
        parameters.cache_idle_slots = False
        parameters.verbosity = 1
        parameters.ui = False
        parameters.hostnames = [str(self.socket)]
        set_parameters(parameters)
        return parameters

    @asynccontextmanager
    async def exchange(self, method: str, target: str, document: object = None) -> AsyncIterator[Exchange]:
        """Send a document and hand out the answer as it comes; leaving the block drops the connection.

        Raises:
            EngineFailureError: The engine is not loaded, or the answer broke off.
        """
        async with exchange(self.socket, method, target, document) as answer:
            self._open.add(answer)
            try:
                yield answer
            finally:
                self._open.discard(answer)

    async def call(self, method: str, target: str, document: object = None) -> tuple[int, Json]:
        """Return status and parsed body of one request.

        Raises:
            EngineFailureError: No answer, or one that is not JSON.
        """
        async with self.exchange(method, target, document) as answer:
            return await document_of(answer, target)

    async def ask(self, target: str, document: dict[str, Any]) -> Json:
        """Post a document; return the answer's.

        Raises:
            InferenceRequestError: llama.cpp says that the request is wrong.
            EngineFailureError: Anything else.
        """
        status, answer = await self.call("POST", target, document)
        if status != _OK:
            raise refusal(json.dumps(answer).encode())
        return answer

    def close(self) -> None:
        """Stop llama.cpp and remove its socket; what is under way fails.

        Its destructor holds Python's lock until every request has ended, and a request ends when its client, which is
        this process, hangs up: hence first that.
        """
        for each in tuple(self._open):
            each.hang_up()
        self._server = None
        self.remove_socket()

    def remove_socket(self) -> None:
        """Remove the private directory; running requests keep their connections."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def refusal(body: bytes) -> InferenceRequestError | EngineFailureError:
    """Turn llama.cpp's error document into ours: 4xx is the request's fault, the rest is not."""
    with contextlib.suppress(ValueError, AttributeError):
        error = json.loads(body).get("error", {})
        if error.get("code") == _BAD_REQUEST:
            return InferenceRequestError(str(error.get("message")))
        return EngineFailureError(str(error.get("message", body[:200])))
    return EngineFailureError(f"The engine answered {body[:200]!r}.")


def _private_folder() -> Path:
    """Make a directory for the socket that only this user can enter; socket paths are short."""
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(os.fsencode(folder)) + len("/engine.sock") <= _MAX_SOCKET_PATH_BYTES:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))


def _sweep(parent: Path) -> None:
    """Remove the directories of servers that were killed: nobody listens on their sockets any more.

    A young socket may be one that is bound and does not listen yet, so it is left alone.
    """
    for path in parent.glob(f"{_PREFIX}*/engine.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            if time.time() - path.stat().st_mtime < _STALE_S:
                continue
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                shutil.rmtree(path.parent, ignore_errors=True)
