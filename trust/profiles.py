"""What a certificate must say to be believed in a role: data, and how it is applied.

A country's own profile is another `Profile`, not another function.
"""

from dataclasses import dataclass
from string import Formatter

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy

from trust.algorithms import Algorithm

_CA_USAGES = frozenset({"key_cert_sign", "crl_sign"})


@dataclass(frozen=True, slots=True)
class Profile:
    """What a certificate must say to be believed in one role."""

    role: str
    # Attributes of the subject that make up the identifier, each there exactly once.
    identifier: str
    algorithms: frozenset[Algorithm]
    key_usage: frozenset[str]
    # Usages that would let the key serve in another role too.
    forbidden_key_usage: frozenset[str]
    # All of them must be there; when empty, the extension must not be, since it would
    # restrict the key to other purposes (RFC 5280 §4.2.1.12).
    extended_key_usage: frozenset[x509.ObjectIdentifier] = frozenset()
    # Whether the only dNSName is the host name of the security server it speaks for.
    host_name: bool = False


SIGNING = Profile(
    role="signing certificate",
    identifier="{serialNumber}",
    algorithms=frozenset(Algorithm),
    key_usage=frozenset({"content_commitment"}),
    forbidden_key_usage=_CA_USAGES,
)
AUTHENTICATION = Profile(
    role="authentication certificate",
    identifier="{serialNumber}",
    # TLS 1.3 is pinned by offering TLS 1.2 nothing that works with these keys.
    algorithms=frozenset({Algorithm.ECDSA_P256_SHA256, Algorithm.ECDSA_P384_SHA384}),
    key_usage=frozenset({"digital_signature"}),
    forbidden_key_usage=_CA_USAGES | {"content_commitment"},
    extended_key_usage=frozenset(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    ),
    host_name=True,
)

# What an identifier may be made of, by its name in RFC 4519 and X.520.
_ATTRIBUTES = {
    "businessCategory": NameOID.BUSINESS_CATEGORY,
    "c": NameOID.COUNTRY_NAME,
    "cn": NameOID.COMMON_NAME,
    "o": NameOID.ORGANIZATION_NAME,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}


def _ca_key_usage(
    _policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage
) -> None:
    if not usage.key_cert_sign:
        raise ValueError("an issuer whose key is not for certificates")


def _ca_constraints(
    _policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    if not constraints.ca:
        raise ValueError("an issuer that is no certification authority")


CA_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.CRITICAL, _ca_constraints)
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _ca_key_usage)
)


def holder_policy(profile: Profile) -> ExtensionPolicy:
    def constraints(
        _policy: Policy,
        _certificate: x509.Certificate,
        value: x509.BasicConstraints | None,
    ) -> None:
        if value is not None and value.ca:
            raise ValueError("it is a certification authority's")

    def key_usage(
        _policy: Policy, _certificate: x509.Certificate, value: x509.KeyUsage
    ) -> None:
        missing = [name for name in profile.key_usage if not getattr(value, name)]
        excess = [name for name in profile.forbidden_key_usage if getattr(value, name)]
        if missing or excess:
            raise ValueError(f"key usage lacks {missing} or has {excess} too much")

    def extended_key_usage(
        _policy: Policy, _certificate: x509.Certificate, value: x509.ExtendedKeyUsage
    ) -> None:
        if not profile.extended_key_usage <= set(value):
            raise ValueError("extended key usage lacks a purpose of the role")

    policy = (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, constraints)
        .require_present(x509.KeyUsage, Criticality.CRITICAL, key_usage)
    )
    if profile.extended_key_usage:
        return policy.require_present(
            x509.ExtendedKeyUsage, Criticality.AGNOSTIC, extended_key_usage
        )
    return policy.require_not_present(x509.ExtendedKeyUsage)


def identifier_of(subject: x509.Name, profile: Profile) -> str:
    """Fill the profile's template; raises ValueError when it cannot be."""
    names = [name for _, name, _, _ in Formatter().parse(profile.identifier) if name]
    values = {}
    for name in names:
        found = subject.get_attributes_for_oid(_ATTRIBUTES[name])
        if len(found) != 1 or not isinstance(found[0].value, str):
            raise ValueError(f"its subject must have {name} exactly once")
        values[name] = found[0].value
    return profile.identifier.format_map(values)
