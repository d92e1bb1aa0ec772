"""Known values of every metric that computes, by hand or by the library that defines it."""

from typing import Any

import pytest

from stagebook_pipelines.prompt_batch.evaluation.bleu import CorpusBleu, bleu, bleu_counted
from stagebook_pipelines.prompt_batch.evaluation.choice import choice, chosen
from stagebook_pipelines.prompt_batch.evaluation.json_validity import json_schema
from stagebook_pipelines.prompt_batch.evaluation.matching import exact_match, normalised_match, token_f1
from stagebook_pipelines.prompt_batch.evaluation.metric import Sample
from stagebook_pipelines.prompt_batch.evaluation.numbers import final_number, is_number, numeric
from stagebook_pipelines.prompt_batch.evaluation.overlap import rouge_l
from stagebook_pipelines.prompt_batch.evaluation.plain_text import normalise

QUESTION = "Which animal barks?\nA. The cat\nB. The dog\nC. Both\nD. None of them"


def cases(table: dict[str, Any]) -> Any:
    """One case for each line, numbered: the texts themselves hold what a test id may not."""
    return pytest.mark.parametrize(
        ("said", "expected"), list(table.items()), ids=[f"case{number}" for number in range(len(table))]
    )


def test_an_exact_match_forgives_white_space_around_and_nothing_else() -> None:
    assert exact_match(" Paris\n", ["Rome", "Paris"]) == 1.0
    assert exact_match("paris", ["Paris"]) == 0.0
    assert exact_match("Paris.", ["Paris"]) == 0.0


def test_no_metric_scores_without_a_reference() -> None:
    for metric in (exact_match, normalised_match, token_f1, rouge_l, bleu, numeric, choice):
        assert metric("an answer", []) is None


@cases(
    {
        "The  Quick, brown fox!": "quick brown fox",
        "an apple a day": "apple day",
        "U.S.A.": "usa",
        "theatre": "theatre",
        "$5 + 5": "5 5",
        "\u00abBonjour\u00bb\u2026": "bonjour",
        "Stra\u00dfe": "strasse",
        "zero\u200bwidth \u202eright\u202c": "zerowidth right",
        "\uff21\uff22\uff11": "ab1",
    }
)
def test_texts_are_normalised_as_squad_does(said: str, expected: str) -> None:
    assert normalise(said) == expected


def test_token_f1_is_that_of_squad() -> None:
    # three words shared of four said and of five right: 2 * 3 / 9
    assert token_f1("cat sat on mat", ["the big cat sat on sofa"]) == pytest.approx(6 / 9)
    assert token_f1("a b b", ["b b b c"]) == pytest.approx(2 * 2 / 6)  # the article goes, shared words count as often
    assert token_f1("the", ["an"]) == 1.0  # nothing is left of either
    assert token_f1("the", ["cat"]) == 0.0


def test_the_best_of_several_references_counts() -> None:
    references = ["wrong", "the cat sat"]
    assert normalised_match("Cat sat.", references) == 1.0
    assert token_f1("cat sat", references) == 1.0
    assert rouge_l("the cat sat", references) == 1.0
    assert bleu("the cat sat", references) == pytest.approx(1.0)
    assert numeric("7", ["8", "7"]) == 1.0


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("the cat sat on the mat", "the cat is on the mat", 0.8333333333333334),
        ("The quick brown fox jumps over the lazy dog.", "A fast brown fox leaps over a lazy dog!", 0.5555555555555556),
        ("police killed the gunman", "the gunman police killed", 0.5),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("It's 3.5 km, isn't it?", "it is 3.5 km", 0.6153846153846154),
        ("snake_case words", "snake case words", 1.0),
        ("140", "140", 1.0),
        ("", "x", 0.0),
    ],
    ids=range(8),
)
def test_rouge_l_has_the_values_of_the_package_rouge_score(said: str, right: str, expected: float) -> None:
    assert rouge_l(said, [right]) == pytest.approx(expected)  # computed by rouge-score 0.1.2, rougeL, without stemming


