"""The demo's middle: what was signed, recorded, checkpointed and time-stamped."""

from collections.abc import Mapping, Sequence

from cli.commands.ledger import kind_name
from cli.configuration import current_configuration
from cli.demo.stage import WITHIN_S, Stage
from cli.parts import ServerPart
from ledger.checkpoint import VerifierKey, verify_checkpoint
from ledger.entry import LinkedEntry
from ledger.fields import Tag
from ledger.local_header import LocalHeader
from ledger.record import Evidence, Kind, RecordedPart
from ledger.store import LedgerReader, StoredRound
from messaging.heads import EvidenceVerifier, HeadReader
from trust.certificates import parse_certificate, signing_member
from trust.global_configuration import GlobalConfiguration
from trust.timestamps import TimeStamp, verify_token
from vocabulary.clock import utc_now
from vocabulary.imprint import Imprint


def records(stage: Stage) -> None:
    """Both ledgers hold the exchange, and each other's word for it."""
    tell = stage.narration
    tell.begin("Both ledgers hold it")
    consumer = _by_kind(stage, stage.consumer)
    provider = _by_kind(stage, stage.provider)
    tell.rows(
        ["Ledger", "Entry", "Round", "Kind", "Row hash", "Other's row hash"],
        [
            _row(stage.name(server), entry)
            for server, found in (
                (stage.consumer, consumer),
                (stage.provider, provider),
            )
            for entry in found.values()
        ],
    )
    tell.claim(
        "each holds the request and the response",
        set(consumer) == {Kind.REQUEST_SENT, Kind.RESPONSE_RECEIVED}
        and set(provider) == {Kind.REQUEST_RECEIVED, Kind.RESPONSE_SENT},
    )
    sent, received = consumer[Kind.REQUEST_SENT], provider[Kind.REQUEST_RECEIVED]
    answer, answered = provider[Kind.RESPONSE_SENT], consumer[Kind.RESPONSE_RECEIVED]
    tell.claim(
        "both hold the same signed heads, octet for octet",
        sent.head == received.head and answer.head == answered.head,
    )
    tell.claim(
        "each has recorded the other's row hash: neither can change it alone",
        _header(received).peer_row_hash == sent.row_hash
        and _header(answered).peer_row_hash == answer.row_hash,
    )
    _signed_message(stage, received)


def _signed_message(stage: Stage, entry: LinkedEntry) -> None:
    """Show what the tax board has signed, from the other side's ledger."""
    tell = stage.narration
    part = RecordedPart(entry.part_type or "", entry.head or b"")
    evidence = _header(entry).evidence
    tell.claim("the request is recorded with the evidence for it", evidence)
    if evidence is None:
        return
    with stage.ledger(stage.provider) as reader:
        beside = _openings(reader, entry.seq)
        certificates = _certificates(reader, evidence.references)
    tell.show(
        f"The signed request, from the ledger of {stage.provider.id}",
        _said(part, evidence, beside),
    )
    EvidenceVerifier().verify(part, evidence, certificates)
    signer = signing_member(parse_certificate(certificates[evidence.certificate]))
    tell.claim(
        f"its signature verifies with the signing certificate of {signer}",
        signer == stage.example.client.member,
    )
    tell.claim(
        "what stays for ever, the head, does not say which person it was about",
        stage.example.subject.encode() not in part.head,
    )


def _said(part: RecordedPart, evidence: Evidence, beside: Sequence[str]) -> str:
    head = HeadReader().read(part)
    lines = (
        f"type          {part.type}",
        f"message id    {head.message_id}",
        f"client        {head.client}",
        f"service       {head.service}",
        f"method        {head.method}",
        f"from server   {head.consumer_server}",
        f"to server     {head.provider_server}",
        f"issued at     {head.issued_at.isoformat()}",
        f"purpose       {head.purpose}",
        f"legal basis   {head.legal_basis}",
        f"fields root   {head.fields_root.hex()[:56]}…",
        f"signature     {evidence.signature.hex()[:56]}…",
        "",
        "beside it, salted, committed to by the fields root, erasable:",
        *beside,
    )
    return "\n".join(lines)


