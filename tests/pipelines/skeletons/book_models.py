"""What goes into scanned-book and what each of its stages writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from stagebook import Key, Text


class Book(BaseModel):
    """A book that was scanned."""

    title: str
    author: str | None = None
    isbn: str | None = None
    scan_date: str | None = None
    source_files: list[str] = Field(min_length=1)
    """PDF files or images, in order."""
    extraction_dpi: int = Field(default=300, ge=72, le=1200)


class PageImage(BaseModel):
    """One scanned page."""

    page_num: Annotated[int, Key] = Field(ge=1)
    image: str
    """Path of the image."""


class Metadata(BaseModel):
    """What is known of the scan."""

    title: str
    author: str | None = None
    isbn: str | None = None
    scan_date: str | None = None
    source_files: list[str]
    total_pages: int = Field(ge=1)
    extraction_dpi: int


class OcrPage(BaseModel):
    """A page's text."""

    page_num: int = Field(ge=1)
    text: Text
    char_count: int = Field(ge=0)


class VisualSignals(BaseModel):
    """What the page looks like."""

    whitespace_amount: Literal["little", "some", "much"]
    page_density: Literal["sparse", "normal", "dense"]


class TextualSignals(BaseModel):
    """What its text shows."""

    starts_mid_sentence: bool
    appears_to_continue: bool
    has_boundary_marker: bool
    boundary_marker_text: str | None = None


class Label(BaseModel):
    """Whether a chapter or part begins on a page."""

    visual_signals: VisualSignals
    textual_signals: TextualSignals
    reasoning: str
    is_boundary: bool
    boundary_confidence: float = Field(ge=0, le=1)
    boundary_position: Literal["top", "middle", "bottom", "none"]


class LabelReport(BaseModel):
    """What report.csv says."""

    pages: int
    boundaries: list[int]
    csv: Text


class TocPageRange(BaseModel):
    """Where the table of contents stands."""

    start_page: int = Field(ge=1)
    end_page: int = Field(ge=1)


class TocFinding(BaseModel):
    """Whether there is a table of contents, and where; none is an answer."""

    toc_found: bool
    toc_page_range: TocPageRange | None = None
    confidence: float = Field(ge=0, le=1)
    search_strategy: str
    pages_checked: list[int] = []
    reasoning: str
    structure_summary: str | None = None


class TocPage(BaseModel):
    """A page of the table of contents."""

    page_num: Annotated[int, Key]
    text: str


class TocEntry(BaseModel):
    """One line of the table of contents."""

    entry_number: str | None = None
    title: str
    level: Literal[1, 2, 3]
    level_name: str | None = None
    printed_page_number: str | None = None


class TocPageEntries(BaseModel):
    """The lines on one page."""

    entries: list[TocEntry]


class Toc(BaseModel):
    """The whole table."""

    entries: list[TocEntry]
    entries_by_level: dict[str, int]
    notes: str | None = None


class NumberedEntry(TocEntry):
    """An entry as an item."""

    position: Annotated[int, Key] = Field(ge=1)


class LinkedEntry(TocEntry):
    """An entry and the page of the scan on which it begins."""

    scan_page: int | None = None
    link_confidence: float = Field(ge=0, le=1)
    reasoning: str
    candidates_checked: list[int] = []


class LinkedToc(BaseModel):
    """The whole table, linked."""

    entries: list[LinkedEntry]


class LinkReport(BaseModel):
    """What report.csv says."""

    linked: int
    missing: list[str]
    csv: Text
