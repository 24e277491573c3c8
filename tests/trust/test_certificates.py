"""Whom a certificate speaks for: each check, good and with one thing wrong."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtensionOID,
)

from tests.trust.building import AT, DAY, Issuer, new_key, usage
from tests.trust.holders import MEMBER, ROOT, refused, signing, verify_signing
from trust.certificates import (
    Algorithm,
    parse_certificate,
)
from trust.keys import SoftwareKey
from vocabulary.faults import CertificateInvalid, SignatureInvalid

# Parsing.


def test_a_certificate_is_parsed_once_and_named_by_its_octets():
    leaf = signing()
    parsed = parse_certificate(leaf.der)
    assert parsed == leaf
    assert hash(parsed) == hash(leaf)
    assert parsed.imprint.digest == parsed.thumbprint
    assert parsed.algorithm is Algorithm.ECDSA_P256_SHA256
    assert parsed.ocsp_url is None


@pytest.mark.parametrize("change", [lambda der: der + b"\0", lambda der: der[:-1]])
def test_more_or_less_than_one_certificate_is_refused(change):
    with pytest.raises(CertificateInvalid, match="not a certificate"):
        parse_certificate(change(signing().der))


@pytest.mark.parametrize("der", [b"", b"0", b"-----BEGIN CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(der):
    with pytest.raises(CertificateInvalid, match="not a certificate"):
        parse_certificate(der)


def test_an_oversize_certificate_is_refused_unread():
    with pytest.raises(CertificateInvalid, match="16384 octets"):
        parse_certificate(b"\0" * 16385)


def test_a_certificate_verifies_what_its_key_has_signed():
    key = SoftwareKey.generate()
    leaf = signing(key=key.private_key)
    leaf.verify(key.sign(b"batch"), b"batch")
    with pytest.raises(SignatureInvalid):
        leaf.verify(key.sign(b"batch"), b"other")
    with pytest.raises(SignatureInvalid):
        signing().verify(key.sign(b"batch"), b"batch")


# The chain.


def test_a_member_is_named_by_its_signing_certificate():
    leaf = signing()
    proof = verify_signing(leaf)
    assert (proof.certificate, proof.member) == (leaf, MEMBER)
    assert proof.issuer == ROOT.certificate


@pytest.mark.parametrize("algorithm", Algorithm)
def test_members_sign_with_any_of_the_four(algorithm):
    key = SoftwareKey.generate(algorithm)
    leaf = signing(key=key.private_key)
    proof = verify_signing(leaf)
    assert proof.certificate.algorithm is algorithm
    leaf.verify(key.sign(b"batch"), b"batch")


def test_an_intermediate_is_the_issuer():
    middle = Issuer("Middle", issuer=ROOT)
    leaf = signing(middle)
    assert verify_signing(leaf, chain=[middle.certificate]).issuer == middle.certificate
    refused(leaf, "authority of the global configuration")


def test_an_intermediate_may_be_approved_itself():
    middle = Issuer("Middle", issuer=ROOT)
    proof = verify_signing(signing(middle), authorities=[middle.certificate])
    assert proof.issuer == middle.certificate


def test_an_authority_that_is_not_approved_is_refused():
    refused(signing(Issuer("Other")), "authority of the global configuration")
    refused(signing(), "no certification authority", authorities=[])


def test_an_authority_of_the_same_name_is_not_the_same():
    impostor = Issuer("Root")
    refused(signing(impostor), "authority of the global configuration")
    refused(signing(), "authority", authorities=[impostor.certificate])


def test_a_certificate_that_another_key_signed_is_refused():
    refused(signing(signed_with=new_key()), "authority of the global configuration")


def test_a_self_signed_certificate_is_refused():
    key = new_key()
    refused(signing(key=key, signed_with=key), "authority")


def test_a_certificate_cannot_issue_another():
    key = new_key()
    holder = signing(key=key)
    issuer = Issuer(key=key)
    issuer.name = holder.x509.subject
    refused(signing(issuer), "authority", chain=[holder])


@pytest.mark.parametrize(
    "changed",
    [{"ca": False}, {"usages": ("crl_sign",)}, {"not_after": AT - timedelta(hours=1)}],
    ids=["no CA", "not for certificates", "expired"],
)
def test_an_intermediate_that_may_not_issue_is_refused(changed):
    middle = Issuer("Middle", issuer=ROOT, **changed)
    refused(signing(middle), "authority", chain=[middle.certificate])


def test_a_longer_path_than_the_authority_allows_is_refused():
    root = Issuer(path_length=0)
    authorities = [root.certificate]
    assert verify_signing(signing(root), authorities=authorities)
    middle = Issuer("Middle", issuer=root)
    chain = [middle.certificate]
    refused(signing(middle), "authority", chain=chain, authorities=authorities)


def test_a_chain_of_many_is_refused_unread():
    refused(signing(), "intermediates", chain=[ROOT.certificate] * 5)


def test_an_unknown_critical_extension_is_refused():
    private = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    usages = (usage("content_commitment"), True)
    assert verify_signing(signing(extensions=[usages, (private, False)]))
    refused(signing(extensions=[usages, (private, True)]), "authority")


def test_every_flipped_bit_of_a_certificate_is_refused():
    der = signing().der
    for position in range(len(der) * 8):
        changed = bytearray(der)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(CertificateInvalid):
            verify_signing(parse_certificate(bytes(changed)))


# The time.


@pytest.mark.parametrize("at", [AT - DAY, AT, AT + DAY])
def test_a_certificate_is_believed_within_its_validity(at):
    root = Issuer(not_before=AT - 9 * DAY, not_after=AT + 9 * DAY)
    assert verify_signing(signing(root), authorities=[root.certificate], at=at)


@pytest.mark.parametrize(
    "at", [AT - DAY - timedelta(seconds=1), AT + DAY + timedelta(seconds=1)]
)
def test_a_certificate_is_refused_outside_its_validity(at):
    root = Issuer(not_before=AT - 9 * DAY, not_after=AT + 9 * DAY)
    authorities = [root.certificate]
    refused(signing(root), "have a new one", authorities=authorities, at=at)


def test_an_rsa_authority_may_vouch_too():
    root = Issuer(key=generate_private_key(65537, 2048))
    leaf = signing(root)
    assert verify_signing(leaf, authorities=[root.certificate]).member == MEMBER


def test_extensions_that_cannot_be_read_are_refused():
    junk = x509.UnrecognizedExtension(ExtensionOID.KEY_USAGE, b"\x05\x00")
    with pytest.raises(CertificateInvalid, match="cannot be read"):
        signing(extensions=[(junk, True)])


def test_where_to_ask_for_the_status():
    url = x509.UniformResourceIdentifier("http://ocsp.example")
    issuers = AuthorityInformationAccessOID.CA_ISSUERS
    for oid, expected in (
        (AuthorityInformationAccessOID.OCSP, url.value),
        (issuers, None),
    ):
        access = x509.AuthorityInformationAccess([x509.AccessDescription(oid, url)])
        assert signing(extensions=[(access, False)]).ocsp_url == expected
