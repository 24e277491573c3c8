"""The OCSP responder: RFC 6960 with the nonce of RFC 9654, signed by a delegate."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus

from trust.certificates import Certificate
from trust.keys import SoftwareKey
from trust_services.authority import IssuedCertificate
from vocabulary.clock import Clock

# RFC 9654 §2.1: a nonce has at most 128 octets; a longer one makes a request malformed.
_NONCE_LIMIT = 128


def _refusal(status: OCSPResponseStatus) -> bytes:
    refusal = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    return refusal.public_bytes(Encoding.DER)


MALFORMED_REQUEST = _refusal(OCSPResponseStatus.MALFORMED_REQUEST)
TRY_LATER = _refusal(OCSPResponseStatus.TRY_LATER)

Find: TypeAlias = Callable[[int], Awaitable[IssuedCertificate | None]]


class OcspResponder:
    """Answers for the certificates of one authority, which `find` knows by serial."""

    def __init__(
        self,
        key: SoftwareKey,
        certificate: Certificate,
        *,
        issuer: Certificate,
        find: Find,
        validity: timedelta,
        clock: Clock,
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._issuer = issuer
        self._find = find
        self._validity = validity
        self._clock = clock

    async def answer(self, question: bytes) -> bytes:
        """Give a response to anything; what `find` raises passes through."""
        try:
            request = ocsp.load_der_ocsp_request(question)
            nonce = _nonce(request)
            digest = request.hash_algorithm
        except (
            ValueError,
            NotImplementedError,  # more than one certificate in a request
            UnsupportedAlgorithm,
            x509.DuplicateExtension,
        ):
            return MALFORMED_REQUEST
        issued = None
        if self._is_ours(request, digest):
            issued = await self._find(request.serial_number)
        builder = self._builder(request, digest, issued)
        if nonce is not None:
            builder = builder.add_extension(nonce, critical=False)
        response = builder.sign(self._key.private_key, self._key.digest)
        return response.public_bytes(Encoding.DER)

    def _is_ours(self, request: ocsp.OCSPRequest, digest: HashAlgorithm) -> bool:
        ours = (
            ocsp.OCSPRequestBuilder()
            .add_certificate(self._issuer.x509, self._issuer.x509, digest)
            .build()
        )
        return (request.issuer_name_hash, request.issuer_key_hash) == (
            ours.issuer_name_hash,
            ours.issuer_key_hash,
        )

    def _builder(
        self,
        request: ocsp.OCSPRequest,
        digest: HashAlgorithm,
        issued: IssuedCertificate | None,
    ) -> ocsp.OCSPResponseBuilder:
        now = self._clock().replace(microsecond=0)
        revoked_at = issued.revoked_at if issued else None
        status = OCSPCertStatus.GOOD if issued else OCSPCertStatus.UNKNOWN
        if revoked_at is not None:
            status = OCSPCertStatus.REVOKED
        return (
            ocsp.OCSPResponseBuilder()
            .add_response_by_hash(
                request.issuer_name_hash,
                request.issuer_key_hash,
                request.serial_number,
                digest,
                status,
                now,
                now + self._validity,
                revoked_at,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, self._certificate.x509)
            .certificates([self._certificate.x509])
        )


def _nonce(request: ocsp.OCSPRequest) -> x509.OCSPNonce | None:
    """Raise ValueError for a nonce of a length that none may have."""
    try:
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value
    except x509.ExtensionNotFound:
        return None
    if not 1 <= len(nonce.nonce) <= _NONCE_LIMIT:
        raise ValueError(f"a nonce of {len(nonce.nonce)} octets")
    return nonce
