"""The five systems as they are declared: each loads, is checked, and is drawn as it was when somebody last looked.

The drawings are in `graphs/`; after a change that is meant, write them anew with
`python tests/pipelines/test_graphs.py`.
"""

from pathlib import Path

import pytest

from stagebook.definition.graph import ReadKind
from stagebook.definition.loading import load
from stagebook.definition.picture import draw

HERE = Path(__file__).parent
GRAPHS = HERE / "graphs"
SYSTEMS = {
    "lead-dossier": str(HERE / "skeletons" / "lead_dossier.py"),
    "episode-content": "episode-content",
    "sales-playbook": str(HERE / "skeletons" / "sales_playbook.py"),
    "scanned-book": str(HERE / "skeletons" / "scanned_book.py"),
    "prompt-batch": "prompt-batch",
}


def drawn(name: str) -> str:
    return draw(load(SYSTEMS[name]).graph, 100)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_drawn_as_it_was_when_somebody_last_looked(name: str) -> None:
    assert drawn(name) == (GRAPHS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_drawing_keeps_to_its_width_and_is_the_same_each_time(name: str) -> None:
    graph = load(SYSTEMS[name]).graph
    narrow = draw(graph, 72)
    assert max(map(len, narrow.splitlines())) <= 72
    assert draw(graph, 72) == narrow


def test_all_research_steps_of_a_dossier_have_their_claims_extracted_by_one_function() -> None:
    stages = load(SYSTEMS["lead-dossier"]).graph.stages
    extractions = [spec for spec in stages.values() if spec.label == "CLAIMS_EXTRACTION"]
    assert len(extractions) == 7
    assert len({spec.function for spec in extractions}) == 1
    assert {spec.reads[0].stages for spec in extractions} == {
        (spec.name.removesuffix("-claims"),) for spec in extractions
    }


def test_a_dossier_has_nine_writers_that_differ_by_their_text() -> None:
    stages = load(SYSTEMS["lead-dossier"]).graph.stages
    writers = [spec for spec in stages.values() if spec.label and spec.label.startswith("10_WRITER_")]
    assert len(writers) == 9
    assert len({spec.prompt.template.content_hash for spec in writers if spec.prompt}) == 9


def test_a_playbook_has_twenty_four_leaves_and_seventeen_agents() -> None:
    stages = load(SYSTEMS["sales-playbook"]).graph.stages.values()
    assert sum(spec.prompt is not None for spec in stages) == 17
    helpers = {"sides", "pages-to-read", "read-page"}  # they cut the batch scrape into items
    assert sum(2 if spec.axis == ("sides",) else 1 for spec in stages if spec.name not in helpers) == 24


def test_prompts_of_a_batch_are_items_below_the_file_that_they_stand_in() -> None:
    stages = load(SYSTEMS["prompt-batch"]).graph.stages
    assert stages["respond"].axis == ("archive-files", "extract-prompts")
    kinds = {read.parameter: read.kind for read in stages["store-results"].reads}
    assert (kinds["prompts"], kinds["answers"], kinds["outcomes"]) == (ReadKind.ROWS, ReadKind.ROWS, ReadKind.OUTCOMES)


if __name__ == "__main__":
    for system in SYSTEMS:
        (GRAPHS / f"{system}.txt").write_text(drawn(system), encoding="utf-8")
