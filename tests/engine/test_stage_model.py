from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Llm, Pipeline
from stagebook.engine.session import Site, Start, begin
from stagebook.engine.settings import Settings
from stagebook.model.errors import MissingKey


class Question(BaseModel):
    text: str = "why?"


class Answer(BaseModel):
    text: str


def pipeline_asking(model: str) -> Pipeline:
    pipeline = Pipeline("asking", input=Question, model=model)

    @pipeline.stage()
    async def answer(question: Question, llm: Llm) -> Answer:
        return Answer(text=await llm.ask(question.text))

    return pipeline


async def test_a_stage_that_takes_a_model_asks_the_one_that_was_declared(bench: Any) -> None:
    run, ended = await bench.run(pipeline_asking("openai:gpt-4.1-nano"), Question())
    assert ended.finished, await bench.reasons(run)
    assert [entry.model for entry in bench.provider.bill.charged] == ["gpt-4.1-nano"]


async def test_a_missing_key_of_a_model_that_a_stage_takes_is_told_before_anything_is_written(bench: Any) -> None:
    graph = pipeline_asking("groq:llama").check()
    with pytest.raises(MissingKey):
        await begin(Start(graph, "test", Question(), Settings()), Site(bench.ledger, {}))
    assert await bench.ledger.runs() == []
