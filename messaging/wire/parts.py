"""Signed parts on the wire. Reading one that is malformed is a FRAME_UNEXPECTED."""

from ledger.fields import Field
from ledger.record import Evidence
from messaging.parts import Part
from messaging.signing import SignedPart
from protos.v1 import exchange_pb2
from vocabulary.faults import FrameUnexpected
from vocabulary.imprint import Imprint


def part_to_pb(message: SignedPart) -> exchange_pb2.SignedPart:
    evidence = message.evidence
    return exchange_pb2.SignedPart(
        type=message.part.type,
        head=message.part.head,
        fields=[
            exchange_pb2.Field(tag=field.tag, salt=field.salt, value=field.value)
            for field in message.part.fields
        ],
        path=evidence.path,
        leaf_index=evidence.leaf_index,
        leaf_count=evidence.leaf_count,
        signature=evidence.signature,
        certificate_thumbprint=evidence.certificate,
        chain_imprints=[imprint.octets for imprint in evidence.chain],
        ocsp_imprint=evidence.ocsp.octets if evidence.ocsp else b"",
    )


def part_from_pb(pb: exchange_pb2.SignedPart) -> SignedPart:
    try:
        evidence = Evidence(
            signature=pb.signature,
            leaf_index=pb.leaf_index,
            leaf_count=pb.leaf_count,
            path=tuple(pb.path),
            certificate=pb.certificate_thumbprint,
            chain=tuple(Imprint.parse(octets) for octets in pb.chain_imprints),
            ocsp=Imprint.parse(pb.ocsp_imprint) if pb.ocsp_imprint else None,
        )
    except ValueError as error:
        raise FrameUnexpected(f"evidence of a part: {error}") from error
    fields = tuple(Field(f.tag, f.salt, f.value) for f in pb.fields)
    return SignedPart(Part(pb.type, pb.head, fields), evidence)
