"""What was typed becomes a pipeline's input, or one clear sentence."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stagebook.cli.given_input import read_input
from stagebook.cli.text_file import MOST_BYTES
from stagebook.model.errors import InputError
from stagebook_pipelines.prompt_batch import Batch


class Voice(BaseModel):
    tone: str = "warm"
    words: list[str] = []


class Talk(BaseModel):
    transcript: str = Field(min_length=3)
    voice: Voice = Voice()
    guest: str | None = None
    keywords: list[str] = []
    window: int = 6000
    options: dict[str, int] = {}
    speakers: list[Voice] = []


class Pair(BaseModel):
    left: str
    right: str


def given(*files: Path, model: type[BaseModel] = Talk, settings: tuple[str, ...] = ()) -> BaseModel:
    return read_input(model, "talks", files, settings)


def refusal(*files: Path, model: type[BaseModel] = Talk, settings: tuple[str, ...] = ()) -> str:
    with pytest.raises(InputError) as caught:
        given(*files, model=model, settings=settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.srt"
    path.write_bytes("\ufeffGuten Tag.\r\nÄpfel — “sagte” er.\n".encode())
    return path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_text_file_fills_the_one_required_string_exactly_as_it_is(talk: Path) -> None:
    assert given(talk) == Talk(transcript="Guten Tag.\r\nÄpfel — “sagte” er.\n")


def test_a_json_file_is_the_input(tmp_path: Path) -> None:
    path = write(tmp_path, "talk.JSON", '{"transcript": "hello there", "voice": {"tone": "dry"}}')
    assert given(path) == Talk(transcript="hello there", voice=Voice(tone="dry"))


def test_settings_go_into_fields_and_parts_of_fields(talk: Path) -> None:
    settings = ("voice.tone=dry", "keywords=[1,2]", "window=12", "options.deep=3", 'voice.words=["so"]')
    with pytest.raises(InputError, match=r"keywords\.0: input should be a valid string"):
        given(talk, settings=settings)
    value = given(talk, settings=(*settings[:1], 'keywords=["a"]', *settings[2:]))
    assert value.model_dump(exclude={"transcript"}) == {
        "voice": {"tone": "dry", "words": ["so"]},
        "guest": None,
        "keywords": ["a"],
        "window": 12,
        "options": {"deep": 3},
        "speakers": [],
    }


def test_a_setting_of_a_text_field_is_never_read_as_json(talk: Path) -> None:
    assert given(talk, settings=("guest=12",)) == Talk(transcript=given(talk).transcript, guest="12")


def test_a_setting_is_stronger_than_the_json_file(tmp_path: Path) -> None:
    path = write(tmp_path, "talk.json", '{"transcript": "hello there", "voice": {"tone": "dry"}}')
    assert given(path, settings=("voice.tone=soft", "transcript=bye")) == Talk(
        transcript="bye", voice=Voice(tone="soft")
    )


def test_a_setting_can_name_a_file(tmp_path: Path, talk: Path) -> None:
    voice = write(tmp_path, "voice.json", '{"tone": "dry"}')
    guest = write(tmp_path, "guest.txt", "Ada\n")
    expected = Talk(transcript=given(talk).transcript, voice=Voice(tone="dry"), guest="Ada\n")
    assert given(talk, settings=(f"voice={voice}", f"guest=@{guest}")) == expected
    assert given(settings=(f"transcript=@{talk}", f"voice=@{voice}", f"guest=@{guest}")) == expected


def test_a_text_that_begins_with_an_at_sign_is_written_with_two(talk: Path) -> None:
    assert given(talk, settings=("guest=@@ada",)).model_dump()["guest"] == "@ada"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "missing.txt")
    assert "voice=nowhere.json: there is no file 'nowhere.json'" in refusal(settings=("voice=nowhere.json",))
    assert "no file 'nowhere.txt'" in refusal(settings=("guest=@nowhere.txt",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"caf\xe9", "is not UTF-8 text (byte 3 is 0xe9)"),
        (b"x" * (MOST_BYTES + 1), "is larger than 20 MB"),
    ],
)
def test_a_text_file_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "talk.txt"
    path.write_bytes(content)
    assert sentence in refusal(path)


def test_a_folder_is_no_input(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ('{"transcript": \n "x",}', "is not JSON: trailing comma is not allowed at line 2, column 5"),
        ('["x"]', "is a list; the input of talks is an object"),
        ("{}", "transcript is missing (give a text file, or --set transcript=@FILE)"),
        ('{"transcript": 5}', "transcript: input should be a valid string"),
        ('{"transcript": "x"}', "transcript: string should have at least 3 characters"),
        ('{"trancript": "hello"}', "has no field 'trancript'; did you mean transcript?"),
        ('{"transcript": "hello", "voice": {"tune": "x"}}', "has no field 'voice.tune'; did you mean tone?"),
        ('{"transcript": "hello", "speakers": [{"tune": "x"}]}', "has no field 'speakers.tune'"),
        ('{"transcript": "hello", "qqq": 1}', "there are: transcript, voice, guest"),
    ],
)
def test_a_json_input_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, document: str, sentence: str) -> None:
    assert sentence in refusal(write(tmp_path, "talk.json", document))


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("guest", "--set guest is not of the form FIELD=VALUE"),
        ("gest=Ada", "has no field 'gest'; did you mean guest?"),
        ("voice.tune=x", "has no field 'voice.tune'; did you mean tone?"),
        ("guest.name=x", "the field guest of the input of talks has no parts"),
        ("window=many", "window: input should be a valid integer"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_in_one_sentence(talk: Path, setting: str, sentence: str) -> None:
    assert sentence in refusal(talk, settings=(setting,))


def test_a_text_that_could_go_into_two_fields_is_not_guessed(talk: Path) -> None:
    assert "which field of the input of talks" in refusal(talk, model=Pair)
    assert given(talk, model=Pair, settings=("left=here",)).model_dump()["right"].startswith("Guten Tag.")


def test_a_field_given_twice_is_refused(talk: Path) -> None:
    assert "the field transcript of the input of talks is given twice" in refusal(talk, talk)


def test_two_json_inputs_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "talk.json", '{"transcript": "hello"}')
    assert "two JSON inputs were given" in refusal(path, path)


def test_many_problems_are_cut_to_three(talk: Path) -> None:
    settings = ("voice=1", "keywords={}", "options=1", "speakers=1")
    assert refusal(talk, settings=settings).endswith("and 1 more")


def test_no_value_is_repeated_in_an_error(talk: Path) -> None:
    assert "s3cret" not in refusal(talk, settings=('keywords="s3cret"',))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: str


class Reshaped(BaseModel):
    text: str

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, value: dict[str, str]) -> dict[str, str]:
        return {"text": value["words"]}


class Aliased(BaseModel):
    body: Annotated[str, Field(alias="bodyText")]


def test_models_that_take_other_names_are_left_to_them(tmp_path: Path, talk: Path) -> None:
    assert given(write(tmp_path, "a.json", '{"text": "x", "more": 1}'), model=Open).model_dump() == {
        "text": "x",
        "more": 1,
    }
    assert given(write(tmp_path, "b.json", '{"words": "x"}'), model=Reshaped) == Reshaped.model_validate({"words": "x"})
    assert given(talk, model=Aliased).model_dump()["body"].startswith("Guten")
    assert given(model=Aliased, settings=("body=x",)) == Aliased(bodyText="x")


class Choices(BaseModel):
    metrics: list[str] | None = None
    tags: list[str] = []
    form: Literal["jsonl", "txt"] | None = None
    scale: tuple[int, int] = (1, 5)
    weights: list[float] = []


@pytest.mark.parametrize(
    ("setting", "field", "expected"),
    [
        ("metrics=exact_match", "metrics", ["exact_match"]),
        ("metrics=a, b", "metrics", ["a", "b"]),
        ("metrics=null", "metrics", None),
        ('tags=["a,b"]', "tags", ["a,b"]),
        ("tags=2026", "tags", ["2026"]),
        ("tags=true,x", "tags", ["true", "x"]),
        ("form=jsonl", "form", "jsonl"),
        ("scale=0,1", "scale", (0, 1)),
        ("weights=0.5,2", "weights", [0.5, 2.0]),
    ],
)
def test_words_and_lists_can_be_typed_as_they_are(setting: str, field: str, expected: object) -> None:
    assert getattr(given(model=Choices, settings=(setting,)), field) == expected


def test_a_word_or_a_list_that_is_none_is_told_in_one_sentence() -> None:
    assert "form: input should be 'jsonl' or 'txt'" in refusal(model=Choices, settings=("form=csv",))
    assert "scale.0: input should be a valid integer" in refusal(model=Choices, settings=("scale=a,b",))
    assert "not JSON" in refusal(model=Choices, settings=('tags=["a"',))


def test_a_word_of_a_list_is_no_file_even_where_one_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "first", "no JSON")
    assert getattr(given(model=Choices, settings=("tags=first",)), "tags") == ["first"]  # noqa: B009  of a model


def test_what_prompt_batch_documents_can_be_typed() -> None:
    typed = (
        "prompts=a,b",
        "metrics=exact_match,numeric",
        "tags=a,b",
        "export=jsonl",
        "failed=empty",
        "judge_scale=0,1",
    )
    batch = given(model=Batch, settings=typed)
    assert isinstance(batch, Batch)
    assert (batch.metrics, batch.tags, batch.export) == (["exact_match", "numeric"], ["a", "b"], "jsonl")
    assert (batch.failed, batch.judge_scale, batch.prompts) == ("empty", (0, 1), ["a", "b"])
