"""Records becoming entries: checked, linked, and not yet durable.

A group of records is taken whole or not at all, and fails alone. Pure but for the key
of a new month, which must be durable before a tag is made with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from ledger.entry import LinkedEntry, link, query_columns
from ledger.examination import Place
from ledger.fields import Tag, commitments_of, commitments_root
from ledger.heads import HeadReader
from ledger.local_header import LocalHeader, microseconds, moment_of
from ledger.recent import ONCE_LIMIT, Recent
from ledger.record import Appended, Evidence, LedgerRecord, Once
from ledger.subject_keys import SubjectKeys, month_of, subject_tag
from vocabulary.faults import Replayed
from vocabulary.imprint import Imprint

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry, and the rows of other tables that belong to it."""

    entry: LinkedEntry
    header: LocalHeader
    openings: tuple[tuple[int, int, int, bytes, bytes], ...]
    index_rows: tuple[tuple[bytes, int, int], ...]

    @property
    def appended(self) -> Appended:
        return Appended(self.entry.seq, self.entry.round, self.entry.row_hash)


class Known(Protocol):
    """What is durable already."""

    def appended(self, seq: int) -> Appended: ...

    def has_evidence(self, imprint: Imprint) -> bool: ...


@dataclass(slots=True)
class Drafts:
    """One batch: what its groups become, given what the ledger holds."""

    place: Place
    round: int
    recent: Recent
    known: Known
    heads: HeadReader
    subject_keys: SubjectKeys
    drafts: list[Draft] = field(default_factory=list)
    _ids: dict[bytes, Appended] = field(default_factory=dict)
    _keys: set[bytes] = field(default_factory=set)

    def add(self, group: Sequence[LedgerRecord]) -> list[Appended]:
        """Give where each record will stand; a Fault or ValueError leaves no trace."""
        place, count = self.place, len(self.drafts)
        try:
            return [self._add(record) for record in group]
        except BaseException:
            for draft in self.drafts[count:]:
                del self._ids[draft.header.record_id]
                if draft.header.once is not None:
                    self._keys.remove(draft.header.once.key)
            del self.drafts[count:]
            self.place = place
            raise

    def _add(self, record: LedgerRecord) -> Appended:
        earlier = self._ids.get(record.record_id)
        if earlier is not None:
            return earlier
        number = self.recent.number_of(record.record_id)
        if number is not None:
            return self.known.appended(number)
        if record.once is not None:
            self._require_new(record.once)
        if record.evidence is not None:
            self._require_evidence(record.evidence)
        draft = self._link(record)
        self.drafts.append(draft)
        entry = draft.entry
        self.place = replace(self.place, seq=entry.seq + 1, prev=entry.row_hash)
        self._ids[record.record_id] = draft.appended
        if record.once is not None:
            self._keys.add(record.once.key)
        return draft.appended

    def _require_new(self, once: Once) -> None:
        if once.key in self._keys:
            raise Replayed("this part was received twice at once; the first counts")
        self.recent.require_new(once)
        if (
            microseconds(once.until)
            > self.place.recorded_at + ONCE_LIMIT // _MICROSECOND
        ):
            raise ValueError(f"a replay key to be kept until {once.until.isoformat()}")

    def _require_evidence(self, evidence: Evidence) -> None:
        for imprint in evidence.references:
            if not self.known.has_evidence(imprint):
                raise ValueError(f"put_evidence comes first; {imprint} is not held")

    def _link(self, record: LedgerRecord) -> Draft:
        commitments = commitments_of(record.fields)
        root = commitments_root(commitments)
        summary = None if record.part is None else self.heads.read(record.part)
        if summary is not None and summary.fields_root != root:
            raise ValueError("fields that are not those the head commits to")
        header = LocalHeader.of(record, self.place.recorded_at)
        entry = link(
            record.part,
            seq=self.place.seq,
            round_number=self.round,
            local_header=header.encode(),
            commitments=b"".join(commitments),
            fields_root=root,
            prev=self.place.prev,
            columns=query_columns(header, summary),
        )
        openings = _openings(entry.seq, record)
        return Draft(entry, header, openings, self._index(entry.seq, record))

    def _index(
        self, seq: int, record: LedgerRecord
    ) -> tuple[tuple[bytes, int, int], ...]:
        fields = enumerate(record.fields)
        named = {at: field.value for at, field in fields if field.tag == Tag.SUBJECT}
        if not named:
            return ()
        if named.keys() & set(record.unopened):
            raise ValueError("a subject that is not opened could not be looked up")
        month = month_of(moment_of(self.place.recorded_at))
        key = self.subject_keys.key_for_writing(month)
        tags = sorted(subject_tag(key, subject) for subject in set(named.values()))
        return tuple((tag, month, seq) for tag in tags)


def _openings(
    seq: int, record: LedgerRecord
) -> tuple[tuple[int, int, int, bytes, bytes], ...]:
    return tuple(
        (seq, position, field.tag, field.salt, field.value)
        for position, field in enumerate(record.fields)
        if position not in record.unopened
    )
