"""Distinct prompts against the mock provider with bespokelabs-curator, its cache kept; run by `bench/peers.py`.

The same prompts and the same answer's model as `bench/calls.py`. Its tokenizer's file comes from no package registry:
words are counted instead, which costs it less. Prints one JSON line: calls a second.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path


class Words:
    """Counts words where curator counts tokens."""

    def encode(self, text: str, **_: object) -> list[str]:
        """Split at blanks."""
        return text.split()


def text_of(number: int) -> str:
    """Make the 2 KB of one page, as `bench/calls.py` does."""
    words = (f"{(number * 7919 + k * 104729) % 9999991:07d}" for k in range(230))
    return f"page {number}: {' '.join(words)}"


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--core", type=int)
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "CURATOR_CACHE_DIR": folder,
            "OPENAI_API_KEY": "x",
            "TELEMETRY_ENABLED": "false",
            "CURATOR_DISABLE_RICH_DISPLAY": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(Path(folder) / "hf"),
        }
        import tiktoken  # noqa: PLC0415  before curator takes it

        tiktoken.get_encoding = lambda _: Words()
        tiktoken.encoding_for_model = lambda _: Words()
        from bespokelabs import curator  # noqa: PLC0415  its settings are read when it is imported
        from pydantic import BaseModel  # noqa: PLC0415  as above

        class Label(BaseModel):
            """What the model answers."""

            label: str
            score: int
            reason: str

        class Labeller(curator.LLM):  # type: ignore[misc]  # of the peer's own environment
            """Asks for a label of each page."""

            response_format = Label

            def prompt(self, row: dict[str, str]) -> str:
                """Write the prompt."""
                return (
                    "Label the following page. Say whether it is a boundary, how sure you are, and why.\n\n"
                    + row["text"]
                )

            def parse(self, row: dict[str, str], response: Label) -> dict[str, object]:
                """Keep the answer."""
                return {"text": row["text"], "label": response.label, "reason": response.reason}

        llm = Labeller(
            model_name="gpt-4.1-mini",
            backend="openai",
            backend_params={
                "base_url": f"{chosen.url}/chat/completions",
                "max_requests_per_minute": 10_000_000,
                "max_tokens_per_minute": 100_000_000_000,
                "max_concurrent_requests": chosen.at_once,
            },
        )
        rows = [{"text": text_of(number)} for number in range(chosen.calls)]
        begun, cpu = time.perf_counter(), time.process_time()
        made = llm(rows)
        took = time.perf_counter() - begun
        count = len(made.dataset if hasattr(made, "dataset") else made)
        if count != chosen.calls:
            raise SystemExit(f"{count} answers of {chosen.calls}")
    print(
        json.dumps(
            {"calls_per_second": chosen.calls / took, "cpu_per_1000": (time.process_time() - cpu) / chosen.calls * 1000}
        )
    )


if __name__ == "__main__":
    main()
