"""DSSE v1 pre-authentication encoding: the bytes that every signature is over."""


def pae(type_: str, body: bytes) -> bytes:
    """Name what `body` is, so that no two pairs of type and body give the same bytes.

    The lengths are counted in octets and written in decimal.
    """
    name = type_.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(body), body)
