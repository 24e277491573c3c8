"""One instance for all tests that leave it whole; the others start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.processes import command_line
from tests.end_to_end.instance import Instance, is_running, new_instance


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """Give a running instance that a test must not break; it ends well."""
    with new_instance() as running:
        pids = [*running.pids().values(), running.postgres_pid()]
        yield running
        assert running.stop() == 0, running.said()
        left = {pid: command_line(pid) for pid in pids if is_running(pid)}
        assert not left, left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under `--dist loadgroup`, keep together what shares an instance."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            fixtures = getattr(item, "fixturenames", ())
            group = "end_to_end" if "instance" in fixtures else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))
