"""Month keys: made once, durable first, and worth nothing when they are gone."""

import hmac
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from ledger.subject_keys import SubjectKeys, month_of, subject_tag
from vocabulary import durable


def test_a_key_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    keys = SubjectKeys(directory)
    assert keys.months() == []
    with pytest.raises(KeyError):
        keys.key(202611)
    made = keys.key_for_writing(202611)
    assert len(made) == 32
    assert keys.key_for_writing(202611) == made == SubjectKeys(directory).key(202611)
    assert keys.key_for_writing(202612) != made
    assert keys.months() == [202611, 202612]
    assert directory.stat().st_mode & 0o777 == 0o700
    for path in directory.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_key_of_whoever_was_first_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, first = SubjectKeys(tmp_path), SubjectKeys(tmp_path)
    link = durable.os.link

    def overtaken(*arguments):
        monkeypatch.setattr(durable.os, "link", link)
        first.key_for_writing(202611)
        link(*arguments)

    monkeypatch.setattr(durable.os, "link", overtaken)
    assert late.key_for_writing(202611) == first.key(202611)
    assert [path.name for path in tmp_path.iterdir()] == ["202611.key"]


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "202611.key").write_bytes(b"short")
    (tmp_path / "notes.key").write_bytes(b"")
    with pytest.raises(ValueError, match="32 octets"):
        SubjectKeys(tmp_path).key_for_writing(202611)
    assert SubjectKeys(tmp_path).months() == [202611]


def test_a_key_that_is_not_durable_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(durable.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        SubjectKeys(tmp_path).key_for_writing(202611)
    assert list(tmp_path.iterdir()) == []


def test_a_month_is_utc() -> None:
    assert month_of(datetime(2026, 12, 1, tzinfo=UTC)) == 202612
    east = timezone(timedelta(hours=2))
    assert month_of(datetime(2026, 12, 1, 1, tzinfo=east)) == 202611


def test_a_tag_is_half_an_hmac() -> None:
    key, subject = bytes(32), b"PNOEE-38001085718"
    assert subject_tag(key, subject) == hmac.digest(key, subject, "sha256")[:16]
