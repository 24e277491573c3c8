"""Certificates and chains with one thing wrong at a time."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from trust.certificates import Certificate

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
USAGES = (
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
TLS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


def new_key():
    return generate_private_key(SECP256R1())


def name(*attributes):
    """Give a name of (OID, value) pairs."""
    return x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])


def usage(*wanted):
    return x509.KeyUsage(**{each: each in wanted for each in USAGES})


class Issuer:
    """A certification authority, or one that passes itself off as such."""

    def __init__(
        self,
        common_name="Root",
        *,
        issuer=None,
        ca=True,
        usages=("key_cert_sign", "crl_sign"),
        path_length=None,
        key=None,
        **changed,
    ):
        self.key = key or new_key()
        self.name = name((NameOID.COMMON_NAME, common_name))
        extensions = [
            (x509.BasicConstraints(ca=ca, path_length=path_length), True),
            (usage(*usages), True),
        ]
        self.certificate = certificate(
            issuer or self,
            key=self.key,
            subject=self.name,
            extensions=extensions,
            **changed,
        )

    def delegate(self, *purposes, **changed):
        """Give a key, and a certificate for these purposes alone."""
        key = changed.pop("key", None) or new_key()
        critical = changed.pop("critical", True)
        extensions = [(usage("digital_signature"), True)]
        if purposes:
            extensions.append((x509.ExtendedKeyUsage(purposes), critical))
        changed = {
            "subject": name((NameOID.COMMON_NAME, "Delegate")),
            "extensions": extensions,
        } | changed
        return key, certificate(self, key=key, **changed)


def certificate(
    issuer,
    *,
    key,
    subject,
    extensions,
    not_before=AT - DAY,
    not_after=AT + DAY,
    digest=None,
    signed_with=None,
):
    builder = (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .issuer_name(issuer.name)
        .subject_name(subject)
        .public_key(key.public_key())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = signed_with or issuer.key
    digest = None if isinstance(signer, Ed25519PrivateKey) else digest or SHA256()
    return Certificate.of(builder.sign(signer, digest))
