"""Exchanges per second through two security servers, against yardsticks in one run.

Starts an instance of its own, asks the population register for one person directly,
through two plain proxies (pass_through.py), and through the bus: signed, verified,
replay-checked, both ledgers durable with fsync, a round each second, mTLS between.

    python benchmarks/exchange.py [--seconds 5] [--runs 3]

Prints a table and writes it, with machine and versions, to benchmarks/results/.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

import uvloop
from grpc import aio

HERE = Path(__file__).parent
IN_FLIGHT = (1, 16, 128)


@contextmanager
def program(*arguments: str, **options) -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, *arguments], **options) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(60)


@contextmanager
def instance() -> Iterator[dict]:
    with tempfile.TemporaryDirectory() as directory:
        command = ("-m", "cli", "up", "--dir", directory, "--json")
        with program(*command, stdout=subprocess.PIPE) as up:
            yield json.loads(up.stdout.readline())


def pass_through(stack: ExitStack, to: str, ports: list[int]) -> str:
    for port in ports:
        listen = f"127.0.0.1:{port}"
        script = str(HERE / "pass_through.py")
        stack.enter_context(program(script, "--listen", listen, "--to", to))
        to = listen
    return to


async def measure(address: str, example: dict, in_flight: int, seconds: float):
    """Give exchanges per second and the median time of one, in milliseconds."""
    metadata = tuple(
        (f"ristmik-{key.replace('_', '-')}", example[key])
        for key in ("client", "service", "subject", "purpose", "legal_basis")
    )
    person = example["subject"].encode()
    body = b"\x0a" + bytes([len(person)]) + person
    times: list[float] = []
    async with aio.insecure_channel(address) as channel:
        ask = channel.unary_unary(f"/{example['method']}")
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while (began := time.perf_counter()) < end:
                await ask(body, metadata=metadata, timeout=60, wait_for_ready=True)
                times.append(time.perf_counter() - began)

        await caller_warm(ask, body, metadata)
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        elapsed = time.perf_counter() - began
    return len(times) / elapsed, statistics.median(times) * 1000


async def caller_warm(ask, body: bytes, metadata) -> None:
    for _ in range(20):
        await ask(body, metadata=metadata, timeout=60, wait_for_ready=True)


def table(rows: dict[tuple[str, int], list[tuple[float, float]]]) -> str:
    lines = ["| path | in flight | exchanges/s | p50, ms | against the pair |"]
    lines.append("|---|---|---|---|---|")
    for (path, in_flight), runs in rows.items():
        rate = statistics.median(run[0] for run in runs)
        p50 = statistics.median(run[1] for run in runs)
        pair = statistics.median(run[0] for run in rows["plain pair", in_flight])
        lines.append(
            f"| {path} | {in_flight} | {rate:,.0f} | {p50:.2f} | {rate / pair:.2f} |"
        )
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    rows: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        document = stack.enter_context(instance())
        example, direct = document["example"], document["systems"][0]["address"]
        paths = {
            "direct": direct,
            "plain pair": pass_through(stack, direct, [41871, 41872]),
            "Ristmik": document["servers"][0]["local"],
        }
        for _ in range(arguments.runs):
            for in_flight in IN_FLIGHT:
                for path, address in paths.items():
                    run = await measure(address, example, in_flight, arguments.seconds)
                    rows.setdefault((path, in_flight), []).append(run)
                    print(path, in_flight, f"{run[0]:.0f}/s", file=sys.stderr)
    conditions = (
        f"{os.cpu_count()} cores, {platform.platform()}, Python "
        f"{platform.python_version()}, grpcio {version('grpcio')}; median of "
        f"{arguments.runs} runs of {arguments.seconds:g} s; the client, all servers "
        "and PostgreSQL share the machine"
    )
    text = f"# Exchanges\n\n{conditions}\n\n{table(rows)}\n"
    (HERE / "results" / "exchange.md").write_text(text)
    print(text)


if __name__ == "__main__":
    uvloop.run(main())
