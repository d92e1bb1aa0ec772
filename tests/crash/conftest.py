"""What every crash test runs: the gazetteer, a provider that fails now and then, and clients that are killed."""

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from stagebook.testing.crash_client import Errand, settings_for_trials
from stagebook.testing.crash_trial import Case
from stagebook.testing.postgres_process import PostgresProcess
from stagebook.testing.provider_faults import AnyFault, Cut, Delay, Drip, ErrorStatus, HalfBody, MalformedJson
from stagebook.testing.provider_process import ProviderProcess
from stagebook.testing.provider_script import Rule, Script

GAZETTEER = Path(__file__).with_name("gazetteer.py")
LATENCY = ("--latency", "0.001-0.006")
REQUEST_TIMEOUT = 0.3
"""Seconds; one answer is held back for longer, so that it is paid for and never read."""
SAMPLES = 3
"""Requests that one step of the gazetteer has under way at once."""
LATER = 0.02
"""Seconds after which a provider in trouble wants to be asked again."""


def script(*, for_the_command: bool = False) -> Script:
    """What the provider answers and does wrong.

    Every answer follows from its request alone: the second answer about a rank differs because the conversation does.

    Args:
        for_the_command: Leave out what the command, which waits as long as it should, would take seconds over.
    """
    glosses: tuple[AnyFault, ...] = (
        Delay(seconds=REQUEST_TIMEOUT * 1.3, nth=(1,)),
        Cut(nth=(2,)),
        Cut(nth=(3,), charged=True),
    )
    titles: tuple[AnyFault, ...] = (HalfBody(nth=(2,)), ErrorStatus(status=503, nth=(3,)))
    return Script(
        rules=(
            Rule(contains=("Rank ", "cannot be used"), fields={"rank": "major"}),
            Rule(
                contains="Rank ",
                fields={"rank": "unknown"},
                faults=(MalformedJson(nth=(2,)), Drip(seconds=0.02, pieces=5, nth=(3,))),
            ),
            Rule(
                contains="Describe ",
                faults=(
                    ErrorStatus(status=429, retry_after=LATER, nth=(2,)),
                    ErrorStatus(status=500, retry_after=LATER, nth=(4,)),
                ),
            ),
            Rule(contains="Gloss ", faults=(Cut(nth=(2,), charged=True),) if for_the_command else glosses),
            Rule(contains="Propose a title", faults=() if for_the_command else titles),
            Rule(contains="Judge this judgement", faults=(Drip(seconds=0.02, pieces=4),)),
        )
    )


def case_of(regions: int, places: int, concurrency: int, *, appendix: int = 0, for_the_command: bool = False) -> Case:
    """The gazetteer in a size; SERVER stands for the provider's address, which the command would not fetch from."""
    server = "" if for_the_command else "SERVER"
    given = {"regions": regions, "places": places, "server": server, "appendix": appendix}
    return Case(
        Errand(
            ledger=Path(),
            pipeline=str(GAZETTEER),
            input=orjson.dumps(given),
            settings=settings_for_trials(concurrency, REQUEST_TIMEOUT),
            base_url="",
        ),
        script(for_the_command=for_the_command),
        most_at_once=concurrency + SAMPLES,
    )


@pytest.fixture
def case() -> Callable[..., Case]:
    """Make a case: regions, places in each, steps at once; how long its appendix is, whether the command runs it."""
    return case_of


@pytest.fixture
def restarted_server(seed: str) -> Iterator[str]:
    """The address of a PostgreSQL server that is killed or stopped again and again, and is away for up to 2 s."""
    with TemporaryDirectory(prefix="stagebook-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresProcess(Path(folder) / "data")
        server.start()
        ended = threading.Event()
        restarting = threading.Thread(target=restart_often, args=(server, random.Random(seed), ended))
        restarting.start()
        try:
            yield server.address
        finally:
            ended.set()
            restarting.join()
            server.stop()


def restart_often(server: PostgresProcess, draw: random.Random, ended: threading.Event) -> None:
    """Take the server away every 5 to 40 s where there is time for that, else every 1 to 4."""
    shortest, longest = (5.0, 40.0) if int(os.environ.get("KILLS", "200")) > 1000 else (1.0, 4.0)
    while not ended.wait(draw.uniform(shortest, longest)):
        (server.kill if draw.random() < 0.7 else server.stop)()
        ended.wait(draw.uniform(0.0, 2.0))
        server.start()


@pytest.fixture
def provider() -> Iterator[ProviderProcess]:
    """A provider for one trial at a time."""
    with ProviderProcess(options=LATENCY) as started:
        yield started


@pytest.fixture
def provider_options() -> tuple[str, ...]:
    """How providers of many trials are started."""
    return LATENCY


@pytest.fixture
def workers() -> int:
    """Trials at once, shared with other workers of xdist: half of a trial is waiting."""
    sharing = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return max(2, 2 * (os.cpu_count() or 1) // sharing)


@pytest.fixture
def seed() -> str:
    """Chooses the random moments; STAGEBOOK_SEED repeats a choice (timing still differs)."""
    return os.environ.get("STAGEBOOK_SEED", "2026")


@pytest.fixture
def show(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print figures also when the test passes, and from a worker of xdist too."""

    def shown(text: str) -> None:
        with capfd.disabled():
            sys.stderr.write(f"\n{text}\n")
            sys.stderr.flush()

    return shown
