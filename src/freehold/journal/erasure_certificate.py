"""Certificates of erasure: what was erased, which keys were destroyed, and where the journal has it.

A certificate is one JSON object: `certificate`, what it says; `public_key`, the 32 bytes of the key that signed it, in
hex; `signature`, Ed25519 (RFC 8032) over the line `freehold erasure certificate v1` and the canonical form of
`certificate`. The key is that of the journal's checkpoints, so whoever has `journal/public.pem` can verify both,
offline.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from freehold.errors import CertificateInvalid, InvalidRequest
from freehold.journal.reader import Cursor, read_on
from freehold.journal.records import canonical, plain
from freehold.journal.signer import Signer

BESIDE_FACTS: Final = ("facts_sha256", "journal", "remains")
"""What a certificate says besides the facts, whose digest the journal's record has."""
OBJECT: Final = "freehold.erasure_certificate"
MAX_BYTES: Final = 16 * 1024 * 1024
_HEAD: Final = b"freehold erasure certificate v1\n"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a certificate says, and who signed it.

    Args:
        said: the content of `certificate`.
        key_sha256: the SHA-256 of the 32 bytes of the public key, as `freehold audit verify` shows it.
        known_key: whether that key was given, and not only taken from the certificate.
        in_journal: whether the record that it names was found in a journal; false where none was looked at.
    """

    said: dict[str, Any]
    key_sha256: str
    known_key: bool
    in_journal: bool


def sign_certificate(said: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    """A certificate that says something."""
    content = plain(said)
    return {
        "object": OBJECT,
        "certificate": content,
        "public_key": signer.public_key.hex(),
        "signature": signer.sign(_HEAD + canonical(content)).hex(),
    }


def verify_certificate(data: bytes, public_key: Path | None = None, journal: Path | None = None) -> Verified:
    """See that a certificate is what was signed.

    Args:
        data: the file.
        public_key: a PEM file of the key that must have signed it, kept elsewhere.
        journal: a writer's folder of a journal or of a copy, in which the record must stand that the certificate names.

    Raises:
        InvalidRequest: the certificate or the key cannot be read.
        CertificateInvalid: it was changed, was signed by another key, or the journal does not have its record so.
    """
    said, key, signature = _read(data)
    if public_key is not None and _public_key(public_key) != key:
        raise CertificateInvalid("the certificate was signed by another key than the one given")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _HEAD + canonical(said))
    except (InvalidSignature, TypeError, ValueError):
        raise CertificateInvalid("the certificate is not what was signed: its signature does not fit") from None
    if facts_digest(said) != said["facts_sha256"]:
        raise CertificateInvalid("the certificate's digest of the facts is not that of the facts")
    if journal is not None:
        _find(said, journal)
    return Verified(said, hashlib.sha256(key).hexdigest(), public_key is not None, journal is not None)


def facts_digest(said: Mapping[str, Any]) -> str:
    """The digest of the facts in what a certificate says, in hex."""
    facts = {name: value for name, value in said.items() if name not in BESIDE_FACTS}
    return hashlib.sha256(canonical(facts)).hexdigest()


def _find(said: Mapping[str, Any], journal: Path) -> None:
    """See that the journal has the record that a certificate names.

    Raises:
        CertificateInvalid: it has another one there, or none.
    """
    wanted = said["journal"]
    line = next((line for line in read_on(journal, Cursor()) if line.seq == wanted["seq"]), None)
    if line is None:
        raise CertificateInvalid(f"the journal has no record {wanted['seq']}: it was retired, or is another journal")
    if hashlib.sha256(line.raw).hexdigest() != wanted["sha256"]:
        raise CertificateInvalid(f"record {line.seq} of the journal is not the one that the certificate names")
    if line.body.get("after_sha256") != said["facts_sha256"]:
        raise CertificateInvalid(f"record {line.seq} of the journal tells of another erasure")


def _read(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    try:
        if len(data) > MAX_BYTES:
            raise ValueError("too long")  # noqa: TRY301  # told below
        found = json.loads(data)
        said = found["certificate"]
        if found["object"] != OBJECT or not isinstance(said, dict):
            raise ValueError("another object")  # noqa: TRY301  # told below
        key, signature = bytes.fromhex(found["public_key"]), bytes.fromhex(found["signature"])
        if not (isinstance(said["journal"]["seq"], int) and isinstance(said["facts_sha256"], str)):
            raise TypeError("not where it is recorded")  # noqa: TRY301  # told below
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise InvalidRequest("this is no certificate of erasure") from exc
    return said, key, signature


def _public_key(path: Path) -> bytes:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as exc:
        raise InvalidRequest(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InvalidRequest(f"{path} holds no public key that can be read") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidRequest(f"{path} holds a key that is not Ed25519")
    return key.public_bytes_raw()
