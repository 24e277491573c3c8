"""The worked examples of docs/ledger-format.md: everything in them is made here."""

import textwrap
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import LogKey
from ledger.entry import NO_ROW, LinkedEntry, entry_leaf, link, query_columns
from ledger.fields import Field, Tag, commitments_of, fields_root
from ledger.local_header import LocalHeader, microseconds
from ledger.merkle import EMPTY_ROOT, tree_root
from ledger.record import Evidence, Kind, Once, RecordedPart
from ledger.subject_keys import subject_tag
from messaging.heads import HeadReader
from protos.v1 import exchange_pb2, identifier_pb2
from vocabulary.imprint import Imprint
from vocabulary.pae import pae

AT = datetime(2026, 11, 25, 12, 0, 0, 1, tzinfo=UTC)
FIELDS = (
    Field(Tag.BODY, bytes(range(32)), b"\x0a\x0b38001085718"),
    Field(Tag.SUBJECT, bytes(range(32, 64)), b"PNOEE-38001085718"),
)
SUBJECT_KEY = bytes(range(64, 96))
KEY = LogKey(
    "EE/GOV/70000349/ss1/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
)


def _head() -> bytes:
    def member(code: str) -> identifier_pb2.MemberId:
        return identifier_pb2.MemberId(
            instance="EE", member_class="GOV", member_code=code
        )

    tax = identifier_pb2.SubsystemId(member=member("70000349"), subsystem_code="tax")
    population = identifier_pb2.SubsystemId(
        member=member("70008440"), subsystem_code="population"
    )
    head = exchange_pb2.Open(
        identities=exchange_pb2.Identities(
            message_id="019ab0c4-7000-7000-8000-000000000001",
            client=tax,
            service=identifier_pb2.ServiceId(
                provider=population, service_code="persons", service_version="v1"
            ),
            method="population.v1.PersonRegistry/GetPerson",
            consumer_server=identifier_pb2.SecurityServerId(
                owner=member("70000349"), server_code="ss1"
            ),
            provider_server=identifier_pb2.SecurityServerId(
                owner=member("70008440"), server_code="ss1"
            ),
        ),
        fields_root=fields_root(FIELDS),
        purpose="tax-audit",
        legal_basis="TaxAct-10",
        disclosure_class=exchange_pb2.DISCLOSURE_CLASS_OPEN,
    )
    head.issued_at.FromDatetime(AT)
    return head.SerializeToString(deterministic=True)


PART = RecordedPart("ristmik.open.v1", _head())
HEADER = LocalHeader(
    Kind.REQUEST_RECEIVED,
    microseconds(AT),
    bytes.fromhex("019ab0c4700070008000000000000002"),
    peer_row_hash=b"\x11" * 32,
    once=Once(b"\x22" * 32, datetime(2026, 11, 25, 12, 6, tzinfo=UTC)),
    evidence=Evidence(
        signature=b"\x33" * 8,
        leaf_index=1,
        leaf_count=2,
        path=(b"\x44" * 32,),
        certificate=b"\x55" * 32,
        chain=(),
        ocsp=Imprint.sha2_256(b"\x66" * 32),
    ),
)
PLAIN = LocalHeader(
    Kind.CONFIGURATION_CHANGED,
    microseconds(AT) + 1,
    bytes.fromhex("019ab0c4700070008000000000000003"),
)


def entries() -> tuple[LinkedEntry, LinkedEntry]:
    first = link(
        PART,
        seq=0,
        round_number=0,
        local_header=HEADER.encode(),
        commitments=b"".join(commitments_of(FIELDS)),
        fields_root=fields_root(FIELDS),
        prev=NO_ROW,
        columns=query_columns(HEADER, HeadReader().read(PART)),
    )
    second = link(
        None,
        seq=1,
        round_number=0,
        local_header=PLAIN.encode(),
        commitments=b"",
        fields_root=EMPTY_ROOT,
        prev=first.row_hash,
        columns=query_columns(PLAIN, None),
    )
    return first, second


def _lines(*named: tuple[str, bytes]) -> str:
    width = max(len(name) for name, _ in named) + 2
    made = []
    for name, octets in named:
        rows = textwrap.wrap(octets.hex(), 64) or ["(nothing)"]
        made += [f"{name:<{width}}{rows[0]}"]
        made += [" " * width + row for row in rows[1:]]
    return "\n".join(made)


def _items(header: bytes) -> list[tuple[str, bytes]]:
    items = []
    while header:
        length = 6 + int.from_bytes(header[2:6], "big")
        items.append((f"tag {int.from_bytes(header[:2], 'big')}", header[:length]))
        header = header[length:]
    return items


def examples() -> dict[str, str]:
    first, second = entries()
    commitments = commitments_of(FIELDS)
    root = tree_root([entry_leaf(each.row_hash) for each in (first, second)])
    checkpoint = KEY.sign(2, root)
    return {
        "fields": _lines(
            ("salt 0", FIELDS[0].salt),
            ("value 0", FIELDS[0].value),
            ("commitment 0", commitments[0]),
            ("salt 1", FIELDS[1].salt),
            ("value 1", FIELDS[1].value),
            ("commitment 1", commitments[1]),
            ("fields_root", fields_root(FIELDS)),
        ),
        "part": _lines(
            ("head", PART.head),
            ("PAE", pae(PART.type, PART.head)),
            ("imprint", PART.imprint.octets),
        ),
        "local header": _lines(*_items(first.local_header)),
        "rows": _lines(
            ("row_hash 0", first.row_hash),
            ("leaf 0", entry_leaf(first.row_hash)),
            ("local header 1", second.local_header),
            ("fields_root 1", second.fields_root),
            ("row_hash 1", second.row_hash),
            ("leaf 1", entry_leaf(second.row_hash)),
            ("root", root),
        ),
        "subject": _lines(
            ("key of 202611", SUBJECT_KEY),
            ("tag", subject_tag(SUBJECT_KEY, FIELDS[1].value)),
        ),
        "checkpoint": f"{KEY.vkey}\n\n{checkpoint.note.decode()}".rstrip("\n"),
        "checkpoint imprint": _lines(("imprint", checkpoint.imprint.octets)),
    }


if __name__ == "__main__":
    for name, text in examples().items():
        print(f"```text {name}\n{text}\n```\n")  # noqa: T201
