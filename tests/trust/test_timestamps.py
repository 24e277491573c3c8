"""Time-stamps: each check, good and with one thing wrong, and foreign authorities."""

import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki import Pki
from tests.trust.building import AT, DAY, Issuer
from trust import time_stamp_messages as messages
from trust.timestamps import build_request, parse_response, verify_token
from vocabulary.faults import TimeStampInvalid
from vocabulary.imprint import Imprint

IMPRINT = Imprint.of(b"a checkpoint")
PKI = Pki(lambda: AT)
TOKEN = PKI.token(IMPRINT)
TIME_STAMPING = ExtendedKeyUsageOID.TIME_STAMPING


def verify(token, *, imprint=IMPRINT, authorities=(PKI.tsa_certificate,)):
    return verify_token(token, imprint=imprint, authorities=authorities)


def refused(token, why, **arguments):
    with pytest.raises(TimeStampInvalid, match=why):
        verify(token, **arguments)


def test_a_token_says_when_its_imprint_was_seen():
    stamp = verify(TOKEN)
    assert (stamp.token, stamp.time) == (TOKEN, AT)
    assert stamp.authority == PKI.tsa_certificate.imprint
    assert stamp.serial > 0


def test_one_of_several_authorities_is_enough():
    other = Pki(lambda: AT)
    authorities = (other.tsa_certificate, PKI.tsa_certificate)
    assert verify(TOKEN, authorities=authorities) == verify(TOKEN)


def test_a_token_is_about_its_imprint_only():
    refused(TOKEN, "another imprint", imprint=Imprint.of(b"another"))


def test_an_authority_has_to_be_approved():
    refused(TOKEN, "no time-stamping authority", authorities=())
    refused(
        TOKEN,
        "no time-stamping authority",
        authorities=(Pki(lambda: AT).tsa_certificate,),
    )
    refused(TOKEN, "no time-stamping authority", authorities=PKI.authorities)


def test_every_flipped_bit_is_refused():
    for position in range(len(TOKEN) * 8):
        changed = bytearray(TOKEN)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(TimeStampInvalid):
            verify(bytes(changed))


@pytest.mark.parametrize("token", [b"", b"0", TOKEN[:-1], TOKEN + b"\0"])
def test_what_is_no_token_is_refused(token):
    refused(token, "not a time-stamp token")


def test_an_oversize_token_is_refused_unread():
    refused(b"\0" * 65537, "65536 octets")


# Tokens with one thing wrong, signed by the approved authority's own key.


def rebuilt(*, content=None, attributes=None, signer=None, data=None, certificate=None):
    """Give TOKEN with some of it replaced by functions of it, and signed again."""
    token = asn1.decode_der(messages.TimeStampToken, TOKEN)
    signed = token.content
    info = asn1.decode_der(messages.TstInfo, signed.content.content)
    if content is not None:
        content(info)
    signed.content.content = asn1.encode_der(info)
    certificate = certificate or PKI.tsa_certificate
    said = {
        messages.CONTENT_TYPE: messages.TST_INFO,
        messages.MESSAGE_DIGEST: hashlib.sha256(signed.content.content).digest(),
        messages.SIGNING_CERTIFICATE_V2: named(certificate.thumbprint),
    }
    said = [messages.attribute(*each) for each in said.items()]
    if attributes is not None:
        said = attributes(said)
    one = signed.signers.as_list()[0]
    one.signed_attributes = asn1.SetOf(said)
    one.signature = PKI.tsa_key.sign(messages.to_be_signed(one.signed_attributes))
    if signer is not None:
        signer(one)
    signed.signers = asn1.SetOf([one])
    if data is not None:
        data(signed)
    return asn1.encode_der(token)


def named(thumbprint):
    identifier = messages.CertificateIdV2(
        hash_algorithm=None, hash=thumbprint, issuer_serial=None
    )
    return messages.SigningCertificateV2(certificates=[identifier], policies=None)


