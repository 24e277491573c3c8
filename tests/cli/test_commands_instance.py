"""The demo from end to end, and the commands on the instance that it leaves."""

import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cli.__main__ import run
from cli.connection import find
from cli.demo.attacks import edited_row, forgotten, without_the_right, wrong_person
from cli.demo.narration import PICTURE, Narration, NotSo
from cli.demo.opening import question
from cli.demo.stage import Stage
from ledger.store import LedgerReader
from tests.cli.conftest import Ran

DEMO_WITHIN_S = 240


@dataclass(frozen=True)
class Instance:
    directory: Path
    story: str
    document: dict[str, Any]

    def run(self, *arguments: str) -> Ran:
        """Run a command on this instance, in this process: its start is not tested."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            named = () if arguments[0] == "demo" else ("--dir", str(self.directory))
            status = run([*arguments, *named])
        return Ran(status, out.getvalue(), err.getvalue())

    def json(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        ended = self.run(*arguments, "--json")
        assert ended.status == status, ended.err
        return ended.document

    def call(self, *changes: str, status: int = 0) -> dict[str, Any]:
        """Make the example's call, with other options than it names."""
        example = self.described["example"]
        given = dict(zip(changes[::2], changes[1::2], strict=True))
        named = {
            "--client": example["client"],
            "--service": example["service"],
            "--subject": example["subject"],
            "--purpose": example["purpose"],
            "--legal-basis": example["legal_basis"],
            "method": example["method"],
            "json": example["json"],
        } | given
        last = (named.pop("method"), named.pop("json"))
        options = [word for pair in named.items() for word in pair]
        return self.json("call", *options, *last, status=status)

    @property
    def described(self) -> dict[str, Any]:
        return json.loads((self.directory / "instance.json").read_text())

    def server(self, number: int) -> dict[str, Any]:
        return self.described["servers"][number]


@pytest.fixture(scope="module")
def kept() -> Iterator[Instance]:
    # Not tmp_path, which under root is closed to the account PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="ristmik-demo-test-"))
    command = [sys.executable, "-m", "cli", "demo", "--keep", "--json"]
    try:
        ended = subprocess.run(  # noqa: S603
            [*command, "--dir", str(directory)],
            capture_output=True,
            check=False,
            text=True,
            timeout=DEMO_WITHIN_S,
        )
        assert ended.returncode == 0, ended.stderr
        yield Instance(directory, ended.stderr, json.loads(ended.stdout))
    finally:
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "cli", "down", "--dir", str(directory)],
            check=True,
            timeout=120,
        )
        shutil.rmtree(directory)
        directory.with_name(f"{directory.name}.log").unlink(missing_ok=True)


def test_demo_claims_each_step_of_its_story(kept) -> None:
    assert kept.document["ok"] is True
    assert kept.document["kept"] is True
    assert kept.document["error"] is None
    titles = [chapter["title"] for chapter in kept.document["chapters"]]
    assert titles == [
        "Members are registered and approved",
        "A right is granted",
        "The tax board asks for a person",
        "Both ledgers hold it",
        "A checkpoint a second, time-stamped",
        "The same call, without the right",
        "The wrong person",
        "Somebody edits the ledger",
        "Forgotten, and still proved",
    ]
    assert all(chapter["claims"] for chapter in kept.document["chapters"])


def test_demo_draws_the_flow_and_says_how_to_go_on(kept) -> None:
    assert PICTURE in kept.story
    assert "\x1b" not in kept.story
    assert f"export RISTMIK_DIR={kept.directory}" in kept.story
    assert "ristmik down" in kept.story


def test_instance_is_sound_after_the_demo(kept) -> None:
    found = kept.json("doctor")
    assert found["ok"] is True
    for server in kept.described["servers"]:
        verified = kept.json("ledger", "verify", "--server", server["id"])
        assert (verified["ok"], verified["first_bad"]) == (True, None)
    rights = kept.json("access", "list")["rights"]
    assert [(right["client"], right["method"]) for right in rights] == [
        (kept.described["example"]["client"], None)
    ]


def test_doctor_names_what_is_wrong_and_its_cure(kept) -> None:
    path = Path(kept.server(0)["admin"].removeprefix("unix:"))
    path.chmod(0o666)
    try:
        found = kept.json("doctor", status=1)
        said = kept.run("doctor")
    finally:
        path.chmod(0o600)
    (wrong,) = (one for one in found["findings"] if not one["ok"])
    assert wrong["cure"] == f"chmod 0600 {path}"
    assert f"mend it with: {wrong['cure']}" in said.out
    assert said.status == 1


