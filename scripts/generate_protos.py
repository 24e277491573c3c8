"""Compile the .proto files of protos/ and examples/ in place.

With --check, fail if that changes anything.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = tuple(
    f"{top}/**/{end}"
    for top in ("protos", "examples")
    for end in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.*")
)


def compile_protos() -> None:
    protos = sorted(
        p for top in ("protos", "examples") for p in ROOT.glob(f"{top}/**/*.proto")
    )
    services = [p for p in protos if re.search("(?m)^service ", p.read_text())]
    _protoc(protos, "--python_out=.", "--mypy_out=quiet:.")
    _protoc(services, "--grpc_python_out=.", "--mypy_grpc_out=quiet:.")


def _protoc(protos: list[Path], *outputs: str) -> None:
    # `-I .` from the repository root makes the import path of the generated
    # module equal to its path on disk: protos/v1/x.proto -> protos.v1.x_pb2.
    names = [str(p.relative_to(ROOT)) for p in protos]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, *names]
    subprocess.run(command, cwd=ROOT, check=True)


def generated() -> dict[Path, bytes]:
    return {p: p.read_bytes() for glob in GENERATED for p in ROOT.glob(glob)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    before = generated()
    for path in before:
        path.unlink()
    compile_protos()
    if arguments.check and generated() != before:
        print("generated protos are stale: run scripts/generate_protos.py and commit")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
