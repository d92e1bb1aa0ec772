"""The real archives of ../shared/data, held against what their manifest says of them."""

from pathlib import Path

import pytest

from stagebook_pipelines.prompt_batch import ExtractedPrompt, extract_prompts, read_prompts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not (DATA / "conversations").is_dir(), reason="../shared/data is not on this machine"),
]


@pytest.mark.parametrize(
    ("name", "conversations", "prompts"),
    [
        ("sharegpt_fastchat_dummy.json", 200, 401),
        ("sharegpt_toolcall.json", None, 303),
        ("sharegpt_dpo.json", None, 260),
        ("sharegpt_dpo_zh.json", None, 60),
        ("openai_messages_kto.jsonl", None, 232),
        ("reason_tool_use.jsonl", None, 32),
        ("content_parts_v1.jsonl", None, 249),
        ("derived/chatgpt_export/conversations.json", 150, 252),
        ("derived/claude_export/conversations.json", 80, 143),
        ("derived/oasst_trees.jsonl", 80, 131),
        ("derived/openai_chat_log.jsonl", 80, 124),
    ],
)
def test_every_archive_gives_its_prompts(name: str, conversations: int | None, prompts: int) -> None:
    found = extract_prompts(source=DATA / "conversations" / "dev" / name)
    assert found.total == prompts
    assert not found.errors
    if conversations is not None:
        assert len({one.conversation for one in found.prompts}) == conversations


@pytest.mark.parametrize(
    ("name", "prompts", "said"),
    [
        ("truncated.json", 5, "was cut off"),
        ("bom.json", 9, None),
        ("jsonl_named.json", 12, None),
        ("bad_lines.jsonl", 5, "line 2, is not JSON"),
        ("empty.json", 0, "is empty"),
        ("empty_list.json", 0, "holds no prompt"),
        ("html_error.json", 0, "web page"),
        ("trailing_comma.json", 4, None),
        ("dangling_current_node.json", 4, "current_node"),
        ("cycle.json", 1, None),
        ("multimodal_parts.json", 3, None),
        ("latin1.json", 1, "Windows-1252"),
        ("mixed_roles.json", 2, "holds no text"),
        ("dup_ids.jsonl", 9, None),
    ],
)
def test_every_malformed_file_is_read_as_far_as_it_can_be(name: str, prompts: int, said: str | None) -> None:
    found = extract_prompts(source=DATA / "conversations" / "dev" / "malformed" / name)
    assert found.total == prompts
    assert (found.errors == []) if said is None else (said in found.errors[0].message)


def test_the_picture_is_asked_about() -> None:
    found = extract_prompts(source=DATA / "conversations" / "dev" / "malformed" / "multimodal_parts.json")
    assert "Describe this picture" in [one.text for one in found.prompts]


@pytest.mark.parametrize(
    ("name", "prompts", "references", "choices"),
    [
        ("gsm8k.jsonl", 150, 150, 0),
        ("mmlu.jsonl", 150, 150, 150),
        ("truthfulqa.jsonl", 150, 150, 0),
        ("mt_bench.jsonl", 80, 39, 0),
        ("openai_evals_chat.jsonl", 169, 169, 0),
        ("vicuna_bench_noref.jsonl", 40, 0, 0),
    ],
)
def test_every_question_set_keeps_its_answers(name: str, prompts: int, references: int, choices: int) -> None:
    found = extract_prompts(source=DATA / "evals" / "dev" / name)
    assert found.total == prompts
    assert sum(one.reference is not None for one in found.prompts) == references
    assert sum(one.choices is not None for one in found.prompts) == choices
    assert not found.errors


def test_a_table_of_dialogues_asks_for_its_column() -> None:
    path = DATA / "conversations" / "dev" / "plain_dialogue_mtsdialog.csv"
    assert "'dialogue'" in extract_prompts(source=path).errors[0].message
    given = list(read_prompts(path, column="dialogue"))
    assert [type(one) for one in given] == [ExtractedPrompt] * 50
