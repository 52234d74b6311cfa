"""Content that is kept: encrypted with AES-256-GCM (NIST SP 800-38D) under keys derived from the home's secret.

A key is for one purpose, such as one project's pictures; HKDF-SHA256 (RFC 5869) derives it. What is sealed is bound to
its name: moved to another row it cannot be opened.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)


def seal(key: bytes, text: bytes, name: bytes) -> bytes:
    """The text encrypted and bound to a name."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, name)


def unseal(key: bytes, sealed: bytes, name: bytes) -> bytes | None:
    """The text; None where it is damaged, or another key's or another name's."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
    except (InvalidTag, ValueError):
        return None
