"""The server goes away: what was handed in becomes durable all the same, once each."""

import asyncio
import os
import random
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from stagebook.ledger.facts import Noted
from stagebook.ledger.postgres import session
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError
from stagebook.testing.postgres_process import PostgresProcess

SILENCE = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
Begin = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresProcess]:
    """A server that may be killed."""
    with TemporaryDirectory(prefix="stagebook-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresProcess(Path(folder) / "data")
        server.start()
        yield server
        server.stop()


def breaking(raw: Any, *, arrives: bool) -> None:
    """Lose the connection at the next COMMIT, before it arrives or after it was carried out."""
    execute = raw.execute

    def executed(sql: Any, *values: Any) -> Any:
        if sql != b"COMMIT":
            return execute(sql, *values)
        if arrives:
            execute(sql, *values)
        raw.close()
        raise psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")

    raw.execute = executed


class SilentNetwork:
    """A way to a server on which one COMMIT is lost: we lose the connection, and the server hears nothing of it."""

    def __init__(self, place: str) -> None:
        port = re.search(r":(\d+)/", place)
        assert port is not None
        self._server = ("127.0.0.1", int(port[1]))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.place = place.replace(f":{port[1]}/", f":{self._listening.getsockname()[1]}/")
        self._ends: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self._lost: list[socket.socket] = []
        self.loses = False
        self._start(self._listen)

    def hang_up(self) -> None:
        """Let the server hear that we are gone."""
        for server in self._lost:
            server.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let nothing through any more."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _start(self, function: Callable[..., None], *ends: socket.socket) -> None:
        self._threads.append(threading.Thread(target=function, args=ends))
        self._threads[-1].start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._server)
                self._ends += [client, server]
                self._start(self._forth, client, server)
                self._start(self._back, client, server)

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self.loses and b"COMMIT" in data and b"BEGIN" not in data:
                    self.loses = False
                    self._lost.append(server)
                    client.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def silent_network(postgres: str) -> Iterator[SilentNetwork]:
    network = SilentNetwork(postgres)
    yield network
    network.close()


