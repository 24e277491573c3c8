"""Exit codes, and which stream says what, of every kind of ending."""

import json

import pytest

from tests.end_to_end.instance import Instance

SERVICE = "EE-SANDBOX/GOV/70008440/population/persons/v1"
TAX_SERVER = "EE-SANDBOX/GOV/70000349/ss1"
USAGE = {
    "an unknown command": ("fly",),
    "no option that must be there": ("ledger", "verify"),
    "a malformed identifier": ("ledger", "verify", "--server", "EE/ss1"),
    "a number that is none": ("requests", "approve", "first"),
    "a file that is not there": (
        *("ledger", "verify", "--server", TAX_SERVER),
        *("--against", "/nowhere/kept.note"),
    ),
}
NOT_SO = {
    "a request that is not there": (
        ("requests", "approve", "999999"),
        "REQUEST_UNKNOWN",
    ),
    "a right that was not granted": (
        ("access", "revoke", SERVICE, "EE-SANDBOX/GOV/74000091/health"),
        "RIGHT_UNKNOWN",
    ),
    "a service that is not registered": (
        ("service", "remove", SERVICE.replace("v1", "v9")),
        "SERVICE_UNKNOWN",
    ),
    "an entry that is not there": (
        ("ledger", "erase", "--server", TAX_SERVER, "999999", "--reason", "old"),
        "ENTRY_UNKNOWN",
    ),
}


@pytest.mark.parametrize("what", USAGE)
def test_usage_is_2(instance: Instance, what: str) -> None:
    ran = instance.ristmik(*USAGE[what], "--json")
    assert ran.status == 2
    assert ran.document["error"]["code"] == "USAGE"
    assert ran.document["error"]["detail"] in ran.err


def test_json_that_is_none_is_usage_and_is_not_sent(instance: Instance) -> None:
    before = instance.count("population")
    ran = instance.call(json="{person}")
    assert (ran.status, ran.document["error"]["code"]) == (2, "USAGE")
    asked = {"ristmik.v1.DescriptionService/Describe"}
    added = instance.entries("population")[before:]
    assert {entry.method for entry in added} <= asked


@pytest.mark.parametrize("what", NOT_SO)
def test_what_is_not_so_is_1(instance: Instance, what: str) -> None:
    arguments, code = NOT_SO[what]
    ran = instance.ristmik(*arguments, "--json")
    assert ran.status == 1
    assert ran.document["error"]["code"] == code
    assert ran.document["error"]["detail"] in ran.err


def test_failure_leaves_standard_output_empty_for_people(instance: Instance) -> None:
    ran = instance.ristmik("requests", "approve", "999999")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.startswith("ristmik: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("ledger", "tail", "--server", TAX_SERVER),
        ("call", "--client", "EE-SANDBOX/GOV/70000349/tax", "--service", SERVICE, "M"),
    ],
)
def test_no_instance_is_3(instance: Instance, arguments: tuple[str, ...]) -> None:
    nowhere = str(instance.directory / "nowhere")
    ran = instance.ristmik(*arguments, "--dir", nowhere, "--json")
    assert ran.status == 3
    assert ran.document["error"]["code"] == "UNREACHABLE"
    assert "ristmik up" in ran.document["error"]["detail"]


def test_second_instance_in_a_directory_is_refused(instance: Instance) -> None:
    ran = instance.ristmik("up", "--dir", str(instance.directory), "--json")
    assert ran.status == 3
    assert "in use" in ran.document["error"]["detail"]
    assert instance.call().status == 0


def test_lists_are_one_document_each(instance: Instance) -> None:
    for name in ("member", "subsystem", "server", "service", "certificate"):
        ran = instance.ristmik(name, "list", "--json")
        assert (ran.status, ran.err) == (0, ""), name
        (found,) = json.loads(ran.out).values()
        assert len(found) >= 2, name