def test_call_prints_the_contract(kept) -> None:
    called = kept.call("method", "GetPerson")
    assert called["response"]["id"] == kept.described["example"]["subject"]
    assert (called["status"], called["fault"]) == ("OK", None)
    seq = called["records"]["consumer"]
    ended = kept.run("ledger", "tail", "--server", kept.server(0)["id"], "--json")
    entries = {
        entry["entry"]: entry for entry in map(json.loads, ended.out.splitlines())
    }
    assert entries[seq]["message_id"] == called["message_id"]
    assert entries[seq]["kind"] == "RESPONSE_RECEIVED"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (("--client", "EE-SANDBOX/GOV/1/none"), "CLIENT_UNKNOWN"),
        (("--client", "none"), "METADATA_INVALID"),
        (("--service", "EE-SANDBOX/GOV/1/none/none/v1"), "MEMBER_UNKNOWN"),
        (
            ("--service", "EE-SANDBOX/GOV/70008440/population/none/v1"),
            "SERVICE_UNKNOWN",
        ),
        (("method", "GetNobody"), "METHOD_UNKNOWN"),
        (("--purpose", ""), "PURPOSE_MISSING"),
        (("--purpose", "NONE"), "PURPOSE_UNKNOWN"),
        (("--legal-basis", ""), "LEGAL_BASIS_MISSING"),
        (("--subject", "PNOEE-38001085718"), "SUBJECT_MISMATCH"),
        (("--subject", "nobody"), "METADATA_INVALID"),
        (("--message-id", "1"), "METADATA_INVALID"),
        (
            (
                *("--service", "EE-SANDBOX/GOV/74000091/health/insurance/v1"),
                *("method", "GetInsurance"),
            ),
            "ACCESS_DENIED",
        ),
    ],
)
def test_refusal_is_a_fault_that_knows_the_register_was_not_asked(
    kept, changes, code
) -> None:
    called = kept.call(*changes, status=1)
    assert called["response"] is None
    assert called["fault"]["code"] == code
    assert called["fault"]["execution"] == "NOT_EXECUTED"
    assert called["fault"]["origin"] in {one["id"] for one in kept.described["servers"]}


def test_error_of_the_register_is_its_own(kept) -> None:
    nobody = "PNOEE-60001019906"
    called = kept.call(
        *("--subject", nobody, "json", json.dumps({"person_id": nobody})), status=1
    )
    assert (called["status"], called["fault"]) == ("NOT_FOUND", None)
    assert called["records"]


def test_field_that_the_message_has_not_is_misuse(kept) -> None:
    called = kept.call("json", '{"colour": 1}', status=2)
    assert "colour" in called["error"]["detail"]


def test_service_is_added_granted_called_and_removed(kept) -> None:
    (service,) = (s for s in kept.described["services"] if "persons" in s["id"])
    other = service["id"].replace("persons/v1", "persons/v2")
    (listed,) = (
        s for s in kept.json("service", "list")["services"] if s["id"] == service["id"]
    )
    fields = [
        *(
            word
            for field in service["request_subjects"]
            for word in ("--request-subject", field)
        ),
        *(
            word
            for field in service["response_subjects"]
            for word in ("--response-subject", field)
        ),
    ]
    address = ("--address", listed["address"])
    added = kept.json("service", "add", other, *address, "--personal", *fields)
    assert added["service"]["methods"] == listed["methods"]
    client = kept.described["example"]["client"]
    assert kept.call("--service", other, status=1)["fault"]["code"] == "ACCESS_DENIED"
    kept.json("access", "grant", other, client, "--method", "GetPerson")
    assert kept.call("--service", other)["status"] == "OK"
    kept.json("access", "revoke", other, client, "--method", "GetPerson")
    assert kept.call("--service", other, status=1)["fault"]["code"] == "ACCESS_DENIED"
    kept.json("service", "remove", other)
    assert kept.call("--service", other, status=1)["fault"]["code"] == "SERVICE_UNKNOWN"


