"""The lock, the image and the checks: what an installation is made from."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.sandbox import compose
from cli.sandbox.programs import listeners

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def script(name: str, *arguments: str) -> str:
    command = [sys.executable, ROOT / "scripts" / name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own script


def names(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))


def wanted(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9-]+", each) for each in requirements)
    return {match[0].lower() for match in found if match}


def test_everything_wanted_is_locked():
    groups = PYPROJECT["dependency-groups"].values()
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    lists = (PYPROJECT["project"]["dependencies"], *groups, *extras)
    assert set().union(*map(wanted, lists)) <= names(LOCK)


def test_the_lock_has_hashes_and_no_address():
    entries = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)
    assert [e for e in entries if e.strip() and "--hash=sha256:" not in e] == []
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_the_image_gets_what_the_product_imports_and_no_tools():
    runtime = script("lock_subset.py")
    assert wanted(PYPROJECT["project"]["dependencies"]) <= names(runtime)
    tools = PYPROJECT["dependency-groups"]
    # A few of the tools' own dependencies are the product's too; the tools are not.
    assert names(runtime) & wanted([*tools["test"], *tools["lint"]]) == set()
    assert "--hash=sha256:" in runtime


def test_the_image_is_built_with_what_builds_the_wheel():
    wanted_to_build = PYPROJECT["build-system"]["requires"]
    assert wanted(wanted_to_build) <= names(script("lock_subset.py", "build"))


@pytest.mark.parametrize("path", ["Makefile", "Dockerfile", "docker-compose.yml"])
def test_what_is_run_exists(path: str):
    text = (ROOT / path).read_text()
    named = re.findall(r"(?:scripts|deploy)/[\w-]+\.(?:py|sh)", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    modules = re.findall(r"-m, ([\w.]+)", text)
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_the_composition_is_what_its_setup_says():
    composition = (ROOT / "docker-compose.yml").read_text()
    services = set(re.findall(r"^  ([a-z-]+):$", composition, re.MULTILINE))
    chosen = compose.choices()
    assert set(chosen.hosts.values()) <= services
    assert {name for name in chosen.ports if name.endswith("-system")} <= services
    listening = re.findall(r'--listen, "127\.0\.0\.1:(\d+)"', composition)
    assert set(map(int, listening)) == {compose.SYSTEM_PORT}
    [local] = re.findall(r'--bus, "127\.0\.0\.1:(\d+)"', composition)
    assert int(local) == compose.PORTS["local"]
    assert set(chosen.ports) == set(listeners())


def test_the_composition_opens_no_plaintext_to_others():
    chosen = compose.choices()
    private = [name for name in chosen.ports if name.endswith(("/local", "-system"))]
    assert private
    assert all(chosen.listen(name).startswith("127.0.0.1:") for name in private)
    assert not any(map(chosen.reachable, private))


def test_generated_code_is_fresh_and_the_check_leaves_the_tree_alone():
    generated = sorted((ROOT / "protos").rglob("*_pb2*"))
    before = [path.stat().st_mtime_ns for path in generated]
    assert script("generate_protos.py", "--check") == ""
    assert [path.stat().st_mtime_ns for path in generated] == before
