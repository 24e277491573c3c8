"""TLS 1.3 only, for the whole process. gRPC is not imported here: it comes after.

gRPC has no setting for the version, and takes the cipher list from the environment, as
it is when gRPC is imported.
"""

import os
import sys
from typing import Final

# For RSA keys, and ours are ECDSA: TLS 1.2 finds none in common, while TLS 1.3 has
# suites of its own.
CIPHER_SUITES: Final = "ECDHE-RSA-AES256-GCM-SHA384"


def require_tls_1_3() -> None:
    """Set the process's cipher list; RuntimeError if it is too late for that."""
    if "grpc" in sys.modules:
        raise RuntimeError("gRPC was imported before its cipher list was set")
    os.environ["GRPC_SSL_CIPHER_SUITES"] = CIPHER_SUITES
