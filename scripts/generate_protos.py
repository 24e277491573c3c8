"""Compile the .proto files of protos/ and examples/ in place.

With --check, fail if that would change anything. Either way the compiler writes to a
directory of its own first, so a failure or a parallel run leaves the tree as it was.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("protos", "examples")
ENDS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def compile_protos(to: Path) -> None:
    protos = sorted(p for top in TOPS for p in (ROOT / top).rglob("*.proto"))
    services = [p for p in protos if re.search("(?m)^service ", p.read_text())]
    _protoc(protos, f"--python_out={to}", f"--mypy_out=quiet:{to}")
    _protoc(services, f"--grpc_python_out={to}", f"--mypy_grpc_out=quiet:{to}")


def _protoc(protos: list[Path], *outputs: str) -> None:
    # `-I .` from the repository root makes the import path of the generated
    # module equal to its path on disk: protos/v1/x.proto -> protos.v1.x_pb2.
    names = [str(p.relative_to(ROOT)) for p in protos]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *names]
    # protoc finds the mypy plugins on PATH, where an unactivated .venv is not.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PATH": path})


def generated(root: Path) -> dict[Path, bytes]:
    """Read generated files; the keys are paths below `root`."""
    return {
        path.relative_to(root): path.read_bytes()
        for top in TOPS
        for end in ENDS
        for path in (root / top).rglob(end)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with TemporaryDirectory() as directory:
        compile_protos(Path(directory))
        fresh = generated(Path(directory))
    held = generated(ROOT)
    stale = sorted(p for p in fresh | held if fresh.get(p) != held.get(p))
    if arguments.check:
        for path in stale:
            print(f"{path} is stale: run scripts/generate_protos.py and commit")
        return 1 if stale else 0
    for path in stale:
        if path in fresh:
            (ROOT / path).write_bytes(fresh[path])
        else:
            (ROOT / path).unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
