"""A gRPC client that is not ours: `buf curl`, which asks by reflection, in Go."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from protos.v1 import fault_pb2
from tests.end_to_end.conftest import DESK
from tests.end_to_end.desk import ASK, WATCH, Desk
from tests.end_to_end.instance import Instance

BUF = Path(sys.executable).with_name("buf")
HEALTH = "grpc.health.v1.Health/Check"

# By hand only: in CI its absence is a failure.
pytestmark = pytest.mark.skipif(
    not BUF.exists() and os.environ.get("CI") != "true",
    reason="buf is not installed beside this Python: make install",
)


def curl(
    instance: Instance, path: str, *options: str, keys: Sequence[tuple[str, Any]] = ()
) -> tuple[int, str, str]:
    headers = [word for key, value in keys for word in ("-H", f"{key}: {value}")]
    command = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
    ended = subprocess.run(  # noqa: S603 - this test's own program
        [
            *(*command, *headers, "--reflect-header", "*", *options),
            f"http://{instance.server('tax').local}/{path}",
        ],
        env={"HOME": str(instance.directory), "NO_PROXY": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_health_and_reflection_are_answered_by_the_own_server(
    instance: Instance,
) -> None:
    assert curl(instance, HEALTH)[:2] == (0, '{\n  "status": "SERVING"\n}\n')
    status, listed, _ = curl(instance, "", "--list-services")
    assert status == 0
    assert {name.rpartition(".")[2] for name in listed.split()} == {
        *("Health", "ServerReflection"),
    }


def test_example_call_by_reflection_of_the_provider(instance: Instance) -> None:
    example = instance.document["example"]
    keys = instance.example.metadata()
    status, listed, _ = curl(instance, "", "--list-methods", keys=keys)
    assert status == 0
    assert example["method"] in listed.split()
    assert "desk.v1" not in listed
    status, answer, _ = curl(
        instance, example["method"], "-d", example["json"], keys=keys
    )
    assert status == 0
    assert json.loads(answer)["id"] == example["subject"]


def test_refusal_is_a_status_with_a_fault_in_its_details(instance: Instance) -> None:
    example = instance.document["example"]
    keys = instance.example.metadata(purpose=None)
    status, out, err = curl(
        instance, example["method"], "-d", example["json"], keys=keys
    )
    assert status != 0
    assert out == ""
    said = json.loads(err)
    assert said["code"] == "invalid_argument"
    (detail,) = said["details"]
    assert detail["type"] == "ristmik.v1.Fault"
    # Base64 without its padding.
    octets = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
    fault = fault_pb2.Fault.FromString(octets)
    assert fault.code == fault_pb2.FAULT_CODE_PURPOSE_MISSING
    assert fault.execution == fault_pb2.EXECUTION_NOT_EXECUTED
    assert fault.origin.owner.member_code == "70000349"


def test_system_of_the_tests_own_is_called_by_reflection(
    instance: Instance, desk: Desk
) -> None:
    absent = dict.fromkeys(("subject", "purpose", "legal_basis"))
    keys = instance.example.metadata(**{"service": DESK, **absent})
    before = len(desk.asked)
    status, answer, err = curl(instance, ASK, "-d", '{"text": "hei"}', keys=keys)
    assert (status, err) == (0, "")
    assert json.loads(answer) == {"text": "hei"}
    assert len(desk.asked) == before + 1
    status, _, err = curl(instance, WATCH, "-d", '{"text": "hei"}', keys=keys)
    assert status != 0
    assert json.loads(err)["code"] == "unimplemented"
    assert len(desk.asked) == before + 1
