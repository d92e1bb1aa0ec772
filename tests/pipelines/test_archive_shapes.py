"""Every shape is recognised by what a file holds, never by its name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stagebook_pipelines.prompt_batch import ExtractedPrompt, FileError, read_prompts

Reading = tuple[list[ExtractedPrompt], list[FileError]]


def read(path: Path, **options: Any) -> Reading:
    given = list(read_prompts(path, **options))
    return (
        [one for one in given if isinstance(one, ExtractedPrompt)],
        [one for one in given if isinstance(one, FileError)],
    )


@pytest.fixture
def reading(tmp_path: Path) -> Callable[..., Reading]:
    """Reads a value that was written as JSON, or as JSON Lines."""

    def of(value: Any, *, lines: bool = False, **options: Any) -> Reading:
        path = tmp_path / "unnamed"
        path.write_text("".join(json.dumps(one) + "\n" for one in value) if lines else json.dumps(value))
        return read(path, **options)

    return of


def node(name: str, parent: str | None, role: str, words: Any, **facts: Any) -> dict[str, Any]:
    content = words if isinstance(words, dict) else {"content_type": "text", "parts": [words]}
    message = {"author": {"role": role}, "content": content, "metadata": facts, "create_time": facts.get("made")}
    return {"id": name, "parent": parent, "message": message}


def chat(*nodes: dict[str, Any], current: str | None = None) -> dict[str, Any]:
    mapping = {one["id"]: one for one in nodes}
    mapping["root"] = {"id": "root", "parent": None, "message": None}
    return {"title": "Soup", "mapping": mapping, "current_node": current or nodes[-1]["id"]}


def test_a_chatgpt_export_gives_what_was_typed_on_the_path_to_the_current_node(reading: Callable[..., Reading]) -> None:
    conversation = chat(
        node("hidden", "root", "user", "standing words", is_visually_hidden_from_conversation=True),
        node("profile", "hidden", "user", {"content_type": "user_editable_context", "user_profile": "a cook"}),
        node("one", "profile", "user", "How is soup made?"),
        node("first-answer", "one", "assistant", "Boil."),
        node("lost", "first-answer", "user", "on a branch that was left"),
        node("second-answer", "one", "assistant", "Simmer."),
        node("two", "second-answer", "user", "And stock?"),
    )
    prompts, errors = reading([{**conversation, "conversation_id": "c-1"}, conversation])
    assert [one.text for one in prompts] == ["How is soup made?", "And stock?"] * 2
    assert [one.conversation for one in prompts] == ["c-1", "c-1", "Soup", "Soup"]
    assert [one.index for one in prompts] == [0, 1, 2, 3]
    assert not errors


def test_a_dangling_current_node_is_told_and_the_path_to_the_newest_message_read(
    reading: Callable[..., Reading],
) -> None:
    old, new = node("old", "root", "user", "old", made=1.0), node("new", "root", "user", "new", made=2.0)
    prompts, errors = reading([chat(new, old, current="nowhere")])
    assert [one.text for one in prompts] == ["new"]
    assert "current_node" in errors[0].message
    assert not errors[0].lost


def test_messages_that_follow_each_other_in_a_circle_are_read_once(reading: Callable[..., Reading]) -> None:
    prompts, errors = reading([chat(node("a", "b", "user", "first"), node("b", "a", "user", "second"))])
    assert [one.text for one in prompts] == ["first", "second"]
    assert "circle" in errors[0].message


def test_of_a_message_with_pictures_the_words_are_given(reading: Callable[..., Reading]) -> None:
    parts = {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}, "What is this?"]}
    spoken = {
        "content_type": "multimodal_text",
        "parts": [{"content_type": "audio_transcription", "text": "And that?"}],
    }
    wordless = {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}]}
    shown = chat(
        node("a", "root", "user", parts), node("b", "a", "user", spoken), node("c", "b", "user", wordless), current="c"
    )
    prompts, errors = reading([shown])
    assert [one.text for one in prompts] == ["What is this?", "And that?"]
    assert "holds no text" in errors[0].message


def test_a_claude_export_gives_what_the_human_sent(reading: Callable[..., Reading]) -> None:
    blocks = [{"type": "text", "text": "Hello"}, {"type": "image"}, {"type": "text", "text": "there"}]
    messages = [
        {"sender": "human", "text": "", "content": blocks, "attachments": [{"extracted_content": "a file"}]},
        {"sender": "assistant", "text": "Hello"},
        {"sender": "human", "text": "Only in text", "content": []},
    ]
    prompts, errors = reading([{"uuid": "u", "name": "Greeting", "chat_messages": messages}])
    assert [one.text for one in prompts] == ["Hello\nthere", "Only in text"]
    assert {one.conversation for one in prompts} == {"u"}
    assert not errors


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"conversation": [{"role": "user", "content": "Why?"}]},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "User", "content": "Why?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "value": "Why?"}]}]},
        {"custom_id": "1", "method": "POST", "body": {"messages": [{"role": "user", "content": "Why?"}]}},
        {"request": {"messages": [{"role": "user", "content": "Why?"}]}, "response": {"choices": []}},
        {"body": {"input": "Why?", "model": "gpt-4.1"}},
        {"request": {"body": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]}}},
        {"params": {"messages": [{"role": "user", "content": "Why?"}]}},
        {"prompt": {"role": "prompter", "text": "Why?", "replies": []}},
        {"prompt": [{"role": "user", "content": "Why?"}]},
        {"role": "prompter", "text": "Why?"},
        {"question": "Why?"},
        {"prompt": "Why?", "text": "not this"},
        {"prompt": "", "text": "Why?"},
        {"turns": ["Why?"]},
        {"row_idx": 0, "row": {"instruction": "Why?", "input": "", "output": "So."}},
        [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}],
    ],
    ids=lambda record: next(iter(record)) if isinstance(record, dict) else "list",
)
@pytest.mark.parametrize("lines", [True, False], ids=["lines", "array"])
def test_the_shape_is_told_from_the_record(reading: Callable[..., Reading], record: Any, *, lines: bool) -> None:
    prompts, errors = reading([record, record], lines=lines)
    assert [one.text for one in prompts] == ["Why?", "Why?"]
    assert not errors


def test_an_openassistant_tree_gives_every_prompt_of_a_person(reading: Callable[..., Reading]) -> None:
    further = {"role": "prompter", "text": "And then?", "replies": []}
    gone = {"role": "prompter", "text": "removed", "deleted": True}
    answers = [
        {"role": "assistant", "text": "So.", "replies": [further, gone]},
        {"role": "assistant", "text": "Thus.", "replies": [{"role": "prompter", "text": "Really?"}]},
    ]
    tree = {"message_tree_id": "t", "prompt": {"role": "prompter", "text": "Why?", "replies": answers}}
    prompts, errors = reading([tree], lines=True)
    assert [one.text for one in prompts] == ["Why?", "And then?", "Really?"]
    assert prompts[0].conversation == "t"
    assert not errors


def test_a_list_of_strings_is_a_list_of_prompts(reading: Callable[..., Reading]) -> None:
    prompts, errors = reading(["One?", "Two?", "One?"])
    assert [one.text for one in prompts] == ["One?", "Two?", "One?"]
    assert prompts[2].key == f"{prompts[0].key}.2"
    assert not errors


def test_records_in_a_field_of_one_object_are_read(reading: Callable[..., Reading]) -> None:
    rows = [{"prompt": f"Question {number}?"} for number in range(3)]
    prompts, errors = reading({"version": 1, "data": [*rows, {"colour": "red"}]})
    assert [one.text for one in prompts] == [row["prompt"] for row in rows]
    assert "data[3]" in errors[0].message


@pytest.mark.parametrize("before", [{}, {"meta": {"version": [1]}}], ids=["streamed", "whole"])
def test_a_second_list_of_records_is_read_and_results_beside_another_are_told(
    reading: Callable[..., Reading], before: Any
) -> None:
    record = {
        "data": [{"prompt": "One?"}],
        "note": 'a "note" ]}',
        "number": -1.5e3,
        "nested": {"items": [{"prompt": "not this"}]},
        "items": [{"prompt": "Two?"}, {"prompt": "Three?"}],
        "results": [{"text": "an answer"}],
        "end": None,
    }
    prompts, errors = reading({**before, **record})
    assert [one.text for one in prompts] == ["One?", "Two?", "Three?"]
    assert [one.lost for one in errors] == [True]
    assert "a second list, results" in errors[0].message


def test_right_answers_are_kept_beside_the_question(reading: Callable[..., Reading]) -> None:
    rows = [
        {"prompt": "2 + 2?", "reference": "4"},
        {"prompt": "A colour?", "references": ["red", "blue"]},
        {"question": "3 + 4?", "answer": 7},
        {"prompt": "No answer?", "reference": None},
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"input": [{"role": "system", "content": "Say yes."}, {"role": "user", "content": "Well?"}], "ideal": ["Yes"]},
        {"input": "Well?", "ideal": "Yes"},
        {"turns": ["First?", "Then?"], "reference": ["One", ""]},
    ]
    prompts, errors = reading(rows, lines=True)
    assert [(one.text, one.reference, one.references) for one in prompts] == [
        ("2 + 2?", "4", ["4"]),
        ("A colour?", "red", ["red", "blue"]),
        ("3 + 4?", "7", ["7"]),
        ("No answer?", None, []),
        ("Add.\n\n1 and 2", "3", ["3"]),
        ("Say yes.\n\nWell?", "Yes", ["Yes"]),
        ("Well?", "Yes", ["Yes"]),
        ("First?", "One", ["One"]),
        ("Then?", None, []),
    ]
    assert not errors


def test_an_example_among_the_messages_of_a_question_says_whose_turns_they_are(
    reading: Callable[..., Reading],
) -> None:
    said = [("system", "Count."), ("user", "a b"), ("assistant", "2"), ("user", "a b c")]
    prompts, _ = reading([{"input": [{"role": role, "content": words} for role, words in said], "ideal": "3"}])
    assert [one.text for one in prompts] == ["System: Count.\n\nUser: a b\n\nAssistant: 2\n\nUser: a b c"]


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ({"question": "Which?", "choices": ["this", "that"], "answer": 1}, "B"),
        ({"question": "Which?", "options": ["this", "that"], "answer": "B"}, "B"),
        ({"question": "Which?", "choices": {"text": ["this", "that"], "label": ["A", "B"]}, "answerKey": "B"}, "B"),
        ({"question": "Which?", "A": "this", "B": "that", "answer": "B"}, "B"),
        ({"prompt": "Which?\nA. this\nB. that", "reference": "B. that", "reference_letter": "B"}, "B. that"),
    ],
    ids=["number", "options", "arc", "columns", "in-the-text"],
)
def test_choices_are_kept_and_asked(reading: Callable[..., Reading], row: Any, reference: str) -> None:
    prompts, _ = reading([row])
    assert prompts[0].text == "Which?\nA. this\nB. that"
    assert prompts[0].choices == ["this", "that"]
    assert prompts[0].reference == reference


@pytest.mark.parametrize(
    ("row", "references"),
    [
        ({"choices": ["1", "2", "3", "4"], "answer": 3}, ["D", "4"]),
        ({"choices": ["1", "2", "3", "4"], "answer": "3"}, ["3", "C"]),
        ({"choices": ["one", "two", "three"], "answer": "2"}, ["C", "three"]),
        ({"choices": ["one", "two", "three"], "answer": 2.0}, ["C", "three"]),
        ({"choices": ["one", "two", "three"], "answer": [0]}, ["A", "one"]),
        ({"choices": ["one", "two", "three"], "answer": "two"}, ["two", "B"]),
        ({"choices": ["one", "two", "three"], "answer": "B"}, ["B", "two"]),
        ({"choices": ["one", "two", "three"], "answer": -1}, []),
        ({"choices": ["one", "two", "three"], "answer": "none of them"}, ["none of them"]),
        ({"choices": [10, 20, 30], "answer": 20}, ["B", "20"]),
        ({"choices": [1, 2, 3], "answer": 2}, ["B", "2"]),
        ({"choices": ["D", "C", "B"], "answer": 1}, ["B"]),
        ({"choices": {"text": ["5", "6", "7"], "label": ["1", "2", "3"]}, "answerKey": "3"}, ["C", "7"]),
        ({"choices": [f"choice {number}" for number in range(30)], "answer": 28}, ["28"]),
    ],
    ids=range(14),
)
def test_the_right_choice_is_told_by_its_place_its_letter_its_label_or_its_text(
    reading: Callable[..., Reading], row: Any, references: list[str]
) -> None:
    prompts, _ = reading([{"question": "Which?", **row}])
    assert prompts[0].references == references


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("How many of 1, 2, 3 and 4 are prime?", "How many of 1, 2, 3 and 4 are prime?\nA. 1\nB. 2"),
        ("Is it 1 or 2?\nA. 12\nB. 21", "Is it 1 or 2?\nA. 12\nB. 21\nA. 1\nB. 2"),
        ("Which?\n(A) 1\n(B) 2", "Which?\n(A) 1\n(B) 2"),
        ("Which?\r\nA. 1\r\nB. 2\r\n", "Which?\r\nA. 1\r\nB. 2\r\n"),
    ],
    ids=["words", "other-choices", "brackets", "crlf"],
)
def test_choices_are_left_out_only_where_they_stand_on_lines_with_their_letters(
    reading: Callable[..., Reading], question: str, asked: str
) -> None:
    prompts, _ = reading([{"question": question, "choices": ["1", "2"], "answer": 1}])
    assert (prompts[0].text, prompts[0].references) == (asked, ["B", "2"])


def test_a_column_that_is_not_known_can_be_named(reading: Callable[..., Reading]) -> None:
    row = {"id": 7, "dialogue": "Doctor: Well?", "text": "not this"}
    prompts, errors = reading([row, {"id": 8}], column="dialogue")
    assert [(one.text, one.conversation) for one in prompts] == [("Doctor: Well?", "7")]
    assert "no known shape: an object with 'id'" in errors[0].message


def test_an_unknown_shape_is_named_with_what_was_seen(reading: Callable[..., Reading]) -> None:
    prompts, errors = reading([{"colour": "red", "size": 4}])
    assert not prompts
    assert "'colour', 'size'" in errors[0].message
    assert errors[0].record == 0


def test_of_very_many_errors_the_first_are_told_and_the_others_counted(reading: Callable[..., Reading]) -> None:
    prompts, errors = reading([{"prompt": "Why?"}, *[{"colour": "red"}] * 150], lines=True)
    assert len(prompts) == 1
    assert len(errors) == 101
    assert "50 more errors" in errors[-1].message


def test_a_file_that_says_nothing_known_is_given_up(reading: Callable[..., Reading]) -> None:
    prompts, errors = reading([{"colour": "red"}] * 10_001, lines=True)
    assert not prompts
    assert any("was not read on" in one.message for one in errors)
