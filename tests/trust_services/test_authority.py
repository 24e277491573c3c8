"""What the authority certifies, and what it refuses to."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.pki import Pki
from trust.certificates import Algorithm, parse_certificate
from trust.keys import SoftwareKey
from trust_services.authority import AUTHORITY_VALIDITY, Usage
from vocabulary.faults import RegistrationInvalid
from vocabulary.identifiers import MemberId, SecurityServerId

AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
PKI = Pki(lambda: AT)
TAX = MemberId.parse("EE-SANDBOX/GOV/7000_0349")
SS1 = SecurityServerId(TAX, "ss1")
REQUEST = SoftwareKey.generate().signing_request("ignored")


def certify(request=REQUEST, holder=TAX, name="The tax board"):
    return PKI.ca.issue(request, holder, name)


def refused(why, *arguments, **more):
    with pytest.raises(RegistrationInvalid, match=why):
        certify(*arguments, **more)


def test_a_certificate_says_what_the_authority_was_told():
    issued = certify()
    certificate = parse_certificate(issued.der).x509
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "The tax board"
    assert len(list(certificate.subject)) == 2
    [named] = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert (named.value, issued.holder) == (str(TAX), str(TAX))
    assert issued.usage is Usage.SIGNING
    assert issued.serial == certificate.serial_number
    assert issued.not_after == certificate.not_valid_after_utc
    assert certificate.not_valid_before_utc < AT < issued.not_after
    assert issued.revoked_at is None


def test_a_servers_certificate_has_its_host_name():
    issued = certify(holder=SS1)
    assert (issued.usage, issued.holder) == (Usage.AUTHENTICATION, str(SS1))
    names = parse_certificate(issued.der).x509.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [SS1.host_name]


def test_no_two_certificates_have_one_serial_number():
    serials = {certify().serial for _ in range(50)}
    assert len(serials) == 50
    assert min(serials) > 0
    assert 100 < max(serials).bit_length() <= 128


def test_nothing_outlives_its_authority():
    late = AT + AUTHORITY_VALIDITY - timedelta(days=10)
    clock = [AT]
    pki = Pki(lambda: clock[0])
    clock[0] = late
    issued = pki.ca.issue(REQUEST, TAX, "The tax board")
    assert issued.not_after == pki.authority.x509.not_valid_after_utc


def test_a_request_is_pkcs10():
    for junk in (b"", b"0", REQUEST[:-1], PKI.authority.der):
        refused("PKCS#10", junk)


def test_a_request_proves_possession():
    refused("not signed with the key", REQUEST[:-1] + bytes([REQUEST[-1] ^ 1]))


def test_a_key_of_another_kind_is_not_certified():
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "X")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(Ed25519PrivateKey.generate(), None)
    refused("kind", request.public_bytes(Encoding.DER))


@pytest.mark.parametrize(
    "algorithm", [Algorithm.RSA_3072_PSS_SHA256, Algorithm.ML_DSA_65]
)
def test_only_ecdsa_authenticates(algorithm):
    request = SoftwareKey.generate(algorithm).signing_request("ignored")
    assert certify(request, TAX)
    refused(algorithm.name, request, SS1)


@pytest.mark.parametrize(
    "holder",
    [
        MemberId.parse("EE/GOV/70000349"),
        SecurityServerId.parse("EE-SANDBOX2/GOV/70000349/ss1"),
    ],
)
def test_another_instance_is_not_certified(holder):
    refused("another instance", REQUEST, holder)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_has_its_limits(name):
    refused("name", name=name)


def test_the_services_certificates_serve_nothing_else():
    for usage in (Usage.OCSP_SIGNING, Usage.TIME_STAMPING):
        issued = PKI.ca.issue_for_service(SoftwareKey.generate(), usage)
        extensions = parse_certificate(issued.der).x509.extensions
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert len(list(purposes.value)) == 1
        assert purposes.critical is (usage is Usage.TIME_STAMPING)
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        assert not constraints.value.ca


def test_a_request_may_be_signed_in_another_way():
    """What a request says of itself, extensions included, is not taken over."""
    key = SoftwareKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "EE-SANDBOX/GOV/1")])
    ca = x509.BasicConstraints(ca=True, path_length=None)
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(ca, critical=True)
        .sign(key.private_key, SHA256())
    )
    issued = parse_certificate(certify(request.public_bytes(Encoding.DER)).der)
    constraints = issued.x509.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca
    [named] = issued.x509.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    assert named.value == str(TAX)
