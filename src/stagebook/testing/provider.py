"""A fake model provider: a real HTTP server that speaks the providers' formats and keeps its own bill.

In process: `async with FakeProvider(script=Script(...)) as provider:`, then ask `provider.base_url` and read
`provider.bill`.
As a process of its own, for tests that kill the client and for benches (`provider_process.py` starts it from Python):

```
python -m stagebook.testing.provider --port 0 --latency 0.02 --script script.json
{"url": "http://127.0.0.1:40831"}
```

It stops on SIGTERM and when its standard input closes, so that it never outlives the test that started it.

Routes: `POST /v1/chat/completions`, `POST /v1/responses`, `GET /v1/responses/ID` (of a job), `POST /v1/messages`
(Anthropic's), `POST /v1/embeddings` (no script, no limits), `GET /v1/models`, what belongs to batches (`/v1/files`,
`/v1/batches`, `/v1/messages/batches`; all also without `/v1`), `GET /bill`,
`GET /bill/summary[?at=UNIX_SECONDS]`, `POST /bill/reset`, `POST /script` (a script as JSON; counts start again).
Only this machine can connect.
"""

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson
from aiohttp import web

from stagebook.model.errors import InputError
from stagebook.model.usage import Usage
from stagebook.testing.provider_answers import Answer, Answerer
from stagebook.testing.provider_batches import BatchCounter, Processed
from stagebook.testing.provider_bill import GPT_4_1_MINI, Bill, BillEntry, Ending, TokenPrice
from stagebook.testing.provider_embeddings import read_embeddings, write_embeddings
from stagebook.testing.provider_faults import Cut, ErrorStatus, fraction
from stagebook.testing.provider_formats import CHAT, MESSAGES, RESPONSES, Format
from stagebook.testing.provider_limit import RateLimit, SlidingWindow
from stagebook.testing.provider_request import ChatRequest, Rejection
from stagebook.testing.provider_responses import Job, document
from stagebook.testing.provider_script import Script, ScriptPlayer
from stagebook.testing.provider_strict import strict_objection
from stagebook.testing.provider_wire import JSON, Wire, scripted_error