def test_rouge_l_reads_other_scripts_than_latin() -> None:
    assert rouge_l("\u043a\u043e\u0442 \u0441\u043f\u0438\u0442", ["\u043a\u043e\u0442 \u0435\u0441\u0442"]) == 0.5


def test_bleu_of_one_answer_is_that_of_sacrebleu() -> None:
    from sacrebleu import sentence_bleu

    said, right = "the cat sat on the mat", ["the cat is on the mat", "a cat sat there on the mat"]
    assert bleu(said, right) == pytest.approx(sentence_bleu(said, right).score / 100)
    assert bleu("", right) == 0.0


def test_bleu_of_all_answers_is_that_of_sacrebleu_and_not_the_mean() -> None:
    from sacrebleu import corpus_bleu

    said = ["the cat sat on the mat", "it rains all day long in the north", "we went home late last night"]
    right = ["the cat is on the mat", "it rained all day long in the north", "we all went home late that night"]
    corpus = CorpusBleu()
    means = []
    for answer, reference in zip(said, right, strict=True):
        scored = bleu_counted(answer, [reference])
        assert scored.counts is not None
        assert scored.value is not None
        corpus.add(scored.counts)
        means.append(scored.value)
    value, interval = corpus.value(), corpus.interval()
    assert value == pytest.approx(corpus_bleu(said, [right]).score / 100)
    assert value != pytest.approx(sum(means) / 3)
    assert interval is not None
    assert interval.low < value < interval.high


def test_bleu_of_no_answers_is_nothing() -> None:
    assert CorpusBleu().value() is None
    assert CorpusBleu().interval() is None


@cases(
    {
        "Half of 84 is 42.\n#### 42": "42",
        "#### 1,080 (checked with 17)": "1080",
        "The answer is 42. I was born in 1999.": "42",
        "The answer is 6 * 7 = 42.": "42",
        "**Answer:** $18 a day, so 126 a week": "18",
        "Answer:\n\n42": "42",
        "so \\boxed{\\frac{3}{4}} of 8 people": "3/4",
        "first 5, then 7": "7",
        "she pays 1,234.50 dollars": "2469/2",
        "10-4 = 6": "6",
        "it fell by $-5": "-5",
        "a debt of -$5": "-5",
        "\u22127 degrees": "-7",
        "1,2,3": "3",
        "Rs 1,00,000": "100000",
        "2 1/2": "5/2",
        ".5": "1/2",
        "so \\boxed{1\\,234}": "1234",
        "so \\boxed{12{,}345{,}678}": "12345678",
        "The answer is 1 234.": "1234",
        "The answer is 1\u202f234\u202f567 m": "1234567",
        "#### 1 234": "1234",
        "1 234": "1234",
        "The answer is 2 100/200": "5/2",
        "The answer is 3 100-dollar bills": "3",
        "The answer is 2020 150": "2020",
        "In 12 345 cases": "345",
        "1.5e3": "1500",
        "\u0664\u0662": "42",
        "4\u200b2": "42",
        "about 50%": "50",
        "no number at all": None,
        "1/0": None,
        "9" * 101: None,
        "1e999999999": None,
        "": None,
    }
)
def test_the_final_number_is_found(said: str, expected: str | None) -> None:
    found = final_number(said)
    assert (None if found is None else str(found.value)) == expected


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("It costs $1,000.00", "1000", 1.0),
        ("0.5", "1/2", 1.0),
        ("0.33", "1/3", 1.0),
        ("0.3", "1/3", 0.0),
        ("0.67", "2/3", 1.0),
        ("0.66", "2/3", 0.0),
        ("50%", "50", 1.0),
        ("50%", "0.5", 1.0),
        ("50 percent", "50%", 1.0),
        ("0.5", "50%", 1.0),
        ("5", "-5", 0.0),
        ("none", "5", 0.0),
        ("5", "none", None),
        ("100000000000000000001", "100000000000000000000", 0.0),
    ],
    ids=range(14),
)
def test_numbers_are_compared_by_value(said: str, right: str, expected: float | None) -> None:
    assert numeric(said, [right]) == expected


