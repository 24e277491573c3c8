"""A second verifier of a ledger, written from docs/ledger-format.md alone.

Standard library only, nothing of the product. It reads the rows of all tables as JSON
lines, as the page says how to dump them; it verifies no signatures and no tokens.

    python reference_verifier.py DUMP [DIRECTORY OF SUBJECT KEYS [HELD CHECKPOINT]]
"""

import base64
import hashlib
import hmac
import json
import struct
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

ERASURE, SUBJECT, ERASED, KEPT = 11, 2, 10, 12
# Local header: octets of each item, or of each of several.
ONE = {1: 1, 2: 8, 3: 16, 4: 32, 5: 4, 6: 1, 7: 32, 8: 8, 11: 8, 13: 32, 15: 33}
MANY = {9: 2, 10: 1, 12: 32, 14: 33}
TOGETHER = ({1, 2, 3}, {7, 8}, {10, 11, 13})
COLUMNS = "message_id direction part client service method purpose legal_basis status"
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Bad(Exception):
    """The entry, and the code of what is wrong with it."""


def check(holds, entry, code):
    if not holds:
        raise Bad(entry, code)


def h(*octets):
    return hashlib.sha256(b"".join(octets)).digest()


def cut(octets, size):
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def tree(leaves):
    """RFC 6962 §2.1; leaves are hashes already."""
    if len(leaves) < 2:
        return leaves[0] if leaves else h()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return h(b"\1", tree(leaves[:split]), tree(leaves[split:]))


def local_header(octets):
    items, at, before = {}, 0, 0
    while at < len(octets):
        tag, length = struct.unpack_from(">HI", octets, at)
        value, at = octets[at + 6 : at + 6 + length], at + 6 + length
        each = MANY.get(tag)
        right = length == ONE.get(tag) or (each and length > 0 and length % each == 0)
        zero = tag in (1, 5, 6) and not any(value)
        if tag <= before or len(value) != length or not right or zero:
            raise ValueError(tag)
        items[tag], before = value, tag
    positions = [int.from_bytes(item, "big") for item in cut(items.get(9, b""), 2)]
    signed = TOGETHER[2] <= items.keys() or max(items, default=0) < 10
    paired = not items.keys() & {7, 8} or TOGETHER[1] <= items.keys()
    ordered = positions == sorted(set(positions))
    if not (TOGETHER[0] <= items.keys() and signed and paired and ordered):
        raise ValueError("not whole")
    return items, positions


def number(items, tag):
    return int.from_bytes(items.get(tag, b""), "big") or None


def opens(row, commitment):
    tag, salt = row["tag"], row["salt"]
    right = 0 <= tag < 1 << 16 and len(salt) == 32
    return right and h(b"\2", struct.pack(">H", tag), salt, row["value"]) == commitment


def protobuf(octets):
    """Fields by number: the last of each is what counts."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            octet, at = octets[at], at + 1
            value, shift = value | (octet & 127) << shift, shift + 7
            if octet < 128:
                return value

    while at < len(octets):
        key = varint()
        if key & 7 == 0:
            fields[key >> 3] = varint()
        elif key & 7 == 2:
            length = varint()
            fields[key >> 3], at = octets[at : at + length], at + length
        else:
            raise ValueError("no such field in any head")
    return fields


def name(octets, depth):
    """An identifier: the innermost message comes first in each."""
    fields = protobuf(octets)
    parts = [fields[n].decode() for n in sorted(fields) if depth == 0 or n > 1]
    return "/".join([name(fields[1], depth - 1), *parts] if depth else parts)


def read_head(part_type, head):
    """Query columns and fields_root of a head (protos/v1/exchange.proto)."""
    fields = protobuf(head)
    who, link = protobuf(fields.get(1, b"")), protobuf(fields.get(4, b""))
    told = dict.fromkeys(COLUMNS.split())
    if who:
        told |= {"message_id": who[1].decode(), "method": who[4].decode()}
        told |= {"client": name(who[2], 1), "service": name(who[3], 2)}
    direction, part, status, why = 2, 0, 0, (8, 9)
    if part_type == "ristmik.open.v1":
        direction, why = 1, (5, 6)
    elif part_type == "ristmik.close.v1":
        direction, part, status, why = link[2], link.get(3, 0), fields.get(6, 0), ()
    codes = zip(("purpose", "legal_basis"), why, strict=False)
    told |= {code: fields[n].decode() for code, n in codes if n in fields}
    return told | {"direction": direction, "part": part, "status": status}, fields[3]


def row_of(line):
    """A row of PostgreSQL's row_to_json; times as microseconds since 1970."""
    row = json.loads(line)
    for column, value in row.items():
        if isinstance(value, str) and value.startswith("\\x"):
            row[column] = bytes.fromhex(value[2:])
        elif column in ("recorded_at", "closed_at", "ledger_time"):
            finite = value != "infinity"
            moment = datetime.fromisoformat(value) if finite else None
            row[column] = (moment - EPOCH) // MICROSECOND if moment else None
    return row


