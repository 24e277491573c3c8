"""Keys of the subject index: one a month, outside the database.

Who holds the database alone cannot tell whom a row is about, nor guess it; who destroys
a month's key makes that month's rows say nothing for ever. A key is durable before a
tag is made with it.
"""

import hmac
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from vocabulary.durable import create_directory, create_file

KEY_OCTETS = 32
TAG_OCTETS = 16
_SUFFIX = ".key"


def month_of(moment: datetime) -> int:
    """Which month's key covers `moment`: 202611 is November 2026, UTC."""
    utc = moment.astimezone(UTC)
    return utc.year * 100 + utc.month


def subject_tag(key: bytes, subject: bytes) -> bytes:
    """Name a person for whoever holds the month's key, and for nobody else.

    `subject` is the canonical identifier as it stands in a SUBJECT field: a semantic
    identifier in UTF-8.
    """
    return hmac.digest(key, subject, "sha256")[:TAG_OCTETS]


class SubjectKeys:
    """The directory of month keys of one security server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[int, bytes] = {}

    def key(self, month: int) -> bytes:
        """Give the key of `month`. Raises KeyError if there is none."""
        if month not in self._keys:
            path = self._path(month)
            try:
                octets = path.read_bytes()
            except FileNotFoundError as error:
                raise KeyError(f"no subject key of {month}") from error
            if len(octets) != KEY_OCTETS:
                raise ValueError(f"{path} does not hold a key of {KEY_OCTETS} octets")
            self._keys[month] = octets
        return self._keys[month]

    def key_for_writing(self, month: int) -> bytes:
        """Give the key of `month`, made and durable if there was none."""
        try:
            return self.key(month)
        except KeyError:
            create_directory(self._directory)
            # Another writer of this ledger may have been first: then its key counts.
            with suppress(FileExistsError):
                create_file(self._path(month), secrets.token_bytes(KEY_OCTETS))
            return self.key(month)

    def months(self) -> list[int]:
        """Months there are keys of, oldest first."""
        names = (path.stem for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted(int(name) for name in names if re.fullmatch(r"\d{6}", name))

    def _path(self, month: int) -> Path:
        return self._directory / f"{month:06d}{_SUFFIX}"
