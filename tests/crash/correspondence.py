"""A stage that asks a model by HTTP of its own, as an SDK does: a conversation that grows, and samples at once."""

import asyncio
from typing import Any

from pydantic import BaseModel

from stagebook import Door, Pipeline

SAMPLES = 3
"""One request, sent so often at once."""


class Errand(BaseModel):
    questions: int
    server: str


class Letters(BaseModel):
    answers: list[str]
    samples: list[str]


pipeline = Pipeline("correspondence", input=Errand)


@pipeline.stage()
async def letters(errand: Errand, door: Door) -> Letters:
    client = door.httpx2_client(base_url=f"{errand.server}/v1", headers={"authorization": "Bearer not-a-secret"})

    async def ask(said: list[dict[str, str]]) -> str:
        response = await client.post("/chat/completions", json={"messages": said, "model": "gpt-4.1-mini"})
        response.raise_for_status()
        message: dict[str, Any] = response.json()["choices"][0]["message"]
        return str(message["content"])

    said: list[dict[str, str]] = []
    answers = []
    for number in range(errand.questions):
        said.append({"role": "user", "content": f"Question {number} of {errand.questions}: what is beyond the sea?"})
        answers.append(await ask(said))
        said.append({"role": "assistant", "content": answers[-1]})
    samples = await asyncio.gather(*(ask([{"role": "user", "content": "Propose a title"}]) for _ in range(SAMPLES)))
    return Letters(answers=answers, samples=samples)
