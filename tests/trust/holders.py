"""A member's and a server's certificate, and how they are refused."""

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.trust.building import AT, TLS, Issuer, certificate, name, new_key, usage
from trust.certificates import (
    verify_authentication_certificate,
    verify_signing_certificate,
)
from vocabulary.faults import CertificateInvalid
from vocabulary.identifiers import MemberId, SecurityServerId

MEMBER = MemberId.parse("EE/GOV/70000349")
SERVER = SecurityServerId(MEMBER, "ss1")
ROOT = Issuer()


def subject(identifier=str(MEMBER)):
    return name((NameOID.COMMON_NAME, "X"), (NameOID.SERIAL_NUMBER, identifier))


def signing(issuer=ROOT, **changed):
    extensions = changed.pop("extensions", [(usage("content_commitment"), True)])
    arguments = {"key": new_key(), "subject": subject(), "extensions": extensions}
    return certificate(issuer, **(arguments | changed))


def authentication(issuer=ROOT, *, usages=("digital_signature",), **changed):
    purposes = changed.pop("purposes", TLS)
    names = changed.pop("names", [SERVER.host_name])
    extensions = [(usage(*usages), True)]
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    if names:
        san = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        extensions.append((san, False))
    arguments = {
        "key": new_key(),
        "subject": subject(str(SERVER)),
        "extensions": extensions,
    }
    return certificate(issuer, **(arguments | changed))


def verify_signing(leaf, *, chain=(), authorities=(ROOT.certificate,), at=AT, **more):
    return verify_signing_certificate(
        leaf, chain=chain, authorities=authorities, at=at, **more
    )


def verify_authentication(leaf, *, authorities=(ROOT.certificate,), at=AT):
    return verify_authentication_certificate(
        leaf, chain=(), authorities=authorities, at=at
    )


def refused(leaf, why, **arguments):
    with pytest.raises(CertificateInvalid, match=why):
        verify_signing(leaf, **arguments)


def refused_authentication(leaf, why, **arguments):
    with pytest.raises(CertificateInvalid, match=why):
        verify_authentication(leaf, **arguments)
