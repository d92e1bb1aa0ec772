"""Page images in, text, labels, table of contents and linked chapters out.

A draft of the declaration: what its computing stages do is not written yet.
"""

from collections.abc import Iterator

from book_models import (
    Book,
    Label,
    LabelReport,
    LinkedEntry,
    LinkedToc,
    LinkReport,
    Metadata,
    NumberedEntry,
    OcrPage,
    PageImage,
    Toc,
    TocFinding,
    TocPage,
    TocPageEntries,
)

from stagebook import Complaint, Llm, Pipeline, Rows, Skip

scan = Pipeline("scanned-book", input=Book, model="openai:gpt-4.1-mini")
source = scan.phase("source")
reading = scan.phase("ocr-pages")
labelling = scan.phase("label-pages")
finding = scan.phase("find-toc")
extracting = scan.phase("extract-toc")
linking = scan.phase("link-toc")


@source.stage
def page_images(book: Book) -> Iterator[PageImage]: ...


@source.stage
def metadata(book: Book, images: list[PageImage]) -> Metadata: ...


@reading.stage(each=PageImage)
def ocr_page(image: PageImage) -> OcrPage: ...


@labelling.prompt(
    each=PageImage,
    returns=Label,
    temperature=0,
    text="""
## system
You find where chapters and parts of a book begin.
The book is {{ book.title }}{% if book.author %} by {{ book.author }}{% endif %}.
## user
Page {{ page.page_num }}, {{ page.char_count }} characters:

{{ page.text }}
""",
)
def label_page(book: Book, page: OcrPage) -> None: ...


@label_page.check
def position_is_told(label: Label) -> None:
    """A page on which something begins says where."""
    if label.is_boundary and label.boundary_position == "none":
        raise Complaint("a boundary page has a position: top, middle or bottom")


@labelling.stage
def label_report(labels: dict[str, Label]) -> LabelReport: ...


@finding.stage(model="openai:gpt-4.1", timeout=900)
async def find_toc(pages: Rows[OcrPage], book: Book, llm: Llm) -> TocFinding: ...


@extracting.stage
def toc_pages(found: TocFinding, pages: dict[str, OcrPage]) -> list[TocPage] | Skip: ...


@extracting.prompt(
    each=TocPage,
    returns=TocPageEntries,
    text="{{ found.structure_summary }}\n\n{{ page.text }}\n\nList the entries of this page of the table of contents.",
)
def extract_entries(page: TocPage, found: TocFinding) -> None: ...


@extracting.stage
def assemble_toc(pages: dict[str, TocPageEntries], found: TocFinding) -> Toc: ...


@linking.stage
def toc_entries(toc: Toc) -> Iterator[NumberedEntry]: ...


@linking.stage(each=NumberedEntry, on_error="collect")
async def find_entry(entry: NumberedEntry, pages: Rows[OcrPage], labels: dict[str, Label], llm: Llm) -> LinkedEntry: ...


@linking.stage
def linked_toc(entries: list[LinkedEntry]) -> LinkedToc: ...


@linking.stage
def link_report(toc: LinkedToc, book: Metadata) -> LinkReport: ...
