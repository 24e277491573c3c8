"""The subject index, rebuilt from openings and from what erasures kept."""

from typing import Final

from ledger.audit.rows import Row, Rows, broken
from ledger.erased import Erased
from ledger.examination import ExaminedEntry
from ledger.findings import Code
from ledger.snapshot import Snapshot
from ledger.subject_keys import SubjectKeys, month_of, subject_tag

_QUERY: Final = (
    "SELECT seq, tag, month, false AS withheld FROM ledger.subject_index"
    " UNION ALL"
    " SELECT seq, tag, month, true FROM ledger.subject_index_withheld"
    " ORDER BY seq, tag"
)
_TYPES: Final = ("int8", "bytea", "int4", "bool")


class IndexAudit:
    def __init__(
        self, snapshot: Snapshot, subject_keys: SubjectKeys, erased: Erased
    ) -> None:
        self._rows = Rows(snapshot.stream(_QUERY, _TYPES))
        self._subject_keys = subject_keys
        self._kept = erased.index_rows
        self.months_without_key: set[int] = set()

    def check(self, examined: ExaminedEntry, subjects: list[bytes]) -> None:
        """Raise LedgerBroken unless exactly the rows of this entry are there."""
        seq = examined.entry.seq
        rows = self._rows.up_to(seq)
        for row in rows:
            if row[0] != seq:
                raise _surplus(row)
        if not subjects and not rows and seq not in self._kept:
            return
        month = month_of(examined.entry.columns.recorded_at)
        try:
            key = self._subject_keys.key(month)
        except KeyError:
            self.months_without_key.add(month)
            return
        expected = {subject_tag(key, subject) for subject in subjects}
        expected |= self._kept.get(seq, set())
        # None is withheld in this edition.
        present = [row[1] for row in rows if row[2:] == (month, False)]
        if expected.difference(present):
            detail = "a person it concerns would not find it"
            raise broken(seq, Code.INDEX_ROW_MISSING, detail)
        if len(rows) > len(expected):
            raise _surplus(rows[0])

    def finish(self, size: int) -> None:
        if self._rows.next_number is not None:
            raise _surplus((min(self._rows.next_number, size),))


def _surplus(row: Row) -> Exception:
    detail = "a row of the subject index that nothing in the entry accounts for"
    return broken(row[0], Code.INDEX_ROW_SURPLUS, detail)
