"""What a certificate must say in each role, and that a role is data."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.trust.building import TLS, name, usage
from tests.trust.holders import (
    MEMBER,
    ROOT,
    SERVER,
    authentication,
    refused,
    refused_authentication,
    signing,
    subject,
    verify_authentication,
    verify_signing,
)
from trust.certificates import Algorithm
from trust.keys import SoftwareKey
from trust.profiles import SIGNING, Profile
from vocabulary.identifiers import MemberId


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "usages",
    [
        (),
        ("digital_signature",),
        ("content_commitment", "key_cert_sign"),
        ("content_commitment", "crl_sign"),
    ],
)
def test_a_signing_key_is_for_signing(usages, critical):
    refused(signing(extensions=[(usage(*usages), critical)]), "signing certificate")


def test_a_signing_certificate_must_say_its_usage_critically():
    refused(signing(extensions=[]), "signing certificate")
    usages = usage("content_commitment")
    refused(signing(extensions=[(usages, False)]), "signing certificate")


@pytest.mark.parametrize(
    "purpose",
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.TIME_STAMPING],
)
def test_a_key_for_another_purpose_does_not_sign(purpose):
    extensions = [
        (usage("content_commitment"), True),
        (x509.ExtendedKeyUsage([purpose]), False),
    ]
    refused(signing(extensions=extensions), "signing certificate")


def test_an_authority_does_not_sign_for_a_member():
    extensions = [
        (usage("content_commitment"), True),
        (x509.BasicConstraints(ca=True, path_length=None), True),
    ]
    refused(signing(extensions=extensions), "signing certificate")


def test_a_key_of_another_kind_does_not_sign():
    key = Ed25519PrivateKey.generate()
    refused(signing(key=key), "kind")


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        [(NameOID.SERIAL_NUMBER, "EE/GOV")],
        [(NameOID.SERIAL_NUMBER, "EE/GOV/70000349/ss1")],
        [(NameOID.SERIAL_NUMBER, " EE/GOV/70000349")],
        [(NameOID.SERIAL_NUMBER, str(MEMBER)), (NameOID.SERIAL_NUMBER, "EE/GOV/2")],
        [(NameOID.COMMON_NAME, str(MEMBER))],
    ],
)
def test_a_member_is_named_in_one_way(attributes):
    refused(signing(subject=name(*attributes)), "signing certificate of")


def test_an_authentication_certificate_does_not_sign():
    refused(authentication(), "signing certificate")


def test_a_server_is_named_by_its_authentication_certificate():
    leaf = authentication()
    proof = verify_authentication(leaf)
    assert (proof.certificate, proof.server) == (leaf, SERVER)
    assert proof.issuer == ROOT.certificate


def test_a_signing_certificate_does_not_authenticate():
    refused_authentication(signing(), "authentication certificate")


@pytest.mark.parametrize(
    "usages", [(), ("content_commitment",), ("digital_signature", "content_commitment")]
)
def test_an_authentication_key_is_for_authentication(usages):
    refused_authentication(authentication(usages=usages), "key usage")


@pytest.mark.parametrize(
    "purposes", [(), TLS[:1], TLS[1:], (ExtendedKeyUsageOID.EMAIL_PROTECTION,)]
)
def test_an_authentication_key_serves_both_ends(purposes):
    refused_authentication(authentication(purposes=purposes), "authentication")


@pytest.mark.parametrize(
    "names",
    [[], ["ss2.70000349.gov.ee.ristmik.internal"], [SERVER.host_name, "other.example"]],
)
def test_an_authentication_certificate_has_the_one_host_name(names):
    refused_authentication(authentication(names=names), "dNSName")


def test_an_authentication_certificate_names_a_server():
    refused_authentication(authentication(subject=subject()), "security server")


@pytest.mark.parametrize(
    "algorithm", [Algorithm.RSA_3072_PSS_SHA256, Algorithm.ML_DSA_65]
)
def test_only_ecdsa_authenticates(algorithm):
    key = SoftwareKey.generate(algorithm).private_key
    refused_authentication(authentication(key=key), algorithm.name)


def test_an_authentication_certificate_may_be_of_p384():
    key = SoftwareKey.generate(Algorithm.ECDSA_P384_SHA384).private_key
    assert verify_authentication(authentication(key=key)).server == SERVER


# Another country.


COUNTRY = Profile(
    role="seal",
    identifier="LV/{businessCategory}/{organizationIdentifier}",
    algorithms=SIGNING.algorithms,
    key_usage=frozenset({"content_commitment", "digital_signature"}),
    forbidden_key_usage=SIGNING.forbidden_key_usage,
    extended_key_usage=frozenset({x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")}),
)


def seal(*attributes):
    extensions = [
        (usage("content_commitment", "digital_signature"), True),
        (x509.ExtendedKeyUsage(list(COUNTRY.extended_key_usage)), False),
    ]
    return signing(subject=name(*attributes), extensions=extensions)


def test_another_profile_is_another_value_only():
    leaf = seal(
        (NameOID.BUSINESS_CATEGORY, "GOV"), (NameOID.ORGANIZATION_IDENTIFIER, "901")
    )
    assert verify_signing(leaf, profile=COUNTRY).member == MemberId("LV", "GOV", "901")
    refused(leaf, "signing certificate")
    refused(signing(), "seal", profile=COUNTRY)


def test_no_attribute_can_stand_for_two():
    leaf = seal(
        (NameOID.BUSINESS_CATEGORY, "GOV/901"), (NameOID.ORGANIZATION_IDENTIFIER, "1")
    )
    refused(leaf, "seal", profile=COUNTRY)
