"""The certification authority: certificates in the profiles that trust accepts.

A certificate says what the authority was told on its administrative socket and nothing
that a request says of itself, except the key whose possession the request proves.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from secrets import randbits
from typing import Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

from trust.algorithms import PublicKey, algorithm_of, supported_key
from trust.certificates import Certificate
from trust.keys import SoftwareKey
from trust.profiles import AUTHENTICATION, SIGNING, Profile
from vocabulary.clock import Clock
from vocabulary.faults import CertificateInvalid, RegistrationInvalid
from vocabulary.identifiers import MemberId, SecurityServerId

AUTHORITY_VALIDITY = timedelta(days=3652)
HOLDER_VALIDITY = timedelta(days=730)
# A holder's clock may be a little behind ours.
_BACKDATED = timedelta(minutes=5)
# RFC 5280 §4.1.2.2 allows 20 octets, CA/Browser Forum asks for 64 random bits.
_SERIAL_BITS = 128


class Usage(StrEnum):
    """What a certificate was issued for."""

    SIGNING = "signing"
    AUTHENTICATION = "authentication"
    OCSP_SIGNING = "ocsp-signing"
    TIME_STAMPING = "time-stamping"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and what became of it."""

    serial: int
    usage: Usage
    holder: str
    not_after: datetime
    der: bytes
    revoked_at: datetime | None = None

    def revoked(self, at: datetime) -> Self:
        return replace(self, revoked_at=at)


class CertificationAuthority:
    """Signs certificates; who keeps them is not its concern."""

    def __init__(
        self,
        key: SoftwareKey,
        certificate: Certificate,
        *,
        instance: str,
        ocsp_url: str,
        clock: Clock,
    ) -> None:
        self.certificate = certificate
        self._key = key
        self._instance = instance
        self._ocsp_url = ocsp_url
        self._clock = clock

    def issue(
        self, request: bytes, holder: MemberId | SecurityServerId, name: str
    ) -> IssuedCertificate:
        """Issue for a member to sign with, or for a security server to be known by.

        Raises RegistrationInvalid.
        """
        member = holder if isinstance(holder, MemberId) else holder.owner
        if member.instance != self._instance:
            raise RegistrationInvalid(
                f"{holder} is of another instance than {self._instance}"
            )
        profile = SIGNING if isinstance(holder, MemberId) else AUTHENTICATION
        key = _requested_key(request, profile)
        builder = self._builder(key, _subject(name, str(holder)), HOLDER_VALIDITY)
        builder = _with_profile(builder, profile)
        if isinstance(holder, MemberId):
            return self._issued(builder, Usage.SIGNING, str(holder))
        names = x509.SubjectAlternativeName([x509.DNSName(holder.host_name)])
        builder = builder.add_extension(names, critical=False)
        return self._issued(builder, Usage.AUTHENTICATION, str(holder))

    def issue_for_service(self, key: SoftwareKey, usage: Usage) -> IssuedCertificate:
        """Issue for the OCSP responder or the time-stamping authority beside it."""
        ocsp = usage is Usage.OCSP_SIGNING
        purpose = (
            ExtendedKeyUsageOID.OCSP_SIGNING
            if ocsp
            else ExtendedKeyUsageOID.TIME_STAMPING
        )
        name = f"{self._instance} {usage}"
        builder = self._builder(
            key.public_key, _subject(name), AUTHORITY_VALIDITY
        ).add_extension(_key_usage("digital_signature"), critical=True)
        # RFC 3161 §2.3: critical on a time-stamping authority.
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([purpose]), critical=not ocsp
        )
        if ocsp:
            # RFC 6960 §4.2.2.2.1: nobody is to ask the responder about itself.
            builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
        return self._issued(builder, usage, name)

    def _builder(
        self,
        key: PublicKey,
        subject: x509.Name,
        validity: timedelta,
    ) -> x509.CertificateBuilder:
        now = self._clock().replace(microsecond=0)
        issuer = self.certificate.x509
        not_after = min(now + validity, issuer.not_valid_after_utc)
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP,
            x509.UniformResourceIdentifier(self._ocsp_url),
        )
        return (
            x509.CertificateBuilder()
            .serial_number(randbits(_SERIAL_BITS) | 1)
            .issuer_name(issuer.subject)
            .subject_name(subject)
            .public_key(key)
            .not_valid_before(max(now - _BACKDATED, issuer.not_valid_before_utc))
            .not_valid_after(not_after)
            .add_extension(
                x509.BasicConstraints(ca=False, path_length=None), critical=True
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key
                ),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key), critical=False
            )
            .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        )

    def _issued(
        self, builder: x509.CertificateBuilder, usage: Usage, holder: str
    ) -> IssuedCertificate:
        certificate = Certificate.of(
            builder.sign(self._key.private_key, self._key.digest)
        )
        return IssuedCertificate(
            certificate.x509.serial_number,
            usage,
            holder,
            certificate.x509.not_valid_after_utc,
            certificate.der,
        )


def root_certificate(key: SoftwareKey, *, instance: str, at: datetime) -> Certificate:
    """Give the authority its own certificate, signed with its own key."""
    public = key.public_key
    name = _subject(f"{instance} certification authority")
    at = at.replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .serial_number(randbits(_SERIAL_BITS) | 1)
        .issuer_name(name)
        .subject_name(name)
        .public_key(public)
        .not_valid_before(at - _BACKDATED)
        .not_valid_after(at + AUTHORITY_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(public), critical=False
        )
    )
    return Certificate.of(builder.sign(key.private_key, key.digest))


def _requested_key(request: bytes, profile: Profile) -> PublicKey:
    try:
        parsed = x509.load_der_x509_csr(request)
        proven = parsed.is_signature_valid
        key = supported_key(parsed.public_key())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RegistrationInvalid(f"not a PKCS#10 request in DER: {error}") from error
    except CertificateInvalid as error:
        raise RegistrationInvalid(f"a request for {error.detail}") from error
    if not proven:
        raise RegistrationInvalid(
            "the request is not signed with the key that it names; make a new one"
        )
    if algorithm_of(key) not in profile.algorithms:
        raise RegistrationInvalid(
            f"a {profile.role} cannot have a key of {algorithm_of(key).name}"
        )
    return key


def _subject(name: str, identifier: str | None = None) -> x509.Name:
    try:
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    except ValueError as error:
        raise RegistrationInvalid(f"the name cannot be certified: {error}") from error
    if identifier is not None:
        # An identifier may have an underscore, which no PrintableString can.
        attributes.append(
            x509.NameAttribute(NameOID.SERIAL_NUMBER, identifier, _ASN1Type.UTF8String)
        )
    return x509.Name(attributes)


def _with_profile(
    builder: x509.CertificateBuilder, profile: Profile
) -> x509.CertificateBuilder:
    builder = builder.add_extension(_key_usage(*profile.key_usage), critical=True)
    if not profile.extended_key_usage:
        return builder
    purposes = sorted(profile.extended_key_usage, key=lambda oid: oid.dotted_string)
    return builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)


def _key_usage(*usages: str) -> x509.KeyUsage:
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{usage: usage in usages for usage in every})