def anchors(stage: Stage) -> None:
    """A checkpoint covers it, and a time-stamping authority has seen that."""
    tell = stage.narration
    tell.begin("A checkpoint a second, time-stamped")
    configuration = current_configuration(stage.parts, now=utc_now())
    for server in (stage.consumer, stage.provider):
        newest = max(entry.seq for entry in stage.entries(server, stage.message_id))
        closed, stamp = _stamped_round(stage, server, newest, configuration)
        keys = configuration.server(server.id).checkpoint_keys
        checkpoint = verify_checkpoint(closed.note, map(VerifierKey.parse, keys))
        tell.command(f"ledger checkpoint --server {server.id}")
        tell.show(
            f"Checkpoint of round {closed.round}", closed.note.decode().rstrip("\n")
        )
        tell.claim(
            f"it is signed with the key registered for {server.id}, and covers"
            f" entry {newest}",
            checkpoint.size > newest,
        )
        late = (stamp.time - closed.closed_at).total_seconds()
        tell.claim(
            f"RFC 3161 token {stamp.serial:x} says that it existed at"
            f" {stamp.time:%H:%M:%S} UTC",
            abs(late) < WITHIN_S,
        )
        stage.kept_checkpoint(server).write_bytes(closed.note)
    tell.say("Both checkpoints are now kept elsewhere, out of the servers' reach.")


def _stamped_round(
    stage: Stage,
    server: ServerPart,
    entry: int,
    configuration: GlobalConfiguration,
) -> tuple[StoredRound, TimeStamp]:
    """Wait for a round that covers an entry and whose checkpoint has its token."""
    authorities = [
        authority.certificate for authority in configuration.time_stamping_authorities
    ]
    covering: dict[int, StoredRound] = {}
    with stage.ledger(server) as reader:

        def look() -> tuple[StoredRound, TimeStamp] | None:
            newest = reader.newest_round()
            if newest is not None and newest.size > entry:
                covering[newest.round] = newest
            for closed in covering.values():
                for token in reader.time_stamps(closed.round):
                    imprint = Imprint.of(closed.note)
                    stamp = verify_token(
                        token, imprint=imprint, authorities=authorities
                    )
                    return closed, stamp
            return None

        return stage.until(
            f"{server.id} closes a round over entry {entry} and has it time-stamped",
            look,
        )


def _by_kind(stage: Stage, server: ServerPart) -> dict[Kind, LinkedEntry]:
    entries = stage.entries(server, stage.message_id)
    return {Kind(entry.columns.kind): entry for entry in entries}


def _row(ledger: str, entry: LinkedEntry) -> tuple[str, ...]:
    peer = _header(entry).peer_row_hash
    return (
        ledger,
        str(entry.seq),
        str(entry.round),
        kind_name(entry.columns.kind),
        f"{entry.row_hash.hex()[:12]}…",
        "" if peer is None else f"{peer.hex()[:12]}…",
    )


def _header(entry: LinkedEntry) -> LocalHeader:
    return LocalHeader.decode(entry.local_header)


def _openings(reader: LedgerReader, seq: int) -> list[str]:
    return [
        f"  {_tag_name(opening.tag):<18} {len(opening.value)} octets"
        for opening in reader.openings(seq)
    ]


def _tag_name(number: int) -> str:
    return next((tag.name for tag in Tag if tag == number), str(number))


def _certificates(
    reader: LedgerReader, references: Sequence[Imprint]
) -> Mapping[bytes, bytes]:
    """Give what an entry refers to, DER by its SHA-256."""
    found = {one.digest: reader.evidence(one.octets) for one in references}
    return {digest: der for digest, der in found.items() if der is not None}