PRICES: Final[Mapping[str, TokenPrice]] = {
    "gpt-4.1-nano": TokenPrice.per_million("0.10", "0.025", "0.40"),
    "gpt-4.1-mini": GPT_4_1_MINI,
    "gpt-4.1": TokenPrice.per_million("2.00", "0.50", "8.00"),
    "text-embedding-3-small": TokenPrice.per_million("0.02", "0.02", "0"),
    "claude-haiku-4-5": TokenPrice.per_million("1.00", "0.10", "5.00"),
}
"""OpenAI's and Anthropic's list prices; a model that is not listed costs what gpt-4.1-mini does."""

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 4096
_GRACE: Final = 0.05
"""Seconds that a stopping server leaves to its handlers, after their connections are closed."""
_REQUESTS_KEPT: Final = 1000
_JOBS: Final = "/responses/"
_BATCHES: Final = ("/files", "/batches", "/messages/batches")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class FakeProvider:
    """The server; use it as an async context manager."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        seed: int = 0,
        port: int = 0,
        latency: float | tuple[float, float] = 0.0,
        prices: Mapping[str, TokenPrice] = PRICES,
        rate_limit: RateLimit | None = None,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        max_body_bytes: int | None = None,
    ) -> None:
        """Describe a provider; it listens once it is entered.

        Args:
            script: What it answers and does wrong; None: every request is answered by its response format.
            seed: Another seed makes other contents, delays and choices of the faults with a probability.
            port: Port on 127.0.0.1; 0: any that is free.
            latency: Seconds before every answer, or the least and the most, drawn evenly for each body.
            prices: Model to price; others cost what gpt-4.1-mini does.
            rate_limit: What is let through; the rest is answered 429.
            api_key: The one key that is accepted, other requests are answered 401; None: no key is needed.
            models: The only models that exist, others are answered 404; None: all do.
            max_body_bytes: Largest body, larger ones are answered 413; None: no limit.
        """
        self.bill = Bill()
        """Every request that arrived, what it cost and how it ended."""
        self.requests: deque[ChatRequest] = deque(maxlen=_REQUESTS_KEPT)
        """The last 1000 requests that could be read, with their headers and messages."""
        self._seed = seed
        self._port = port
        self._latency = latency if isinstance(latency, tuple) else (latency, latency)
        self._prices = prices
        self._window = SlidingWindow(rate_limit) if rate_limit else None
        self._api_key = api_key
        self._models = models
        self._max_body_bytes = max_body_bytes
        self._strict_objections: dict[bytes, str | None] = {}
        self._arrivals = 0
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._batches = BatchCounter(self._process, lambda: self._player.script.batches)
        self.use(script or Script())
        self._jobs: dict[str, Job] = {}
        completions: dict[tuple[str, str], Handler] = {
            ("POST", "/chat/completions"): self._speaking(CHAT),
            ("POST", "/responses"): self._speaking(RESPONSES),
            ("POST", "/messages"): self._speaking(MESSAGES),
            ("POST", "/embeddings"): self._embed,
            ("GET", "/models"): self._list_models,
        }
        self._routes: dict[tuple[str, str], Handler] = {
            **completions,
            **{(method, f"/v1{path}"): handler for (method, path), handler in completions.items()},
            ("GET", "/bill"): self._show_bill,
            ("GET", "/bill/summary"): self._show_summary,
            ("POST", "/bill/reset"): self._reset_bill,
            ("POST", "/script"): self._take_script,
        }

    def use(self, script: Script) -> None:
        """Go on by another script; its counts start anew, requests in flight end as they began."""
        self._player = ScriptPlayer(script, seed=self._seed)
        self._answerer = Answerer(self._player, seed=self._seed)
        self._batches.count_anew()

    @property
    def url(self) -> str:
        """Where it listens, without a path: `http://127.0.0.1:40831`.

        Raises:
            RuntimeError: It does not listen yet.
        """
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError(
                "the fake provider does not listen; use it inside `async with FakeProvider() as provider`"
            )
        return f"http://{_HOST}:{self._runner.addresses[0][1]}"

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` is set to: `url` with `/v1`. `ANTHROPIC_BASE_URL` is set to `url`."""
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        self._server = web.Server(
            self._dispatch,
            request_factory=self._unlimited_request,
            handler_cancellation=True,  # a client that goes away is noted when it goes, not when its answer is ready
            access_log=None,
            auto_decompress=False,  # the bill's digest is of the bytes that came
        )
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, self._port, backlog=_BACKLOG).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        for connection in self._server.connections:
            connection.force_close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _unlimited_request(self, *parts: Any) -> web.BaseRequest:
        message, payload, protocol, writer, task = parts
        return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=0)

    async def _dispatch(self, http: web.BaseRequest) -> web.StreamResponse:
        path = http.raw_path.partition("?")[0]
        handler = self._routes.get((http.method, path))
        if handler is None and http.method == "GET" and path.removeprefix("/v1").startswith(_JOBS):
            return self._show_job(http, path.rpartition("/")[2])
        if handler is None and path.removeprefix("/v1").startswith(_BATCHES):
            return await self._serve_batches(http, path.removeprefix("/v1"))
        if handler is None:
            return _json(Rejection(404, f"Unknown request URL: {http.method} {path}.").body(), status=404)
        return await handler(http)

    def _speaking(self, form: Format) -> Handler:
        """Answer requests in a format."""

        async def answer(http: web.BaseRequest) -> web.StreamResponse:
            body = await http.read()
            entry = self._entered(http, body)
            try:
                return await self._respond(form, body, entry, http)
            except asyncio.CancelledError:
                entry.end(Ending.CUT if self._stopping else Ending.CLIENT_GONE)
                raise

        return answer

    async def _embed(self, http: web.BaseRequest) -> web.StreamResponse:
        body = await http.read()
        entry = self._entered(http, body)
        wire = Wire(http, entry, Rejection.body)
        if self._api_key is not None and CHAT.key(http.headers) != self._api_key:
            return await wire.reject(Rejection(401, "Incorrect API key provided.", code="invalid_api_key"), {})
        request = read_embeddings(body)
        if isinstance(request, Rejection):
            return await wire.reject(request, {})
        entry.model, usage = request.model, Usage(input_tokens=request.input_tokens)
        entry.charge(usage, self._prices.get(request.model, GPT_4_1_MINI).cost(usage))
        return await wire.answer(write_embeddings(request), None, {})

    def _entered(self, http: web.BaseRequest, body: bytes) -> BillEntry:
        self._arrivals += 1
        return self.bill.open(self._arrivals, hashlib.sha256(body).hexdigest(), http.headers)

    async def _respond(self, form: Format, body: bytes, entry: BillEntry, http: web.BaseRequest) -> web.StreamResponse:
        wire = Wire(http, entry, form.error)
        request = self._admitted(form, body, entry, http.headers)
        headers = {form.request_id: f"req_{entry.number}", **(self._window.headers() if self._window else {})}
        if isinstance(request, Rejection):
            return await wire.reject(request, headers)
        ruling = self._player.rule_on(request)
        fault = ruling.fault
        delay = self._drawn_latency(request) + ruling.delay
        entry.fault = fault.kind if fault else "delay" if ruling.delay else None
        error: Rejection | None = None
        answer: Answer | None = None
        if isinstance(fault, ErrorStatus):
            error = scripted_error(fault, request)
        elif not isinstance(fault, Cut) or fault.charged:
            try:
                answer = self._answerer.answer(request, ruling)
            except Exception as raised:  # noqa: BLE001  a scripted function's error belongs to the client, as text, not to the server
                error = Rejection(
                    400, f"the fake provider's script cannot answer this: {type(raised).__name__}: {raised}"
                )
            else:
                price = self._prices.get(request.model, GPT_4_1_MINI)
                if not answer.failed:
                    entry.charge(answer.usage, price.cost(answer.usage))
        if request.background and answer is not None:
            job = Job(document(answer, request, entry.arrived_at), entry.arrived_at + delay)
            self._jobs[job.finished["id"]] = job
            return wire.cut() if isinstance(fault, Cut) else await wire.answer(job.at_work("queued"), fault, headers)
        if delay:
            await asyncio.sleep(delay)
        if error is not None:
            return await wire.reject(error, headers)
        if answer is None or isinstance(fault, Cut):
            return wire.cut()
        return await wire.answer(form.answer(answer, request, entry.arrived_at), fault, headers)

    def _show_job(self, http: web.BaseRequest, handle: str) -> web.StreamResponse:
        """Tell where a job is; polls are in the bill, and cost nothing."""
        entry, job = self._entered(http, b""), self._jobs.get(handle)
        if self._api_key is not None and RESPONSES.key(http.headers) != self._api_key:
            refused = Rejection(401, "Incorrect API key provided.", code="invalid_api_key")
        elif job is None:
            refused = Rejection(404, f"Response with id '{handle}' not found.", param="id")
        else:
            entry.model, entry.status = str(job.finished["model"]), 200
            entry.end(Ending.ANSWERED)
            return _json(job.at(time.time()))
        entry.status = refused.status
        entry.end(Ending.REJECTED)
        return _json(refused.body(), status=refused.status)

    async def _serve_batches(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer what is asked about batches; it is in the bill, and costs nothing itself."""
        body = await http.read()
        entry, form = self._entered(http, body), MESSAGES if path.startswith("/messages") else CHAT
        if self._api_key is not None and form.key(http.headers) != self._api_key:
            refused = Rejection(401, "Incorrect API key provided.", code="invalid_api_key")
            entry.status = refused.status
            entry.end(Ending.REJECTED)
            return _json(form.error(refused), status=refused.status)
        reply = self._batches.respond(http.method, path, http.rel_url.query, body, http.headers)
        if reply.cut:
            return Wire(http, entry, form.error).cut()
        entry.status = reply.status
        entry.end(Ending.ANSWERED if reply.status == HTTPStatus.OK else Ending.REJECTED)
        answer = _json(reply.body, status=reply.status)
        answer.headers.update(reply.headers)
        return answer

    def _process(self, form: Format, body: bytes, headers: Mapping[str, str], batch: str) -> Processed:
        """Answer one request of a batch, for half of its price."""
        self._arrivals += 1
        entry = self.bill.open(self._arrivals, hashlib.sha256(body).hexdigest(), {})
        entry.batch = batch
        request = self._admitted(form, body, entry, headers, limited=False)
        if isinstance(request, ChatRequest):
            ruling = self._player.rule_on(request)
            fault = ruling.fault
            entry.fault = fault.kind if fault else None
            if isinstance(fault, ErrorStatus):
                request = scripted_error(fault, request)
            else:
                answer = self._answerer.answer(request, ruling)
                if not isinstance(fault, Cut) or fault.charged:
                    price = self._prices.get(request.model, GPT_4_1_MINI)
                    entry.charge(answer.usage, price.cost(answer.usage) // 2)
                if isinstance(fault, Cut):
                    entry.end(Ending.CUT)
                    return Processed(entry, HTTPStatus.OK, None)
                entry.status = HTTPStatus.OK
                return Processed(entry, HTTPStatus.OK, form.answer(answer, request, entry.arrived_at))
        entry.status = request.status
        return Processed(entry, request.status, form.error(request))

    def _admitted(
        self, form: Format, body: bytes, entry: BillEntry, headers: Mapping[str, str], *, limited: bool = True
    ) -> ChatRequest | Rejection:
        """Read a request and check key, size, model, schema and rate limit, in this order."""
        if self._api_key is not None and form.key(headers) != self._api_key:
            return Rejection(401, "Incorrect API key provided.", code="invalid_api_key")
        if self._max_body_bytes is not None and len(body) > self._max_body_bytes:
            return Rejection(413, f"The request has {len(body)} bytes, at most {self._max_body_bytes} are taken.")
        request = form.read(entry.number, body, entry.sha256, headers)
        if isinstance(request, Rejection):
            return request
        entry.model = request.model
        self.requests.append(request)
        if self._models is not None and request.model not in self._models:
            message = f"The model `{request.model}` does not exist or you have no access to it."
            return Rejection(404, message, code="model_not_found", param="model")
        if request.strict and (objection := self._objection_to(request)):
            message = f"Invalid schema for response_format '{request.schema_name}': {objection}"
            return Rejection(400, message, param="response_format")
        window = self._window if limited else None
        refused = window.admit(request, asyncio.get_running_loop().time()) if window else None
        return refused or request

    def _objection_to(self, request: ChatRequest) -> str | None:
        key = orjson.dumps(request.schema)
        if key not in self._strict_objections:
            self._strict_objections[key] = strict_objection(request.schema)
        return self._strict_objections[key]

    def _drawn_latency(self, request: ChatRequest) -> float:
        low, high = self._latency
        return low if low == high else low + (high - low) * fraction("latency", self._seed, request.sha256)

    async def _list_models(self, _http: web.BaseRequest) -> web.StreamResponse:
        names = self._models if self._models is not None else self._prices
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "stagebook"} for name in names]
        return _json(orjson.dumps({"object": "list", "data": data}))

    async def _show_bill(self, _http: web.BaseRequest) -> web.StreamResponse:
        self._batches.settle()
        return _json(self.bill.to_json())

    async def _show_summary(self, http: web.BaseRequest) -> web.StreamResponse:
        at = http.rel_url.query.get("at")
        try:
            moment = float(at) if at is not None else None
        except ValueError:
            return _json(Rejection(400, f"at={at} is not a number; give Unix seconds", param="at").body(), status=400)
        return _json(orjson.dumps(self.bill.summary(moment)))

    async def _reset_bill(self, _http: web.BaseRequest) -> web.StreamResponse:
        self.bill.reset()
        self._batches.forget()
        return _json(b"{}")

    async def _take_script(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            self.use(Script.from_json(await http.read(), origin="the body of POST /script"))
        except InputError as error:
            return _json(Rejection(400, str(error)).body(), status=400)
        return _json(b"{}")


def _json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type=JSON)


def _latency(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    return float(low), float(high or low)


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stagebook.testing.provider", description="A fake model provider.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes any that is free")
    parser.add_argument(
        "--latency", type=_latency, default=(0.0, 0.0), help="seconds before an answer: 0.02 or 0.01-0.05"
    )
    parser.add_argument("--script", type=Path, help="a script as JSON (see provider_script.py)")
    parser.add_argument("--seed", type=int, default=0, help="changes contents, delays and the faults drawn")
    parser.add_argument("--requests", type=int, help="most requests in any window; more are answered 429")
    parser.add_argument("--tokens", type=int, help="most tokens in any window; more are answered 429")
    parser.add_argument("--window", type=float, default=60.0, help="length of that window in seconds")
    parser.add_argument("--model", action="append", help="a model that exists (may be repeated); without any, all do")
    return parser.parse_args(arguments)


async def _serve(options: argparse.Namespace, script: Script | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=_wait_for_end_of_input, args=(loop, stop), daemon=True).start()
    limited = options.requests is not None or options.tokens is not None
    limit = RateLimit(options.requests, options.tokens, options.window) if limited else None
    async with FakeProvider(
        script,
        seed=options.seed,
        port=options.port,
        latency=options.latency,
        rate_limit=limit,
        models=options.model,
    ) as provider:
        sys.stdout.write(orjson.dumps({"url": provider.url}).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # a closed standard input has ended, too
    with contextlib.suppress(RuntimeError):  # the loop is closed when the process stops for another reason
        loop.call_soon_threadsafe(stop.set)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or the end of standard input.

    Args:
        arguments: What was typed; None: `sys.argv`.

    Returns:
        The exit code: 0, or 2 when the script cannot be used.
    """
    options = _arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        script = Script.from_file(options.script) if options.script else None
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    uvloop = importlib.import_module("uvloop") if importlib.util.find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(_serve(options, script))
    return 0


if __name__ == "__main__":
    sys.exit(main())