async def test_a_network_that_falls_silent_at_a_commit_holds_no_writer_up(
    postgres: str, silent_network: SilentNetwork, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    async with await Ledger.open(silent_network.place) as ledger, await Ledger.open(postgres) as other:
        ours, theirs = await begin(ledger), await begin(other)
        silent_network.loses = True
        await asyncio.gather(
            ledger.write(Noted(ours.run.id, "told", b"{}", 1)), other.write(Noted(theirs.run.id, "told", b"{}", 1))
        )
        for drive in (ours, theirs):
            assert [event.kind for event in await other.events(run=drive.run.id)].count("told") == 1
        assert not silent_network.loses


async def test_a_commit_that_nothing_can_be_learned_about_is_told_and_looked_at_again_later(
    silent_network: SilentNetwork, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOOK_SECONDS", 0.05)
    async with await Ledger.open(silent_network.place, busy_seconds=0.5) as ledger:
        drive = await begin(ledger)
        silent_network.loses = True
        with pytest.raises(LedgerError, match="still holds a transaction of a connection that was lost"):
            await ledger.write(Noted(drive.run.id, "told", b"{}", 1))
        silent_network.hang_up()
        while True:
            with suppress(LedgerError):
                await ledger.write(Noted(drive.run.id, "told", b"{}", 2))
                break
        assert [event.kind for event in await ledger.events(run=drive.run.id)].count("told") == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux tells these options of a socket")
@pytest.mark.parametrize(("asked", "milliseconds"), [("", 3000), ("&tcp_user_timeout=70000", 70000)], ids=["", "asked"])
async def test_every_connection_ends_when_the_network_is_silent(
    postgres: str, begin: Begin, asked: str, milliseconds: int
) -> None:
    async with await Ledger.open(postgres + asked, busy_seconds=6) as ledger:
        await begin(ledger)
        database: Any = ledger._database
        for lease in database.leases._held.values():
            database.leases._renew_one(lease)
        for connection in (database._near, database._renewing, database.session._connection):
            with socket.socket(fileno=os.dup(connection.raw.fileno())) as end:
                options = [end.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) for option in SILENCE]
                assert options == [milliseconds, 1, 1, 4]
                assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize("arrives", [True, False], ids=["carried-out", "never-arrived"])
async def test_a_commit_that_got_no_answer_is_carried_out_once(postgres: str, begin: Begin, *, arrives: bool) -> None:
    async with await Ledger.open(postgres) as ledger:
        drive = await begin(ledger)
        for n in range(3):
            breaking(ledger._database.session._connection.raw, arrives=arrives)  # type: ignore[union-attr]
            await drive.step("label", str(n), data={"n": n})
            await ledger.write(Noted(drive.run.id, "told", b"{}", n))
        assert [step.item for step in await ledger.steps(drive.run.id)] == ["0", "1", "2"]
        told = [event for event in await ledger.events(run=drive.run.id) if event.kind == "told"]
        assert len(told) == 3, "an event has no key of its own by which a second one would be refused"


@pytest.mark.parametrize("arrives", [True, False], ids=["carried-out", "never-arrived"])
async def test_a_command_whose_commit_got_no_answer_is_answered_all_the_same(
    postgres: str, new_run: Any, *, arrives: bool
) -> None:
    async with await Ledger.open(postgres) as ledger:
        await ledger.create_run(new_run())
        breaking(ledger._database.session._connection.raw, arrives=arrives)  # type: ignore[union-attr]
        run = await ledger.create_run(new_run())
        assert {one.run_id for one in await ledger.runs()} >= {run.run_id}
        assert len(await ledger.runs()) == 2


async def test_what_a_commit_given_up_made_durable_is_not_written_again(postgres: str, begin: Begin) -> None:
    async with await Ledger.open(postgres, busy_seconds=0.0) as ledger:
        drive = await begin(ledger)
        await ledger.write()
        breaking(ledger._database.session._connection.raw, arrives=True)  # type: ignore[union-attr]
        ledger.follow(Noted(drive.run.id, "told", b"{}", 1))
        with pytest.raises(LedgerError, match="cannot be reached"):
            await ledger.write(Noted(drive.run.id, "waited", b"{}", 1))
        await ledger.write()
        kinds = [event.kind for event in await ledger.events(run=drive.run.id)]
        assert (kinds.count("told"), kinds.count("waited")) == (1, 1)


async def test_a_ledger_outlives_its_server_being_killed_under_load(own_server: PostgresProcess, begin: Begin) -> None:
    place = f"{own_server.address}?schema=load"
    draw = random.Random(7)
    ended = threading.Event()

    def restart() -> None:
        while not ended.wait(draw.uniform(0.3, 0.8)):
            (own_server.kill if draw.random() < 0.7 else own_server.stop)()
            ended.wait(draw.uniform(0.0, 0.4))
            own_server.start()

    async with await Ledger.open(place) as ledger:
        drive = await begin(ledger)
        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            for start in range(0, 600, 20):
                items = [str(n) for n in range(start, start + 20)]
                await asyncio.gather(*(drive.step("label", item, data={"item": item}) for item in items))
                assert len(await ledger.outputs(drive.run.id)) == start + 20
                await asyncio.sleep(0.1)
        finally:
            ended.set()
            await asyncio.to_thread(restarting.join)
        events = await ledger.events(run=drive.run.id, limit=10_000)
        assert [event.kind for event in events].count("completed") == 600
        assert [event.seq for event in events] == sorted({event.seq for event in events})
        assert ledger._database.session._commits > 0  # type: ignore[union-attr]
        checked = await ledger.upkeep.check()
        assert checked.findings == ()


async def test_a_server_that_stays_away_is_told_and_comes_back(own_server: PostgresProcess, begin: Begin) -> None:
    async with await Ledger.open(f"{own_server.address}?schema=away", busy_seconds=0.2) as ledger:
        drive = await begin(ledger)
        own_server.kill()
        try:
            with pytest.raises(LedgerError, match="the server cannot be reached"):
                await ledger.write(drive.started("label", "1"))
            with pytest.raises(LedgerError, match="the server cannot be reached"):
                await ledger.steps(drive.run.id)
        finally:
            own_server.start()
        await ledger.write(drive.started("label", "1"))
        assert len(await ledger.steps(drive.run.id)) == 1
        with suppress(LedgerError):
            await drive.claim.release()