def setting(**values):
    def change(target):
        for name, value in values.items():
            setattr(target, name, value)

    return change


def without(kind):
    return lambda said: [each for each in said if each.type != kind]


def twice(kind):
    return lambda said: [*said, *(each for each in said if each.type == kind)]


def instead(kind, value):
    return lambda said: [*without(kind)(said), messages.attribute(kind, value)]


def algorithm(oid):
    return messages.AlgorithmIdentifier(
        algorithm=x509.ObjectIdentifier(oid), parameters=None
    )


def test_rebuilding_changes_nothing_by_itself():
    assert verify(rebuilt()).time == AT


@pytest.mark.parametrize(
    "kind",
    [
        messages.CONTENT_TYPE,
        messages.MESSAGE_DIGEST,
        messages.SIGNING_CERTIFICATE_V2,
    ],
)
def test_an_attribute_is_there_exactly_once(kind):
    refused(rebuilt(attributes=without(kind)), f"{kind.dotted_string} exactly once")
    refused(rebuilt(attributes=twice(kind)), f"{kind.dotted_string} exactly once")


def test_the_content_is_what_was_signed():
    changed = instead(messages.MESSAGE_DIGEST, hashlib.sha256(b"other").digest())
    refused(rebuilt(attributes=changed), "not what was signed")


def test_the_content_is_signed_as_what_it_is():
    data = x509.ObjectIdentifier("1.2.840.113549.1.7.1")
    changed = instead(messages.CONTENT_TYPE, data)
    refused(rebuilt(attributes=changed), "not TSTInfo")


def test_an_attribute_of_another_form_is_refused():
    changed = instead(messages.MESSAGE_DIGEST, messages.TST_INFO)
    refused(rebuilt(attributes=changed), "cannot be read")


def test_the_signed_certificate_is_the_signers():
    kind = messages.SIGNING_CERTIFICATE_V2
    other = named(hashlib.sha256(b"other").digest())
    refused(rebuilt(attributes=instead(kind, other)), "name another certificate")
    none = messages.SigningCertificateV2(certificates=[], policies=None)
    refused(rebuilt(attributes=instead(kind, none)), "name no certificate")


def test_a_signature_by_another_key_is_refused():
    def sign(one):
        data = messages.to_be_signed(one.signed_attributes)
        one.signature = PKI.authority_key.sign(data)

    refused(rebuilt(signer=sign), "not signed by")


def test_a_weak_digest_is_refused():
    sha1 = algorithm("1.3.14.3.2.26")
    token = rebuilt(
        signer=setting(digest_algorithm=sha1),
        data=setting(digest_algorithms=asn1.SetOf([sha1])),
    )
    refused(token, "use SHA-2")


def test_a_signature_algorithm_goes_with_its_digest():
    sha512 = algorithm("1.2.840.10045.4.3.4")
    refused(rebuilt(signer=setting(signature_algorithm=sha512)), "not taken with")


def test_the_announced_digest_is_the_one_used():
    sha512 = asn1.SetOf([algorithm("2.16.840.1.101.3.4.2.3")])
    refused(rebuilt(data=setting(digest_algorithms=sha512)), "another digest")


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_signs(count):
    def several(data):
        data.signers = asn1.SetOf(data.signers.as_list() * count)

    refused(rebuilt(data=several), "exactly one")


def test_an_included_certificate_is_the_signers():
    others = asn1.SetOf([PKI.authority.x509])
    refused(rebuilt(data=setting(certificates=others)), "another certificate")
    both = asn1.SetOf([PKI.authority.x509, PKI.tsa_certificate.x509])
    assert verify(rebuilt(data=setting(certificates=both)))


def test_no_certificate_need_be_included():
    assert verify(rebuilt(data=setting(certificates=None)))


