"""Certificates of erasure, verified alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from freehold.errors import CertificateInvalid, InvalidRequest
from freehold.journal.erasure_certificate import facts_digest, sign_certificate, verify_certificate
from freehold.journal.signer import Signer

FACTS: dict[str, Any] = {
    "id": "erasure_1",
    "subject": {"kind": "user", "id": "user-1", "organization_id": "org"},
    "rows_deleted": {"answers": 3},
}
SAID: dict[str, Any] = {
    **FACTS,
    "facts_sha256": facts_digest(FACTS),
    "journal": {"writer": "main", "segment": 1, "seq": 7, "sha256": "1" * 64},
}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load_or_create(tmp_path / "journal.pem", tmp_path / "public.pem")


def encoded(certificate: Any) -> bytes:
    """A certificate as a file has it."""
    return json.dumps(certificate, indent=1).encode()


def test_a_certificate_verifies_with_its_key(signer: Signer, tmp_path: Path) -> None:
    """What was signed is said again, however it is laid out; with the key given, the key counts as known."""
    certificate = sign_certificate(SAID, signer)
    found = verify_certificate(encoded(certificate))
    assert (found.said, found.known_key, found.in_journal) == (SAID, False, False)
    assert verify_certificate(encoded(certificate), tmp_path / "public.pem").known_key


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda it: it["certificate"]["rows_deleted"].update(answers=4),
    lambda it: it["certificate"].update(more="x"),
    lambda it: it["certificate"].pop("id"),
    lambda it: it["certificate"].update(fraction=0.5),
    lambda it: it.update(signature="00" * 64),
    lambda it: it.update(signature=""),
    lambda it: it.update(public_key="00" * 32),
    lambda it: it.update(public_key="00"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_is_noticed(signer: Signer, change: Callable[[dict[str, Any]], Any]) -> None:
    """A certificate of which anything was changed does not verify."""
    certificate = json.loads(encoded(sign_certificate(SAID, signer)))
    change(certificate)
    with pytest.raises(CertificateInvalid):
        verify_certificate(encoded(certificate))


def test_a_certificate_of_other_facts_than_recorded_is_none(signer: Signer) -> None:
    """Signed or not: if the digest that the journal has is not that of the facts, it does not verify."""
    with pytest.raises(CertificateInvalid):
        verify_certificate(encoded(sign_certificate({**SAID, "id": "erasure_2"}, signer)))


def test_another_key_is_noticed(signer: Signer, tmp_path: Path) -> None:
    """A certificate that another key signed does not verify with the one that is known; a wrong file is told."""
    (tmp_path / "other").mkdir()
    Signer.load_or_create(tmp_path / "other" / "journal.pem", tmp_path / "other" / "public.pem")
    certificate = encoded(sign_certificate(SAID, signer))
    with pytest.raises(CertificateInvalid):
        verify_certificate(certificate, tmp_path / "other" / "public.pem")
    (tmp_path / "text.pem").write_text("no key")
    curve = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "curve.pem").write_bytes(curve)
    for name in ("text.pem", "curve.pem", "nothing.pem"):
        with pytest.raises(InvalidRequest):
            verify_certificate(certificate, tmp_path / name)


def test_a_checkpoints_signature_is_no_certificates(signer: Signer) -> None:
    """What the key signed for something else does not pass: the text begins with what it is."""
    certificate = sign_certificate(SAID, signer)
    said = json.dumps(SAID, sort_keys=True, separators=(",", ":")).encode()
    certificate["signature"] = signer.sign(said).hex()
    with pytest.raises(CertificateInvalid):
        verify_certificate(encoded(certificate))


NO_CERTIFICATES = {
    "empty": b"",
    "list": b"[]",
    "object": b"{}",
    "null": b"null",
    "bytes": b"\xff",
    "deep": b"[" * 100_000,
    "bare": b'{"object": "freehold.erasure_certificate"}',
    "long": b"{" + b" " * 17_000_000 + b"}",
}


@pytest.mark.parametrize("data", NO_CERTIFICATES.values(), ids=NO_CERTIFICATES.keys())
def test_what_is_no_certificate_is_told(data: bytes) -> None:
    """Anything that is no certificate is wrong input, not a forged certificate."""
    with pytest.raises(InvalidRequest):
        verify_certificate(data)
