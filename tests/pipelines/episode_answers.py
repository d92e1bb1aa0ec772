"""A scripted author: answers every prompt of episode-content with valid content, made from nothing but the request.

Its own words are sentences of a text that it is given, so that they are as varied as what people say; it never repeats
the transcript except where a quote is asked for. The same request gets the same answer, in whatever order they come.
"""

import re
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from stagebook.testing.provider_request import ChatRequest
from stagebook.testing.provider_script import Content, Rule, Script

DRAFT = "Write the whole post in markdown"
"""Stands in the prompt of stage 6, which has no schema."""
REFINEMENT = "Refine the post."
"""Stands in the prompt of stage 7, which has none either."""
SUMMARY = "Write what is said in it"
"""Stands in the prompts of stage 0's helper."""

_PLACES = 24  # parts of the prose, one for each kind of answer and for each window
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_PLAIN = re.compile(r"[A-Z][^\"\u201c\u201d*\\\[\]<>():#|_&]+[.!?]")
_LABEL = re.compile(r"^(?:\*\*[^*\n]+\*\*|[A-Z][\w. ]{1,40}:)[ \t]*", re.MULTILINE)
_NUMBERED = re.compile(r"^\[(\d+)\] (.+)$", re.MULTILINE)
_BEGINS = re.compile(r"[^:\[\]]{1,80}: ")
_QUOTED = re.compile(r'^- "(.+)" \(([^:()]+?)(?:[:,] .*)?\)$', re.MULTILINE)
_PLANNED = re.compile(r"^Section \d+: (.+?)(?:, \d+ words\..*| \(\d+ words\))$", re.MULTILINE)
_USAGES = ("headline", "pullquote", "social", "key_point")


class Pen:
    """Writes down sentences of the prose one after the other."""

    def __init__(self, sentences: tuple[str, ...], place: float) -> None:
        self._sentences = sentences
        self._next = count(int(place * len(sentences) / _PLACES))

    def sentence(self) -> str:
        return self._sentences[next(self._next) % len(self._sentences)]

    def line(self, words: int = 9) -> str:
        """A title or a topic: the beginning of a sentence, without a stop."""
        return " ".join(self.sentence().rstrip(".!?").split()[:words]).rstrip(",'-")

    def passage(self, words: int) -> str:
        """Whole sentences of so many words or a few more."""
        said: list[str] = []
        while sum(len(one.split()) for one in said) < words:
            said.append(self.sentence())
        return " ".join(said)


