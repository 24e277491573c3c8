import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.sandbox import supervisor as supervising
from cli.sandbox.failures import ProgramFailed
from cli.sandbox.health_checks import all_of, grpc_health, http_health
from cli.sandbox.processes import RunningProgram, command_line, find_by_command
from cli.sandbox.supervisor import NotReady, Program, Supervisor, stop_left_running

# Writes a file when it can be stopped, and another when it was.
OBEDIENT = """
import pathlib, signal, sys
place = pathlib.Path(sys.argv[1])
def stop(*_):
    with (place.parent / "order").open("a") as order:
        print(place.name, file=order)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
place.touch()
while True:
    signal.pause()
"""
DYING = "import sys; print('the cause', file=sys.stderr); sys.exit(7)"
UNGRACEFUL = OBEDIENT.replace("sys.exit(0)", "sys.exit(9)")
STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""
HTTP = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
with open(sys.argv[1] + ".new", "w") as port:
    port.write(str(server.server_port))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
"""


class Reports(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def supervisor(tmp_path: Path, reports: Reports) -> AsyncIterator[Supervisor]:
    made = Supervisor(directory=tmp_path, report=reports)
    yield made
    await made.stop()


def program(tmp_path: Path, name: str, code: str = OBEDIENT) -> Program:
    command = (sys.executable, "-c", code, str(tmp_path / name))
    return Program(name, command, tmp_path / f"{name}.log")


async def until_started(supervisor: Supervisor, tmp_path: Path, name: str) -> None:
    async def check() -> None:
        if not (tmp_path / name).exists():
            raise NotReady("no file")

    await supervisor.until_ready(name, check)


async def test_stops_the_last_wave_first(supervisor: Supervisor, tmp_path: Path):
    waves = (["a", "b"], ["c"], ["d"])
    for wave, names in enumerate(waves):
        supervisor.start(*(program(tmp_path, name) for name in names), wave=wave)
    for name in "abcd":
        await until_started(supervisor, tmp_path, name)
    pids = [supervisor.pid(name) for name in "abcd"]
    assert await supervisor.stop()
    order = (tmp_path / "order").read_text().split()
    assert order[:2] == ["d", "c"]
    assert sorted(order[2:]) == ["a", "b"]
    assert [command_line(pid) for pid in pids] == [""] * 4
    assert not supervisor.ended


async def test_programs_run_in_sessions_of_their_own_closed_to_others(
    supervisor: Supervisor, tmp_path: Path
):
    supervisor.start(program(tmp_path, "a"))
    await until_started(supervisor, tmp_path, "a")
    assert os.getsid(supervisor.pid("a")) == supervisor.pid("a")
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


async def test_reports_one_that_dies_with_the_end_of_its_log(
    supervisor: Supervisor, tmp_path: Path, reports: Reports
):
    supervisor.start(program(tmp_path, "a"), program(tmp_path, "b", DYING))
    await supervisor.one_ended()
    [ended] = supervisor.ended
    assert (ended.name, ended.status) == ("b", 7)
    assert any("b ended with status 7" in text for text in reports)
    assert any("the cause" in text for text in reports)
    assert not await supervisor.stop()


async def test_reports_one_that_is_killed(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(program(tmp_path, "a"))
    await until_started(supervisor, tmp_path, "a")
    os.kill(supervisor.pid("a"), signal.SIGKILL)
    await supervisor.one_ended()
    assert "a ended by signal SIGKILL" in str(supervisor.ended[0])


async def test_waiting_for_a_dead_program_ends(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(program(tmp_path, "b", DYING))
    with pytest.raises(ProgramFailed, match=r"b ended with status 7: see .*b\.log"):
        await until_started(supervisor, tmp_path, "b")


async def test_waiting_ends_when_it_takes_too_long(
    supervisor: Supervisor,
    tmp_path: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(supervising, "READY_WITHIN_S", 0.5)
    monkeypatch.setattr(supervising, "_REPORT_EVERY_S", 0.2)
    supervisor.start(program(tmp_path, "a"))

    async def never() -> None:
        raise NotReady("it lacks this")

    with pytest.raises(ProgramFailed, match=r"not ready .*: it lacks this"):
        await supervisor.until_ready("a", never)
    assert any("waiting for a" in text and "lacks this" in text for text in reports)


async def test_one_that_ignores_being_told_is_killed_and_said(
    supervisor: Supervisor,
    tmp_path: Path,
    reports: Reports,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(supervising, "STOP_WITHIN_S", 0.3)
    supervisor.start(program(tmp_path, "a", STUBBORN))
    await until_started(supervisor, tmp_path, "a")
    pid = supervisor.pid("a")
    assert not await supervisor.stop()
    assert command_line(pid) == ""
    assert any("a does not stop" in text for text in reports)


async def test_one_that_stops_with_an_error_is_said(
    supervisor: Supervisor, tmp_path: Path, reports: Reports
):
    supervisor.start(program(tmp_path, "a", UNGRACEFUL))
    await until_started(supervisor, tmp_path, "a")
    assert not await supervisor.stop()
    assert any("a ended with status 9" in text for text in reports)


async def test_watches_a_program_started_elsewhere(
    supervisor: Supervisor, tmp_path: Path
):
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()")
    running = RunningProgram.find(child.pid, command_contains="input()")
    assert running is not None
    log = tmp_path / "elsewhere.log"
    supervisor.watch("elsewhere", descriptor=running.descriptor, log=log)
    child.kill()
    await supervisor.one_ended()
    assert supervisor.ended[0].name == "elsewhere"
    await child.wait()
    running.close()


async def test_stops_what_a_killed_supervisor_left(tmp_path: Path, reports: Reports):
    left, other = program(tmp_path, "left"), program(tmp_path, "other")
    killed = Supervisor(directory=tmp_path, report=reports)
    killed.start(left, other)
    for name in ("left", "other"):
        await until_started(killed, tmp_path, name)
    [found] = find_by_command(left.command)
    assert found.pid == killed.pid("left")
    found.close()
    await stop_left_running([left], report=reports)
    assert (tmp_path / "order").read_text().split() == ["left"]
    assert not list(find_by_command(left.command))
    assert not await killed.stop()
    assert (tmp_path / "order").read_text().split() == ["left", "other"]


def test_a_number_that_is_another_programs_is_not_taken_for_ours():
    assert RunningProgram.find(os.getpid(), command_contains="no such words") is None
    assert RunningProgram.find(2**22 + 1, command_contains="") is None
    assert RunningProgram.find(2**40, command_contains="") is None


async def test_http_health(supervisor: Supervisor, tmp_path: Path):
    supervisor.start(program(tmp_path, "web", HTTP))
    await until_started(supervisor, tmp_path, "web")
    address = f"127.0.0.1:{(tmp_path / 'web').read_text()}"
    await all_of(http_health(f"http://{address}/health"))()
    with pytest.raises(NotReady, match="says 503"):
        await http_health(f"http://{address}/other")()
    with pytest.raises(NotReady):
        await grpc_health(address)()


async def test_nobody_listens(tmp_path: Path):
    for check in (
        http_health("http://127.0.0.1:1/health"),
        grpc_health("127.0.0.1:1"),
        grpc_health(f"unix:{tmp_path}/none"),
    ):
        with pytest.raises(NotReady, match="nobody listens"):
            await check()


async def test_grpc_health_of_an_agencys_system(tmp_path: Path, reports: Reports):
    root = Path(supervising.__file__).parents[1]
    supervisor = Supervisor(directory=root, report=reports)
    command = (sys.executable, "-m", "examples.agencies.health", "--listen")
    log = tmp_path / "health.log"
    supervisor.start(Program("health", (*command, "127.0.0.1:0"), log))

    async def listening() -> None:
        if b" listens on " not in log.read_bytes():
            raise NotReady("not yet")

    await supervisor.until_ready("health", listening)
    address = log.read_text().split()[-1]
    await supervisor.until_ready("health", grpc_health(address))
    assert await supervisor.stop()
