"""The inference server of llama.cpp, run inside this process, behind a socket that only this user can open."""

import contextlib
import importlib
import os
import shutil
import tempfile
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import orjson

from stagebook.model.errors import ModelNotInstalled

BATCH = 256
"""Tokens of a prompt that are read at once. A cancelled call is noticed between two of these, after about a second."""

SLOT = 0
"""The server has one."""

WRITING_THREADS = 1
"""A token is hundreds of operations of microseconds each, and two threads wait for each other after every one: on idle
cores they write 115 tokens a second where one writes 75, on busy ones 10 where one writes 40."""

OTHER_TOKENS = (100, 101, 102)
"""Any three ordinary tokens."""


class ServerError(Exception):
    """The server refused a request, or ended while it answered."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the server wrote."""

    text: str
    """The answer."""
    cut: bool
    """Whether it ended at its limit of tokens."""
    tokens: int
    """Tokens written."""
    timings: Mapping[str, Any]
    """The server's own: `prompt_n`, `prompt_per_second`, `predicted_per_second`, milliseconds, `cache_n`."""


class LocalServer:
    """A loaded model. It must be used from one event loop, and closed there.

    Loading takes about half a second, during which nothing else in this process runs, because the library keeps the
    interpreter's lock. Then it works on threads of its own that touch no Python object: a process can end at any time.

    Args:
        weights: A GGUF file.
        context: Tokens of prompt and answer together.
        threads: For reading prompts; answers are written by one.

    Raises:
        ModelNotInstalled: The inference library is not installed, or refuses the file.
    """

    def __init__(self, weights: Path, *, context: int, threads: int) -> None:
        xllamacpp = _library()
        folder = tempfile.mkdtemp(prefix="stagebook-")  # only its owner may enter, so the socket in it is private
        self._socket = f"{folder}/model.sock"
        params = xllamacpp.CommonParams()
        params.model.path = str(weights)
        params.hostnames = [self._socket]
        params.n_ctx = context
        params.n_batch = params.n_ubatch = BATCH
        params.n_parallel = 1
        params.n_ctx_checkpoints = params.cache_ram_mib = 0
        params.n_gpu_layers = 0
        # on a CPU: 41 tokens a second instead of 25 where 2,000 stand before them
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.verbosity = -1  # nothing to stdout or stderr
        params.warmup = params.fit_params = params.ui = False
        params.n_threads_http = 3
        params.sse_ping_interval = 1  # seconds after which a waiting answer notices that the server is to end
        params.cpuparams.n_threads = WRITING_THREADS
        params.cpuparams_batch.n_threads = threads
        try:
            held = [xllamacpp.Server(params)]
        except RuntimeError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ModelNotInstalled(f"the weights {weights} cannot be loaded; fetch them anew") from error
        self._unload = weakref.finalize(self, _unload, held, folder)  # also when the interpreter ends without close()
        self._read: Sequence[int] = ()
        """The prompt whose state the server holds."""

    def close(self) -> None:
        """Unload the model; idempotent. What it still writes breaks off."""
        self._unload()

    async def render(self, messages: Sequence[Mapping[str, str]]) -> Sequence[int]:
        """Turn a conversation into the prompt's tokens, by the model's own chat template.

        `<|`, which begins control tokens such as `<|im_end|>`, is read as `< |` in a message: what a prompt quotes
        cannot end it.
        """
        harmless = [{**message, "content": message["content"].replace("<|", "< |")} for message in messages]
        rendered = await self._ask("/apply-template", {"messages": harmless})
        return await self.tokenize(rendered["prompt"], special=True)

    async def tokenize(self, text: str, *, special: bool = False) -> Sequence[int]:
        """Cut a text into tokens; `special`: control tokens in it count as such."""
        answer = await self._ask("/tokenize", {"content": text, "parse_special": special, "add_special": special})
        tokens: list[int] = answer["tokens"]
        return tokens

    async def decode(
        self,
        prompt: Sequence[int],
        options: Mapping[str, Any],
        on_tokens: Callable[[int], None] | None = None,
    ) -> Decoded:
        """Write an answer. A cancelled call stops the server's work.

        Args:
            prompt: As `render` makes it.
            options: Of llama.cpp's `POST /completion`.
            on_tokens: Told the tokens written so far.

        Raises:
            ServerError: The server refused.
        """
        kept = await self._rewind(prompt)
        body = {**options, "prompt": list(prompt), "stream": True, "cache_prompt": kept > 0, "id_slot": SLOT}
        self._read = ()
        pieces: list[str] = []
        async with contextlib.aclosing(self._stream("/completion", body)) as events:
            async for event in events:
                pieces.append(event["content"])
                if event["stop"]:
                    self._read = prompt
                    cut = event["stop_type"] == "limit"
                    return Decoded("".join(pieces), cut, event["tokens_predicted"], event["timings"])
                if on_tokens is not None:
                    on_tokens(event["tokens_predicted"])
        raise ServerError("the answer broke off")

    async def _rewind(self, prompt: Sequence[int]) -> int:
        """Keep what the server has read of this prompt's beginning; say how many tokens that is.

        Only whole batches of the last prompt are kept. So every token is read in the same batch as if nothing had been
        kept, and the answer, down to the rounding of its sums, does not depend on what was asked before.
        """
        read, self._read = self._read, ()
        shared = 0
        for ours, theirs in zip(prompt, read, strict=False):
            if ours != theirs:
                break
            shared += 1
        kept = min(shared, len(prompt) - 1) // BATCH * BATCH
        if kept:
            following = {prompt[kept], *read[kept : kept + 1]}
            other = next(token for token in OTHER_TOKENS if token not in following)
            short = [*prompt[:kept], other]
            await self._ask("/completion", {"prompt": short, "n_predict": 0, "cache_prompt": True, "id_slot": SLOT})
        return kept

    @contextlib.asynccontextmanager
    async def _post(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send on a connection of its own: closing it is how a call is cancelled, and none is left to be closed."""
        connector = aiohttp.UnixConnector(self._socket, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with (
                aiohttp.ClientSession("http://local", connector=connector, timeout=timeout) as session,
                session.post(path, data=orjson.dumps(body)) as answer,
            ):
                if not answer.ok:
                    raise ServerError(orjson.loads(await answer.read())["error"]["message"])
                yield answer
        except aiohttp.ClientError as error:
            raise ServerError(f"the connection broke ({error}): was it closed while it was asked?") from error

    async def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        async with self._post(path, body) as answer:
            return orjson.loads(await answer.read())

    async def _stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        """Ask, and give the events as they come (Server-Sent Events, one `data:` line each)."""
        async with self._post(path, body) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    if event.startswith(b"error: ") or b'"error"' in event[:20]:
                        raise ServerError(event.decode("utf-8", "replace")[:300])
                    if event.startswith(b"data: {"):
                        yield orjson.loads(event.removeprefix(b"data: "))


def _library() -> ModuleType:
    """Import the inference library: 100 MB that only those pay for who ask a local model.

    Its OpenMP threads would spin while they wait for each other: where cores are shared with other work, two of them
    then come to 3 tokens a second. OpenMP reads its policy once, when it is loaded.
    """
    policy = os.environ.get("OMP_WAIT_POLICY")
    os.environ["OMP_WAIT_POLICY"] = policy or "passive"
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise ModelNotInstalled(
            "local models need the package xllamacpp: type `pip install 'stagebook[local]'`, or `make setup`"
        ) from error
    finally:
        if policy is None:
            del os.environ["OMP_WAIT_POLICY"]


def _unload(held: list[Any], folder: str) -> None:
    """Stop the server's threads and remove its socket."""
    held.clear()
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
