"""The prompts of `bench/calls.py` against the mock provider by a library that asks models; run by `bench/peers.py`.

Each as its own documentation asks many prompts at once, 256 at most: litellm by `acompletion`, langchain-openai by
`abatch` with structured output, pydantic-ai by `Agent.run` with an output type, distilabel by a pipeline of one
`TextGeneration`. None of them keeps what it sent; distilabel writes its rows into a file. Prints one JSON line.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

HEAD = "Label the following page. Say whether it is a boundary, how sure you are, and why.\n\n"
MODEL = "gpt-4.1-mini"
Figures = dict[str, float]


def text_of(number: int) -> str:
    """Make the 2 KB of one page, as `bench/calls.py` does."""
    words = (f"{(number * 7919 + k * 104729) % 9999991:07d}" for k in range(230))
    return f"{HEAD}page {number}: {' '.join(words)}"


def label() -> Any:
    """Declare what the model answers; pydantic is of the peer's environment."""
    from pydantic import BaseModel  # noqa: PLC0415

    class Label(BaseModel):
        """A label of a page."""

        label: str
        score: int
        reason: str

    return Label


async def at_once(prompts: list[str], ask: Callable[[str], Awaitable[object]], most: int) -> int:
    """Ask all, so many at once; counts the answers."""
    left = iter(prompts)
    answered = 0

    async def worker() -> None:
        nonlocal answered
        for prompt in left:
            await ask(prompt)
            answered += 1

    await asyncio.gather(*(worker() for _ in range(most)))
    return answered


async def litellm(prompts: list[str], url: str, most: int) -> int:
    """Ask by litellm."""
    import litellm as peer  # noqa: PLC0415

    peer.telemetry = False
    model = label()

    async def ask(prompt: str) -> object:
        messages = [{"role": "user", "content": prompt}]
        answer = await peer.acompletion(
            model=f"openai/{MODEL}", messages=messages, api_base=url, api_key="x", response_format=model
        )
        return model.model_validate_json(answer.choices[0].message.content)

    return await at_once(prompts, ask, most)


async def langchain(prompts: list[str], url: str, most: int) -> int:
    """Ask by langchain-openai."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    asked = ChatOpenAI(model=MODEL, base_url=url, api_key="x").with_structured_output(label(), method="json_schema")
    return len(await asked.abatch(prompts, config={"max_concurrency": most}))


async def pydantic_ai(prompts: list[str], url: str, most: int) -> int:
    """Ask by pydantic-ai."""
    from pydantic_ai import Agent, NativeOutput  # noqa: PLC0415
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="x"))
    agent = Agent(model, output_type=NativeOutput(label()))
    return await at_once(prompts, agent.run, most)


async def distilabel(prompts: list[str], url: str, most: int) -> int:
    """Ask by distilabel."""
    from distilabel.models import OpenAILLM  # noqa: PLC0415
    from distilabel.pipeline import Pipeline  # noqa: PLC0415
    from distilabel.steps import LoadDataFromDicts  # noqa: PLC0415
    from distilabel.steps.tasks import TextGeneration  # noqa: PLC0415

    with Pipeline(name="bench") as pipeline:
        rows = LoadDataFromDicts(data=[{"instruction": prompt} for prompt in prompts], batch_size=most)
        asked = TextGeneration(llm=OpenAILLM(model=MODEL, base_url=url, api_key="x"), input_batch_size=most)
        rows >> asked  # type: ignore[unused-ignore]  how distilabel joins steps
    return len(pipeline.run(use_cache=False)["default"]["train"])


async def measured(
    peer: Callable[[list[str], str, int], Awaitable[int]], prompts: list[str], url: str, most: int
) -> Figures:
    """Time a peer, once it has imported what it needs and made what it makes only once."""
    await peer(prompts[:20], url, most)
    begun, cpu = time.perf_counter(), time.process_time()
    answered = await peer(prompts, url, most)
    took = time.perf_counter() - begun
    if answered != len(prompts):
        raise SystemExit(f"{answered} answers of {len(prompts)}")
    used = (time.process_time() - cpu) / len(prompts) * 1000
    return {"calls": len(prompts), "calls_per_second": len(prompts) / took, "cpu_per_1000": used}


PEERS = {"litellm": litellm, "langchain": langchain, "pydantic-ai": pydantic_ai, "distilabel": distilabel}


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--core", type=int)
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": folder, "DISTILABEL_CACHE_DIR": folder, "OPENAI_API_KEY": "x"}
        os.environ |= {"LANGCHAIN_TRACING_V2": "false", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        prompts = [text_of(number) for number in range(chosen.calls)]
        print(json.dumps(asyncio.run(measured(PEERS[chosen.peer], prompts, chosen.url, chosen.at_once))))


if __name__ == "__main__":
    main()
