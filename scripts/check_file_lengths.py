"""Fail if a Python file of the project is over 400 lines; generated code apart."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 400
# Folders of Python that are not packages of the distribution.
ASIDE = ("tests", "scripts", "benchmarks")
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def python_files() -> list[Path]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["importlinter"]["root_packages"]
    return sorted(
        path
        for folder in (*packages, *ASIDE)
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.endswith(GENERATED)
    )


def main() -> int:
    found = 0
    for path in python_files():
        lines = len(path.read_text().splitlines())
        if lines > LIMIT:
            found += 1
            print(f"{path.relative_to(ROOT)}: {lines} lines, over {LIMIT}: divide it")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
