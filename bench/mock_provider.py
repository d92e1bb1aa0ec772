"""A provider that answers everything alike after 20 ms: a bare protocol on uvloop, so that the client is measured.

Run by `bench/calls.py` in a process of its own, on a core of its own. Prints its port; on SIGTERM it prints one JSON
line: requests answered, and the CPU seconds that it took.
"""

import argparse
import asyncio
import json
import os
import signal
import time

import uvloop

CONTENT_BYTES = 1024


def answer() -> bytes:
    """Make the one answer: a chat completion whose content is 1 KB of JSON."""
    probe = {"name": "Ann", "age": 30}  # curator sees by them whether structured output works
    content = json.dumps({"label": "boundary", "score": 7, "reason": "r" * (CONTENT_BYTES - 74), **probe})
    body = json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4.1-mini-2025-04-14",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 512, "completion_tokens": 256, "total_tokens": 768},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Mock(asyncio.Protocol):
    """One connection; requests come one after the other, as HTTP/1.1 clients send them."""

    answered = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, reply: bytes, seconds: float) -> None:
        self._loop = loop
        self._reply = reply
        self._seconds = seconds
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while True:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            at = self._buffer[:head].lower().find(b"content-length:")
            size = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)]) if at >= 0 else 0
            if len(self._buffer) < head + 4 + size:
                return
            self._buffer = self._buffer[head + 4 + size :]
            self._loop.call_later(self._seconds, self._write)

    def _write(self) -> None:
        Mock.answered += 1
        self._transport.write(self._reply)  # type: ignore[attr-defined]  # a stream's transport


async def serve(seconds: float) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    reply, stop = answer(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Mock(loop, reply, seconds), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    print(json.dumps({"answered": Mock.answered, "cpu_seconds": time.process_time()}), flush=True)


def main() -> None:
    """Pin, serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int)
    parser.add_argument("--latency", type=float, default=0.02)
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    uvloop.run(serve(chosen.latency))


if __name__ == "__main__":
    main()
