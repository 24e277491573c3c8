"""A governing authority in memory, which can be made to sign anything."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.timestamp_pb2 import Timestamp

from protos.v1 import configuration_pb2 as pb
from protos.v1 import identifier_pb2
from trust.global_configuration import ConfigurationAnchor
from vocabulary.identifiers import MemberId, SecurityServerId, SubsystemId
from vocabulary.pae import pae

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAX = SubsystemId.parse("EE/GOV/70000349/tax")
POPULATION = SubsystemId.parse("EE/GOV/70008440/population")
TAX_SERVER = SecurityServerId(TAX.member, "ss1")
POPULATION_SERVER = SecurityServerId(POPULATION.member, "ss1")


def certificate(name="anyone"):
    """Give the DER of a new self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )


def checkpoint_key(server, number=0):
    body = base64.b64encode(bytes([1]) + bytes([number]) * 32).decode()
    return f"{server}/log+01234567+{body}"


def member_pb(member):
    return identifier_pb2.MemberId(
        instance=member.instance,
        member_class=member.member_class,
        member_code=member.member_code,
    )


def subsystem_pb(subsystem):
    return identifier_pb2.SubsystemId(
        member=member_pb(subsystem.member), subsystem_code=subsystem.code
    )


def server_pb(server):
    return identifier_pb2.SecurityServerId(
        owner=member_pb(server.owner), server_code=server.code
    )


def shared_parameters():
    """Two members with a subsystem and a security server each."""
    shared = pb.SharedParameters(
        ocsp_freshness_s=3600, ocsp_fetch_interval_s=1200, time_stamping_interval_s=60
    )
    for subsystem, server in ((TAX, TAX_SERVER), (POPULATION, POPULATION_SERVER)):
        shared.members.add(
            id=member_pb(subsystem.member),
            name=subsystem.code,
            subsystems=[subsystem_pb(subsystem)],
        )
        shared.servers.add(
            id=server_pb(server),
            address="127.0.0.1:5500",
            authentication_certificates=[certificate(str(server))],
            checkpoint_keys=[checkpoint_key(server)],
            subsystems=[subsystem_pb(subsystem)],
        )
    ca = pb.ApprovedAuthority(
        name="CA", certificate=certificate(), url="http://ca/ocsp"
    )
    tsa = pb.ApprovedAuthority(name="TSA", certificate=certificate(), url="http://tsa")
    shared.certification_authorities.append(ca)
    shared.time_stamping_authorities.append(tsa)
    shared.purposes.add(code="TAX-ASSESSMENT", name="Assessment of income tax")
    shared.legal_bases.add(code="MKS-27", name="Taxation Act")
    return shared


class GoverningAuthority:
    """Signs configurations, one after the other unless told otherwise."""

    def __init__(self, instance="EE", address="127.0.0.1:5400"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.public_key = self.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        self.anchor = ConfigurationAnchor(instance, address, (self.public_key,))
        self.shared = shared_parameters()
        self.version = 0
        self.hash = b""

    def publish(self, *, at=NOW, validity=timedelta(seconds=600), **changed):
        """Give the next SignedConfiguration; `changed` overrides its directory."""
        parts = {"shared": self.shared.SerializeToString()}
        directory = pb.ConfigurationDirectory(
            instance=self.anchor.instance,
            version=self.version + 1,
            issued_at=timestamp(at),
            expires_at=timestamp(at + validity),
            previous_hash=self.hash,
            parts=[digest(name, content) for name, content in parts.items()],
        )
        for name, value in changed.items():
            directory.ClearField(name)
            directory.MergeFrom(pb.ConfigurationDirectory(**{name: value}))
        signed = self.sign(directory.SerializeToString(), parts)
        self.version = directory.version
        self.hash = hashlib.sha256(signed.directory).digest()
        return signed.SerializeToString()

    def sign(self, directory, parts):
        return pb.SignedConfiguration(
            directory=directory,
            signature=self.key.sign(
                pae("ristmik.configuration.v1", directory), ec.ECDSA(SHA256())
            ),
            signer=hashlib.sha256(self.public_key).digest(),
            parts=[
                pb.ConfigurationPart(name=name, content=content)
                for name, content in parts.items()
            ],
        )


def digest(name, content):
    return pb.PartDigest(name=name, sha256=hashlib.sha256(content).digest())


def timestamp(moment):
    value = Timestamp()
    value.FromDatetime(moment)
    return value


def member(code):
    return MemberId("EE", "GOV", code)