def test_a_reference_is_told_to_be_a_number() -> None:
    assert all(map(is_number, ["42", "-3.5", "$1,000", "3/4", "50%", "Half is 3.\n#### 3"]))
    assert not any(map(is_number, ["", "-", "forty", "2 cats", "B. 42 cats"]))


@cases(
    {
        "B": 1,
        "(B)": 1,
        "b": 1,
        "**B**": 1,
        "B) The dog": 1,
        "B. It barks.": 1,
        "B\n\nbecause it barks": 1,
        "The answer is B": 1,
        "The answer is (b).": 1,
        "The answer is **B. The dog**, not A.": 1,
        "Answer: the dog": 1,
        "The correct option is B because A is a cat": 1,
        "$\\boxed{B}$": 1,
        "the dog": 1,
        "I think it is B.": 1,
        "Cats do not bark.\nB": 1,
        "A cat does not bark, so the answer is B": 1,
        "First I thought the answer is A. No, the answer is B.": 1,
        "B\u200b": 1,
        "A": 0,
        "Both A and B": 0,
        "A dog I saw": 0,
        "The answer is a dog": 1,  # it is the text of B
        "The answer is a wolf": 0,
        "I do not know": 0,
        "": 0,
    }
)
def test_the_chosen_letter_is_found(said: str, expected: int) -> None:
    assert choice(said, ["B"], QUESTION) == expected


@pytest.mark.parametrize("letter", list("ABDHI"))
@pytest.mark.parametrize(
    "said",
    [
        "{}\n\nThat is because of the text.",
        "**{}**\n\nExplanation: C is wrong.",
        "({}).\nThe answer is not that of C.",
        "{} is the correct answer.",
        "{} is correct, not C.",
        "{} is clearly the best choice",
        "The text says so.\n{} is right.",
        "The answer is ({}) because it barks",
    ],
    ids=range(8),
)
def test_every_letter_is_seen_alike(letter: str, said: str) -> None:
    assert chosen(said.format(letter)) == letter


@cases(
    {
        "A dog is the correct answer.": None,
        "Answer: A dog, I think": None,
        "A because x": "A",
        "Answer: A because x": "A",
        "A - it barks": "A",
        "A is not the correct answer": None,
        "A is less likely than B": "B",
        "A, B and C are all right": None,
        "A, as said": "A",
        "correct answer: I think B": "B",
        "The answer is I think so": None,
        "I, because I say so": None,
        "I would be right to say C": "C",
        "The answer is I.": "I",
        "I is the correct answer.": "I",
        "I\n\nBecause of the ninth.": "I",
    }
)
def test_neither_the_article_nor_the_pronoun_is_a_letter(said: str, expected: str | None) -> None:
    assert chosen(said) == expected


def test_an_option_may_be_referred_to_by_letter_and_text_or_by_its_text() -> None:
    assert choice("the dog", ["B. The dog"]) == 1.0
    assert choice("B", ["The dog"], QUESTION) == 1.0
    assert choice("C", ["The dog"], QUESTION) == 0.0
    assert choice("B", ["The wolf"], QUESTION) is None


@pytest.mark.parametrize(
    ("said", "valid", "why"),
    [
        ('{"age": 3}', 1.0, None),
        ('```json\n{"age": 3}\n```', 1.0, None),
        ('Here it is:\n```\n{"age": 3}\n```\nGood luck!', 1.0, None),
        ('{"age": 3, "code": "```json\\n{}\\n```"}', 1.0, None),
        ('{"age": "three"}', 0.0, 'age: "three" is not of type "integer"'),
        ("{}", 0.0, 'the whole: "age" is a required property'),
        ('{"age": 3', 0.0, "no JSON"),
        ('{"age": NaN}', 0.0, "no JSON"),
        ("", 0.0, "no JSON"),
    ],
    ids=range(9),
)
def test_json_is_held_against_the_schema(said: str, valid: float, why: str | None) -> None:
    schema = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
    scored = json_schema(schema)(Sample("", said))
    assert scored.value == valid
    assert (why or "") in (scored.reason or "")


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/elsewhere"}, {"pattern": "("}])
def test_a_schema_that_is_none_is_told_before_anything_is_scored(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the JSON schema of the metric json_schema"):
        json_schema(schema)
