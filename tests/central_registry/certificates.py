"""Certificates and keys of the kind that the registry accepts."""

from ledger.checkpoint import LogKey
from tests.central_registry.simulator import NOW
from trust.keys import SoftwareKey
from trust_services.authority import CertificationAuthority, root_certificate


class Issuer:
    """A CA of the sandbox's kind, on a clock that stands still."""

    def __init__(self, instance="EE", clock=lambda: NOW):
        key = SoftwareKey.generate()
        self.authority = CertificationAuthority(
            key,
            root_certificate(key, instance=instance, at=clock()),
            instance=instance,
            ocsp_url="http://ca/ocsp",
            clock=clock,
        )
        self.certificate = self.authority.certificate.der

    def issue(self, holder):
        """Give the DER of a new certificate: signing or authentication, by holder."""
        request = SoftwareKey.generate().signing_request("anyone")
        return self.authority.issue(request, holder, "anyone").der


def new_checkpoint_key(server):
    return LogKey.generate(f"{server}/log").vkey
