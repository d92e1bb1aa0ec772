"""`Frontier` (told step by step) against `plan` (from scratch), over random pipelines."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from stagebook.definition.graph import Graph, Read, ReadKind, StageSpec
from stagebook.definition.policy import Policy
from stagebook.engine.plan import Frontier, Ready, StepKey, plan, scope
from stagebook.model.records import WHOLE
from stagebook.model.status import StepStatus


class Thing(BaseModel):
    name: str = ""


def stage(name: str, axis: tuple[str, ...], reads: list[Read], *, streams: bool) -> StageSpec:
    return StageSpec(
        name=name,
        label=None,
        number=None,
        phase=None,
        position=0,
        function=lambda: None,
        is_async=False,
        location="test.py:1",
        doc="",
        each=axis[-1] if axis else None,
        axis=axis,
        reads=tuple(reads),
        output=Thing,
        streams=streams,
        key_field="name" if streams else None,
        text_field=None,
        skips=False,
        checks=(),
        policy=Policy(on_error="collect"),
        code_hash=b"",
    )


@st.composite
def pipelines(draw: st.DrawFn) -> Graph:
    """Draw stages one after the other, each reading some that stand before it."""
    specs: dict[str, StageSpec] = {}
    for number in range(draw(st.integers(1, 7))):
        name = f"s{number}"
        streaming = [spec for spec in specs.values() if spec.streams]
        axis: tuple[str, ...] = ()
        if streaming and draw(st.booleans()):
            axis = draw(st.sampled_from(streaming)).item_axis
        reads: list[Read] = []
        for maker in (
            draw(st.lists(st.sampled_from(list(specs.values())), max_size=3, unique_by=lambda s: s.name))
            if specs
            else []
        ):
            kinds = [ReadKind.LIST, ReadKind.ROWS]
            if not maker.streams and axis[: len(maker.axis)] == maker.axis:
                kinds += [ReadKind.OUTPUT, ReadKind.OUTPUT]
            if len(maker.item_axis) > len(axis) and maker.item_axis[: len(axis)] == axis and axis:
                kinds += [ReadKind.CHILDREN, ReadKind.CHILDREN]
            kind = draw(st.sampled_from(kinds))
            reads.append(Read(f"p{len(reads)}", kind, (maker.name,), draw(st.booleans())))
        if axis:
            reads.append(Read("item", ReadKind.ITEM, (axis[-1],)))
        specs[name] = stage(name, axis, reads, streams=draw(st.booleans()))
    upstream = {
        name: frozenset(maker for read in spec.reads for maker in read.stages) | frozenset(spec.axis[-1:])
        for name, spec in specs.items()
    }
    return Graph("random", "", Thing, specs, (), b"", b"", upstream)


STATUSES = [StepStatus.COMPLETED, StepStatus.COMPLETED, StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED]


@given(pipelines(), st.data())
@settings(max_examples=300, deadline=None)
def test_told_step_by_step_the_frontier_gives_what_planning_from_scratch_gives(
    graph: Graph, data: st.DataObject
) -> None:
    frontier = Frontier(graph, graph.stages)
    given_out: set[StepKey] = set()
    open_: list[Ready] = []

    def take(found: list[Ready]) -> None:
        for ready in found:
            assert ready.key not in given_out, "a step is given out once"
            given_out.add(ready.key)
            open_.append(ready)

    take(frontier.begin())
    for _ in range(400):
        assert set(open_) == plan(graph, frontier.state)
        if not open_:
            break
        ready = open_[data.draw(st.integers(0, len(open_) - 1))]
        spec = graph.stages[ready.key.stage]
        if spec.streams and ready.skip is None and data.draw(st.booleans()):
            own = f"k{data.draw(st.integers(0, 3))}"
            key = f"{ready.key.item}/{own}" if ready.key.item else own
            take(frontier.yielded(spec.name, ready.key.item, key))
            continue
        status = StepStatus.SKIPPED if ready.skip else data.draw(st.sampled_from(STATUSES))
        open_.remove(ready)
        take(frontier.ended(spec.name, ready.key.item, status))
    if not open_:
        assert frontier.finished()


@given(pipelines())
def test_the_scope_of_a_stage_is_closed_under_what_it_reads(graph: Graph) -> None:
    for name in graph.stages:
        found = scope(graph, name)
        assert name in found
        assert all(graph.upstream[one] <= found for one in found)


def test_a_mapped_chain_flows_item_by_item() -> None:
    page = stage("pages", (), [], streams=True)
    label = stage("label", ("pages",), [Read("page", ReadKind.ITEM, ("pages",))], streams=False)
    link = stage("link", ("pages",), [Read("label", ReadKind.OUTPUT, ("label",))], streams=False)
    report = stage("report", (), [Read("labels", ReadKind.LIST, ("label",))], streams=False)
    specs = {spec.name: spec for spec in (page, label, link, report)}
    upstream = {"pages": frozenset[str](), "label": {"pages"}, "link": {"label", "pages"}, "report": {"label"}}
    graph = Graph("flow", "", Thing, specs, (), b"", b"", {k: frozenset(v) for k, v in upstream.items()})
    frontier = Frontier(graph, graph.stages)
    assert [ready.key for ready in frontier.begin()] == [StepKey("pages", WHOLE)]
    assert [ready.key for ready in frontier.yielded("pages", WHOLE, "1")] == [StepKey("label", "1")]
    assert [ready.key for ready in frontier.ended("label", "1", StepStatus.COMPLETED)] == [StepKey("link", "1")]
    assert frontier.yielded("pages", WHOLE, "1") == []
    frontier.yielded("pages", WHOLE, "2")
    assert frontier.ended("pages", WHOLE, StepStatus.COMPLETED) == []
    found = [ready.key for ready in frontier.ended("label", "2", StepStatus.FAILED)]
    assert set(found) == {StepKey("link", "2"), StepKey("report", WHOLE)}