def test_a_signer_may_be_named_by_its_key():
    identifier = PKI.tsa_certificate.x509.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    )
    named_so = setting(signer=identifier.value.digest, version=3)
    assert verify(rebuilt(signer=named_so))
    refused(rebuilt(signer=setting(signer=b"other", version=3)), "no time-stamping")
    nameless = Issuer().delegate(TIME_STAMPING)[1]
    refused(rebuilt(signer=named_so), "no time-stamping", authorities=[nameless])


@pytest.mark.parametrize(
    "changed",
    [{"signer": setting(version=3)}, {"data": setting(version=1)}],
)
def test_version_numbers_fit(changed):
    refused(rebuilt(**changed), "version numbers")


def test_another_content_is_no_time_stamp():
    def data(signed):
        signed.content.type = x509.ObjectIdentifier("1.2.840.113549.1.7.1")

    refused(rebuilt(data=data), "TSTInfo")


def test_a_later_version_of_the_content_is_refused():
    refused(rebuilt(content=setting(version=2)), "version than 1")


def test_the_same_digits_under_another_digest_are_another_imprint():
    def sha512(info):
        info.message_imprint.hash_algorithm = algorithm("2.16.840.1.101.3.4.2.3")

    refused(rebuilt(content=sha512), "another imprint")


def test_an_unknown_critical_extension_is_refused():
    def extension(*, critical):
        private = messages.Extension(
            id=x509.ObjectIdentifier("1.2.3.4"), critical=critical, value=b""
        )
        return setting(extensions=[private])

    assert verify(rebuilt(content=extension(critical=False)))
    refused(rebuilt(content=extension(critical=True)), "critical extension")


@pytest.mark.parametrize("days", [-1, 4000])
def test_a_time_outside_the_certificates_validity_is_refused(days):
    time = asn1.GeneralizedTime(AT + days * DAY)
    refused(rebuilt(content=setting(time=time)), "outside the validity")


@pytest.mark.parametrize(
    ("purposes", "critical"),
    [
        ([], True),
        ([TIME_STAMPING], False),
        ([ExtendedKeyUsageOID.CODE_SIGNING], True),
        ([TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True),
    ],
)
def test_an_authority_is_for_time_stamping_alone(purposes, critical):
    """Approved by mistake, such a certificate is still not believed."""
    issuer = Issuer()
    _, certificate = issuer.delegate(
        *purposes, critical=critical, key=PKI.tsa_key.private_key
    )

    def signer(one):
        one.signer.issuer = asn1.decode_der(asn1.TLV, issuer.name.public_bytes())
        one.signer.serial_number = certificate.x509.serial_number

    arguments = {"signer": signer, "data": setting(certificates=None)}
    token = rebuilt(certificate=certificate, **arguments)
    refused(token, "not for time-stamping alone", authorities=[certificate])


# What an authority answers.


def test_a_response_answers_its_request():
    answer = PKI.tsa.answer(build_request(IMPRINT, 7))
    assert verify(parse_response(answer, nonce=7)).time == AT
    for nonce in (8, None):
        with pytest.raises(TimeStampInvalid, match="nonce"):
            parse_response(answer, nonce=nonce)


def test_a_token_is_taken_out_as_it_came():
    answer = PKI.tsa.answer(build_request(IMPRINT))
    assert answer.endswith(parse_response(answer, nonce=None))


def test_a_refusal_is_quoted():
    with pytest.raises(TimeStampInvalid, match="status 2: not a TimeStampReq"):
        parse_response(PKI.tsa.answer(b""), nonce=None)


@pytest.mark.parametrize("answer", [b"", b"0", b"<html>"])
def test_what_is_no_response_is_refused(answer):
    with pytest.raises(TimeStampInvalid, match="not a response"):
        parse_response(answer, nonce=None)


def test_time_stamps_follow_the_clock():
    later = AT + timedelta(seconds=1, microseconds=2999)
    tsa = Pki(lambda: later)
    stamp = verify(tsa.token(IMPRINT), authorities=[tsa.tsa_certificate])
    assert stamp.time == AT + timedelta(seconds=1, milliseconds=2)
