"""Certificate status: each check, good and with one thing wrong."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP224R1,
    SECP521R1,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    generate_private_key as generate_rsa_key,
)
from cryptography.hazmat.primitives.hashes import (
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.trust.building import AT, DAY, Issuer, name, new_key, usage
from trust.ocsp import CLOCK_SKEW, build_request, verify_response
from vocabulary.faults import CertificateRevoked, CertificateStatusUnknown
from vocabulary.imprint import Imprint

GOOD = ocsp.OCSPCertStatus.GOOD
REVOKED = ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING

ROOT = Issuer()
SUBJECT = name((NameOID.COMMON_NAME, "Holder"))


def holder(issuer=ROOT):
    extensions = [(usage("content_commitment"), True)]
    _, certificate = issuer.delegate(subject=SUBJECT, extensions=extensions)
    return certificate


LEAF = holder()
DELEGATE = ROOT.delegate(OCSP_SIGNING)


def response(
    signer=DELEGATE,
    *,
    about=LEAF,
    issuer=ROOT.certificate,
    status=GOOD,
    this_update=AT,
    next_update=AT + HOUR,
    digest=SHA256,
    signed_over=SHA256,
    included=None,
    encoding=ocsp.OCSPResponderEncoding.HASH,
    extension=None,
):
    key, certificate = signer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            about.x509,
            issuer.x509,
            digest(),
            status,
            this_update,
            next_update,
            this_update if status is REVOKED else None,
            None,
        )
        .responder_id(encoding, certificate.x509)
    )
    included = [certificate] if included is None else included
    if included:
        builder = builder.certificates([each.x509 for each in included])
    if extension is not None:
        builder = builder.add_extension(*extension)
    digest = signed_over and signed_over()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def verify(der, *, certificate=LEAF, issuer=ROOT.certificate, at=AT, freshness=HOUR):
    return verify_response(
        der, certificate=certificate, issuer=issuer, at=at, freshness=freshness
    )


def unknown(der, why, **arguments):
    with pytest.raises(CertificateStatusUnknown, match=why):
        verify(der, **arguments)


# Who answers.


def test_a_delegate_of_the_issuer_is_believed():
    der = response()
    proof = verify(der)
    assert (proof.certificate, proof.response) == (LEAF.imprint, Imprint.of(der))
    assert (proof.der, proof.this_update) == (der, AT)


@pytest.mark.parametrize("included", [None, []])
@pytest.mark.parametrize("encoding", ocsp.OCSPResponderEncoding)
def test_the_issuer_itself_is_believed(encoding, included):
    issuer = (ROOT.key, ROOT.certificate)
    assert verify(response(issuer, encoding=encoding, included=included))


def test_a_delegate_may_be_named_by_its_subject():
    assert verify(response(encoding=ocsp.OCSPResponderEncoding.NAME))


def test_an_authority_may_have_an_rsa_key():
    root = Issuer(key=generate_rsa_key(65537, 2048))
    leaf, issuer = holder(root), root.certificate
    signer = root.delegate(OCSP_SIGNING, key=generate_rsa_key(65537, 2048))
    der = response(signer, about=leaf, issuer=issuer, signed_over=SHA384)
    assert verify(der, certificate=leaf, issuer=issuer)


def test_a_delegate_has_to_be_included():
    unknown(response(included=[]), "neither")


def test_a_stranger_is_not_believed():
    other = Issuer()
    unknown(response(other.delegate(OCSP_SIGNING)), "not issued by")
    unknown(response((other.key, other.certificate)), "not issued by|neither")


def test_a_delegate_of_an_authority_above_or_below_is_not_believed():
    middle = Issuer("Middle", issuer=ROOT)
    leaf = holder(middle)
    above = response(about=leaf, issuer=middle.certificate)
    unknown(above, "not issued by", certificate=leaf, issuer=middle.certificate)
    unknown(response(middle.delegate(OCSP_SIGNING)), "not issued by")


@pytest.mark.parametrize("purposes", [(), (ExtendedKeyUsageOID.TIME_STAMPING,)])
def test_a_delegate_must_be_for_ocsp(purposes):
    unknown(response(ROOT.delegate(*purposes)), "may not sign OCSP")


@pytest.mark.parametrize(
    "validity",
    [
        {"not_after": AT - SECOND},
        {"not_before": AT + SECOND},
    ],
)
def test_a_delegate_must_be_valid_at_the_time(validity):
    unknown(response(ROOT.delegate(OCSP_SIGNING, **validity)), "not valid at")


def test_a_delegate_that_another_key_signed_is_not_believed():
    signer = ROOT.delegate(OCSP_SIGNING, signed_with=new_key())
    unknown(response(signer), "not issued by")


def test_a_response_that_another_key_signed_is_not_believed():
    impostor = Issuer().delegate(OCSP_SIGNING)
    by_name = ocsp.OCSPResponderEncoding.NAME
    der = response(impostor, encoding=by_name, included=[DELEGATE[1]])
    unknown(der, "does not hold")


def test_a_weak_digest_is_not_believed():
    unknown(response(signed_over=SHA224), "weaker than SHA-256")


@pytest.mark.parametrize(
    ("kind", "signed_over"),
    [
        (MLDSA65PrivateKey.generate, None),
        (lambda: generate_private_key(SECP521R1()), SHA512),
    ],
)
def test_a_delegate_may_have_a_stronger_key(kind, signed_over):
    signer = ROOT.delegate(OCSP_SIGNING, key=kind())
    assert verify(response(signer, signed_over=signed_over))


@pytest.mark.parametrize(
    ("kind", "signed_over"),
    [
        (lambda: generate_rsa_key(65537, 1024), SHA256),  # noqa: S505 - to be refused
        (lambda: generate_private_key(SECP224R1()), SHA256),
        (Ed25519PrivateKey.generate, None),
    ],
)
def test_a_delegate_with_a_weak_key_or_of_another_kind_is_not_believed(
    kind, signed_over
):
    signer = ROOT.delegate(OCSP_SIGNING, key=kind())
    unknown(response(signer, signed_over=signed_over), "too weak|weaker")


# About what.


@pytest.mark.parametrize("digest", [SHA1, SHA256])
def test_a_certificate_is_named_by_either_digest(digest):
    assert verify(response(digest=digest))


def test_another_serial_number_is_no_answer():
    unknown(response(about=holder()), "does not answer for")


def test_the_same_serial_number_of_another_issuer_is_no_answer():
    other = Issuer()
    unknown(response(issuer=other.certificate), "does not answer for")


def test_asking_about_another_issuer_is_the_callers_mistake():
    with pytest.raises(ValueError, match="issuer"):
        verify(response(), issuer=Issuer("Other").certificate)


# What it says.


def test_a_revoked_certificate_is_refused():
    with pytest.raises(CertificateRevoked, match="revoked at 2026-03-01"):
        verify(response(status=REVOKED))


def test_a_stale_response_still_tells_of_a_revocation():
    with pytest.raises(CertificateRevoked):
        verify(response(status=REVOKED), at=AT + 2 * HOUR)


def test_what_its_authority_does_not_know_is_refused():
    unknown(response(status=UNKNOWN), "does not know")


# When.


def test_it_is_fresh_until_the_first_of_two_ends():
    assert verify(response(), freshness=HOUR / 2).fresh_until == AT + HOUR / 2
    assert verify(response(), freshness=2 * HOUR).fresh_until == AT + HOUR
    assert verify(response(next_update=None)).fresh_until == AT + HOUR


@pytest.mark.parametrize("next_update", [None, AT + 2 * HOUR])
def test_it_is_refused_once_it_is_older_than_the_freshness(next_update):
    der = response(next_update=next_update)
    assert verify(der, at=AT + HOUR)
    unknown(der, "stale", at=AT + HOUR + SECOND)


def test_it_is_refused_past_its_next_update():
    der = response()
    assert verify(der, at=AT + HOUR, freshness=DAY)
    unknown(der, "stale", at=AT + HOUR + SECOND, freshness=DAY)


def test_a_responder_may_be_a_little_ahead():
    assert verify(response(), at=AT - CLOCK_SKEW)
    unknown(response(), "in the future", at=AT - CLOCK_SKEW - SECOND)
    der = response(status=REVOKED)
    unknown(der, "in the future", at=AT - CLOCK_SKEW - SECOND)


# What it is.


@pytest.mark.parametrize(
    "status",
    [each for each in ocsp.OCSPResponseStatus if each.name != "SUCCESSFUL"],
)
def test_a_responder_that_does_not_answer_is_quoted(status):
    refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    unknown(refusal.public_bytes(Encoding.DER), status.name)


@pytest.mark.parametrize("der", [b"", b"0", b"<html>", response() + b"\0"])
def test_what_is_no_response_is_refused(der):
    unknown(der, "cannot be relied on")


def test_an_oversize_response_is_refused_unread():
    unknown(b"\0" * 65537, "65536 octets")


def test_an_unknown_demand_is_refused():
    private = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    assert verify(response(extension=(private, False)))
    unknown(response(extension=(private, True)), "1.2.3.4")


@pytest.mark.parametrize("signer", [DELEGATE, (ROOT.key, ROOT.certificate)])
def test_every_flipped_bit_is_refused(signer):
    # The issuer's own certificate is known: it is neither needed nor looked at.
    der = response(signer, included=None if signer is DELEGATE else [])
    for position in range(len(der) * 8):
        changed = bytearray(der)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises((CertificateStatusUnknown, CertificateRevoked)):
            verify(bytes(changed))


def test_a_request_names_the_certificate():
    request = ocsp.load_der_ocsp_request(build_request(LEAF, ROOT.certificate, b"n"))
    assert request.serial_number == LEAF.x509.serial_number
    nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    assert nonce.nonce == b"n"
    plain = ocsp.load_der_ocsp_request(build_request(LEAF, ROOT.certificate))
    assert not list(plain.extensions)