class Ledger:
    def __init__(self, lines, keys, heads=read_head):
        self.keys, self.heads = keys, heads
        self.tables, self.beside, self.erased, self.kept = {}, {}, set(), {}
        for row in map(row_of, lines):
            self.tables.setdefault(row.pop("table"), []).append(row)
        for table in ("opening", "subject_index", "subject_index_withheld"):
            for row in self.rows(table):
                self.beside.setdefault((table, row["seq"]), []).append(row)
        self.rounds = sorted(self.rows("round"), key=lambda row: row["round"])
        self.kept_evidence = {
            row["imprint"]: row["der"] for row in self.rows("evidence")
        }
        self.leaves, self.open, self.covered, self.time = [], 0, 0, 0

    def rows(self, table):
        return self.tables.get(table, [])

    def verify(self, held=None):
        """Give entry and code of the first thing that is wrong, or None."""
        try:
            self.run(held)
        except Bad as bad:
            return bad.args
        return None

    def run(self, held):
        entries = sorted(self.rows("entry"), key=lambda row: row["seq"])
        for entry in entries:
            self.read_erasure(entry)
        self.compare(held)
        prev, before = bytes(32), 0
        for seq, entry in enumerate(entries):
            items, positions = self.examine(seq, entry, prev, before)
            prev, before = entry["row_hash"], number(items, 2) or 0
            self.grow(seq, entry)
            self.compare(held)
            self.index(seq, before, self.openings(seq, entry, positions))
            self.evidence(seq, items)
        self.finish(held, prev)

    def read_erasure(self, entry):
        commitments = cut(entry["commitments"], 32)
        for row in self.beside.get(("opening", entry["seq"]), []):
            try:
                erasure = local_header(entry["local_header"])[0][1] == bytes([ERASURE])
                right = erasure and opens(row, commitments[row["position"]])
            except (ValueError, IndexError, struct.error):
                continue
            if right and row["tag"] == ERASED:
                self.erased |= {
                    int.from_bytes(each, "big") for each in cut(row["value"], 8)
                }
            elif right and row["tag"] == KEPT:
                for each in cut(row["value"], 24):
                    seq = int.from_bytes(each[:8], "big")
                    self.kept.setdefault(seq, set()).add(each[8:])

    def examine(self, seq, entry, prev, before):
        check(entry["seq"] == seq, seq, "ENTRY_MISSING")
        check(entry["recorded_at"] is not None, seq, "ROW_UNREADABLE")
        part, head = b"", entry["head"]
        whole = (head is None) == (entry["part_type"] is None)
        if whole and head is not None:
            kind = entry["part_type"].encode()
            pae = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(head), head)
            part = b"\1" + h(b"\0", pae)
        header, root = entry["local_header"], entry["fields_root"]
        numbers = struct.pack(">QQ", seq, entry["round"])
        row = h(b"\3", numbers, h(header), part, root, entry["prev"])
        check(whole and row == entry["row_hash"], seq, "ROW_HASH_MISMATCH")
        check(entry["prev"] == prev, seq, "LINK_BROKEN")
        try:
            items, positions = local_header(header)
        except (ValueError, struct.error):
            raise Bad(seq, "LOCAL_HEADER_MALFORMED") from None
        check((number(items, 2) or 0) >= before, seq, "TIME_GOES_BACK")
        check(tree(cut(entry["commitments"], 32)) == root, seq, "COMMITMENTS_MISMATCH")
        self.columns(seq, entry, items)
        return items, positions

    def columns(self, seq, entry, items):
        told = dict.fromkeys(COLUMNS.split())
        if entry["head"] is not None:
            try:
                told, root = self.heads(entry["part_type"], entry["head"])
            except (ValueError, LookupError, TypeError):
                raise Bad(seq, "HEAD_UNREADABLE") from None
            check(root == entry["fields_root"], seq, "HEAD_FIELDS_MISMATCH")
        own = {"kind": 1, "recorded_at": 2, "fault_code": 5, "execution": 6}
        told = told | {column: number(items, tag) for column, tag in own.items()}
        right = all(entry[column] == value for column, value in told.items())
        check(right, seq, "COLUMN_MISMATCH")

    def grow(self, seq, entry):
        check(entry["round"] >= self.open, seq, "ROUND_MISMATCH")
        while self.open < entry["round"]:
            self.close()
        check(entry["recorded_at"] >= self.time, seq, "ROUND_TIME_MISMATCH")
        self.time = entry["recorded_at"]
        self.leaves.append(h(b"\0", entry["row_hash"]))

    def close(self):
        there = self.rounds and self.rounds[0]["round"] == self.open
        check(there, self.covered, "ROUND_MISSING")
        row, size, root = self.rounds.pop(0), len(self.leaves), tree(self.leaves)
        text = [str(size), base64.b64encode(root).decode()]
        right = row["note"].decode().split("\n")[1:3] == text
        right = right and (row["size"], row["root"]) == (size, root)
        check(right, self.covered, "CHECKPOINT_MISMATCH")
        check(row["closed_at"] >= self.time, self.covered, "ROUND_TIME_MISMATCH")
        self.open, self.covered, self.time = self.open + 1, size, row["closed_at"]

    def openings(self, seq, entry, positions):
        commitments = cut(entry["commitments"], 32)
        missing, subjects = set(range(len(commitments))) - set(positions), []
        rows = self.beside.pop(("opening", seq), [])
        for row in sorted(rows, key=lambda row: row["position"]):
            check(row["position"] in missing, seq, "OPENING_SURPLUS")
            missing.remove(row["position"])
            right = opens(row, commitments[row["position"]])
            check(right, seq, "OPENING_ALTERED")
            subjects += [row["value"]] if row["tag"] == SUBJECT else []
        check(not missing or seq in self.erased, seq, "OPENING_MISSING")
        return subjects

    def index(self, seq, recorded_at, subjects):
        moment = EPOCH + recorded_at * MICROSECOND
        month = moment.year * 100 + moment.month
        rows = self.beside.pop(("subject_index", seq), [])
        withheld = self.beside.pop(("subject_index_withheld", seq), [])
        made = {hmac.digest(self.keys[month], each, "sha256")[:16] for each in subjects}
        made |= self.kept.get(seq, set())
        present = {row["tag"] for row in rows if row["month"] == month}
        check(made <= present, seq, "INDEX_ROW_MISSING")
        check(len(rows) + len(withheld) <= len(made), seq, "INDEX_ROW_SURPLUS")

    def evidence(self, seq, items):
        named = [b"\1" + items[13]] if 13 in items else []
        named += cut(items.get(14, b""), 33) + cut(items.get(15, b""), 33)
        for imprint in named:
            check(imprint in self.kept_evidence, seq, "EVIDENCE_MISSING")
            right = b"\1" + h(self.kept_evidence[imprint]) == imprint
            check(right, seq, "EVIDENCE_ALTERED")

    def compare(self, held):
        if held is not None and held[0] == len(self.leaves):
            check(held[1] == tree(self.leaves), 0, "HELD_ROOT_DIFFERS")

    def finish(self, held, last):
        counted = max((row["seq"] for row in self.rows("head")), default=0)
        check(counted <= len(self.leaves), len(self.leaves), "ENTRY_MISSING")
        while self.rounds:
            self.close()
        size = len(self.leaves)
        check(held is None or held[0] <= size, size, "SMALLER_THAN_HELD")
        for table, seq in self.beside:
            code = "OPENING" if table == "opening" else "INDEX_ROW"
            raise Bad(min(seq, size), f"{code}_SURPLUS")
        for imprint, der in self.kept_evidence.items():
            check(b"\1" + h(der) == imprint, size, "EVIDENCE_ALTERED")
        head = {"seq": size, "round": self.open, "row_hash": last}
        head["ledger_time"] = self.time
        rows = [{column: row[column] for column in head} for row in self.rows("head")]
        check(rows == [head], size, "HEAD_ROW_MISMATCH")


def keys_in(directory):
    return {int(path.stem): path.read_bytes() for path in directory.glob("*.key")}


def checkpoint(note):
    _, size, root = note.split("\n")[:3]
    return int(size), base64.b64decode(root)


if __name__ == "__main__":
    dump, *more = map(Path, sys.argv[1:])
    keys = keys_in(more[0]) if more else {}
    held = checkpoint(more[1].read_text()) if more[1:] else None
    found = Ledger(dump.read_text().splitlines(), keys).verify(held)
    print(f"entry {found[0]}: {found[1]}" if found else "ok")  # noqa: T201
    sys.exit(bool(found))