def test_kept_checkpoint_is_of_its_own_ledger_only(kept, tmp_path) -> None:
    mine, other = (kept.server(number)["id"] for number in (0, 1))
    note = tmp_path / "note"
    note.write_text(kept.run("ledger", "checkpoint", "--server", mine).out)
    assert kept.call()["status"] == "OK"
    against = ("--against", str(note))
    assert kept.json("ledger", "verify", "--server", mine, *against)["ok"] is True
    refused = kept.json("ledger", "verify", "--server", other, *against, status=2)
    assert refused["error"]["code"] == "USAGE"
    note.write_text("nothing\n")
    kept.json("ledger", "verify", "--server", mine, *against, status=2)


def test_edited_row_is_named_by_entry_code_and_mechanism(kept) -> None:
    called = kept.call()
    server, seq = kept.server(0), called["records"]["consumer"]
    with psycopg.connect(server["database_dsn"], autocommit=True) as superuser:

        def set_status(status: int) -> None:
            superuser.execute(
                "ALTER TABLE ledger.entry_000000 DISABLE TRIGGER refuse_update"
            )
            superuser.execute(
                "UPDATE ledger.entry SET status = %s WHERE seq = %s", (status, seq)
            )
            superuser.execute(
                "ALTER TABLE ledger.entry_000000 ENABLE ALWAYS TRIGGER refuse_update"
            )

        set_status(7)
        try:
            verified = kept.json("ledger", "verify", "--server", server["id"], status=1)
            said = kept.run("ledger", "verify", "--server", server["id"])
        finally:
            set_status(0)
    assert verified["ok"] is False
    assert verified["first_bad"] == {
        "entry": seq,
        "code": "COLUMN_MISMATCH",
        "caught_by": "DERIVED_COLUMN",
    }
    assert said.status == 1
    assert f"entry {seq}: COLUMN_MISMATCH" in said.out


def test_erased_content_is_gone_and_all_verifies(kept) -> None:
    called = kept.call()
    server, seq = kept.server(0), called["records"]["consumer"]
    named = ("--server", server["id"])
    erased = kept.json("ledger", "erase", *named, str(seq), "--reason", "a test")
    assert erased["openings"] > 0
    assert kept.json("ledger", "verify", *named)["ok"] is True
    unknown = kept.json("ledger", "erase", *named, "999999", "--reason", "r", status=1)
    assert unknown["error"]["code"] == "ENTRY_UNKNOWN"


def test_certificates_of_members_and_servers_are_listed(kept) -> None:
    listed = kept.json("certificate", "list")["certificates"]
    held = {(one["usage"], one["holder"]) for one in listed}
    for server in kept.described["servers"]:
        assert ("signing", server["member"]) in held
        assert ("authentication", server["id"]) in held


def test_second_demo_on_a_running_instance_says_so(kept) -> None:
    refused = kept.run("demo", "--dir", str(kept.directory), "--json")
    assert refused.status == 3
    assert refused.document["error"]["code"] == "DIRECTORY_UNUSABLE"


@pytest.fixture
def stage(kept, tmp_path) -> Stage:
    return Stage(find(kept.directory), Narration(on_stderr=True), elsewhere=tmp_path)


def test_edit_that_nobody_finds_fails_the_demo_and_is_put_back(
    stage, monkeypatch
) -> None:
    question(stage)
    sound = stage.verify(stage.provider, against=None)
    assert sound.ok
    with monkeypatch.context() as blind:
        blind.setattr(stage, "verify", lambda _server, against: sound)
        with pytest.raises(NotSo, match="verification names entry"):
            edited_row(stage)
    assert stage.verify(stage.provider, against=None).ok


def test_right_that_stays_fails_the_demo(stage, monkeypatch) -> None:
    monkeypatch.setattr("cli.demo.stage.WITHIN_S", 1.0)
    monkeypatch.setattr(stage, "revoke_all", lambda: None)
    with pytest.raises(NotSo, match="refused once the right is gone"):
        without_the_right(stage)


def test_wrong_person_that_gets_an_answer_fails_the_demo(stage, monkeypatch) -> None:
    call = stage.call
    monkeypatch.setattr(stage, "call", lambda **_named: call())
    with pytest.raises(NotSo, match="SUBJECT_MISMATCH"):
        wrong_person(stage)


def test_content_that_stays_fails_the_demo(stage, monkeypatch) -> None:
    question(stage)
    monkeypatch.setattr(LedgerReader, "openings", lambda _reader, seq: [seq])
    with pytest.raises(NotSo, match="are gone from"):
        forgotten(stage)