class Author:
    """Answers the prompts of episode-content; `prose` is where its own words come from."""

    def __init__(self, prose: str) -> None:
        unlabelled = " ".join(_LABEL.sub("", prose).split())
        found = (one for one in _SENTENCE.split(unlabelled) if _PLAIN.fullmatch(one))
        self._sentences = tuple(dict.fromkeys(one for one in found if 5 <= len(one.split()) <= 30))
        if len(self._sentences) < 50:
            raise ValueError(f"the prose has {len(self._sentences)} plain sentences; 50 or more are needed")

    def script(self, *first: Rule) -> Script:
        """Everything that is asked is answered; rules given here come before."""
        answers: dict[str, Content] = {
            "TranscriptPreprocessing": self.preprocess,
            "TranscriptAnalysis": self.analyse,
            "WindowQuotes": self.choose,
            "BlogOutline": self.outline,
            "ParagraphOutlines": self.paragraphs,
            "Headlines": self.headlines,
            "SocialContent": self.social,
            "EmailCampaign": self.email,
        }
        texts: dict[str, Content] = {SUMMARY: self.summarise, DRAFT: self.draft, REFINEMENT: self.refine}
        return Script(
            rules=(
                *first,
                *(Rule(schema_name=name, answer=answer) for name, answer in answers.items()),
                *(Rule(contains=part, answer=answer) for part, answer in texts.items()),
            ),
        )

    def summarise(self, request: ChatRequest) -> str:
        part = int(_found(r"This is part (\d+) of", request))
        return self._pen(10 + part % 14).passage(280)

    def preprocess(self, request: ChatRequest) -> dict[str, Any]:
        pen = self._pen(0)
        return {
            "comprehensive_summary": pen.passage(520),
            "key_topics": [pen.line(5) for _ in range(7)],
            "speakers": {
                "host": {"name": None, "role": "host of the show"},
                "guest": {"name": None, "credentials": None, "expertise": pen.line(6)},
            },
            "episode_metadata": {
                "inferred_title": pen.line(),
                "estimated_duration": _duration(request),
            },
        }

    def analyse(self, request: ChatRequest) -> dict[str, Any]:
        pen = self._pen(1)
        return {
            "episode_basics": {
                "title": pen.line(),
                "date": None,
                "duration_estimate": _duration(request),
                "main_topics": [pen.line(4) for _ in range(4)],
            },
            "guest_info": {"name": "The guest", "credentials": None, "expertise": pen.line(6), "website": None},
            "episode_crux": pen.passage(40),
        }

    def choose(self, request: ChatRequest) -> dict[str, Any]:
        """As many as are wanted, spread over the window; every third of two sentences that one person says."""
        lines = [(int(number), said) for number, said in _NUMBERED.findall(request.text)]
        going_on = {number for number, said in lines if not _BEGINS.match(said)}
        named = "A name stands where a speaker begins" in request.text
        statements = [
            number
            for number, said in lines
            if 9 <= len(_BEGINS.sub("", said, count=1).split()) <= 40 and not said.endswith("?")
        ]
        wanted = min(int(_found(r"Choose the (\d+) best quotes", request)), len(statements))
        pen = self._pen(2 + lines[0][0] / 5000)
        quotes = []
        for place in range(wanted):
            number = statements[place * len(statements) // wanted]
            pair = named and place % 3 == 2 and number + 1 in going_on
            quotes.append(
                {
                    "sentences": [number, number + 1] if pair else [number],
                    "usage": _USAGES[place % len(_USAGES)],
                    "context": pen.line(7),
                    "speaker": None if named else "Guest",
                }
            )
        return {"quotes": quotes}

    def outline(self, _request: ChatRequest) -> dict[str, Any]:
        pen = self._pen(3)
        sections = [
            {
                "section_title": pen.line(6),
                "purpose": pen.passage(18),
                "key_points": [pen.passage(12) for _ in range(3)],
                "word_count_target": 230,
            }
            for _ in range(4)
        ]
        hook, cta = pen.passage(25), pen.passage(15)
        return {"post_structure": {"hook": hook, "hook_type": "scene", "sections": sections, "cta": cta}}

    def paragraphs(self, request: ChatRequest) -> dict[str, Any]:
        pen, quotes = self._pen(4), iter(_quotes(request))
        return {
            "section_details": [
                {
                    "section_number": number,
                    "section_title": title,
                    "paragraphs": [
                        {
                            "para_number": one,
                            "main_point": pen.passage(14),
                            "supporting_elements": [
                                pen.passage(12),
                                *(text.split(",")[0] for text, _ in islice(quotes, 1)),
                            ],
                            "transition_note": pen.passage(9),
                        }
                        for one in range(1, 4)
                    ],
                }
                for number, title in enumerate(_PLANNED.findall(request.text), 1)
            ]
        }

    def headlines(self, _request: ChatRequest) -> dict[str, Any]:
        pen = self._pen(5)
        wanted = {"headlines": 12, "subheadings": 9, "taglines": 6, "social_hooks": 6}
        return {name: [pen.line() for _ in range(number)] for name, number in wanted.items()}

    def draft(self, request: ChatRequest) -> str:
        """A post of some 800 words: the planned sections, and four of the quotes, two of them as blocks."""
        pen, quotes = self._pen(6), _quotes(request)
        title = _found(r"Titles to choose from:\n- (.+)", request)
        parts = [f"# {title}", pen.passage(70)]
        for place, heading in enumerate(_PLANNED.findall(request.text)):
            text, speaker = quotes[place % len(quotes)]
            quoted = f"> {text}\n> \u2014 {speaker}" if place % 2 == 0 else f"{speaker} says \u201c{text}\u201d"
            parts += [f"## {heading}", pen.passage(80), quoted, pen.passage(80)]
        return "\n\n".join([*parts, pen.passage(30)])

    def refine(self, request: ChatRequest) -> str:
        """The draft with every third paragraph of prose written anew; titles and quotations stay."""
        pen = self._pen(7)
        blocks = _found(r"<post>\n([\s\S]+?)\n</post>", request).split("\n\n")
        prose = [place for place, block in enumerate(blocks) if block[0] not in "#>" and "\u201c" not in block]
        for place in prose[::3]:
            blocks[place] = pen.passage(len(blocks[place].split()))
        return "\n\n".join(blocks)

    def social(self, request: ChatRequest) -> dict[str, Any]:
        pen, quotes = self._pen(8), _quotes(request)
        short = [f"\u201c{text}\u201d" for text, _ in quotes if len(text) < 200]
        return {
            "instagram": [f"{pen.passage(90)}\n\n#listen #podcast #story" for _ in range(2)],
            "twitter": [*short[:1], *(pen.sentence() for _ in range(3))],
            "linkedin": [pen.passage(120)],
            "facebook": [pen.passage(70) + " What would you do?"],
        }

    def email(self, _request: ChatRequest) -> dict[str, Any]:
        pen = self._pen(9)
        return {
            "subject_lines": [pen.line(7) for _ in range(6)],
            "preview_text": [pen.line(12) for _ in range(3)],
            "email_body": f"Dear reader,\n\n{pen.passage(180)}\n\nUntil the next one",
            "followup_email": pen.passage(80),
        }

    def _pen(self, place: float) -> Pen:
        return Pen(self._sentences, place)


def _found(pattern: str, request: ChatRequest) -> str:
    found = re.search(pattern, request.text)
    if found is None:
        raise LookupError(f"no {pattern!r} in the request: the prompt of this stage has changed")
    return found[1]


def _duration(request: ChatRequest) -> str:
    return _found(r"which is about (\d+ minutes)", request)


def _quotes(request: ChatRequest) -> list[tuple[str, str]]:
    """The quotes that the prompt shows, with their speakers."""
    found = list(_shown(request))
    if not found:
        raise LookupError("no quotes in the request: the prompt of this stage has changed")
    return found


def _shown(request: ChatRequest) -> Iterator[tuple[str, str]]:
    for text, speaker in _QUOTED.findall(request.text):
        yield text, speaker.split(",")[0]
