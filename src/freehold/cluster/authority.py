"""The cluster's own certificate authority, by which a gateway and the relays on its nodes know each other.

Each home has one, made when it is first needed: in `HOME/cluster` or, where several gateways share a database, in that
under the master key, so that each of them can speak to what another one has started. A relay makes its key itself and
has only the request for a certificate travel; the name in it stands for one replica, so that nobody reaches another
replica by mistake.
"""

import datetime as dt
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3650
CERTIFICATE_DAYS: Final = 825
_EARLIER: Final = dt.timedelta(hours=1)
"""Certificates hold from a little earlier on: clocks differ."""


class Authority:
    """Signs certificates. Made by `new`, `of_pem` or `load_or_make`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def new(cls) -> "Authority":
        """One that nobody knows yet."""
        return cls(*_new_authority())

    @classmethod
    def of_pem(cls, key: bytes, certificate: bytes) -> "Authority":
        """The one of that key and that certificate.

        Raises:
            ValueError: they are not those of an authority.
        """
        found = serialization.load_pem_private_key(key, None)
        if not isinstance(found, ec.EllipticCurvePrivateKey):
            raise ValueError("the key is not that of an authority of Freehold")  # noqa: TRY004  # of the file's content
        return cls(found, x509.load_pem_x509_certificate(certificate))

    @classmethod
    def load_or_make(cls, folder: Path) -> "Authority":
        """The authority whose key lies in that folder, which is also equipped.

        Raises:
            OSError: the folder cannot be written.
            ValueError: what lies there is no authority.
        """
        found = cls.load(folder)
        if found is None:
            found = cls.new()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(folder / "ca.key", found.key_pem)
        found.equip(folder)
        return found

    @classmethod
    def load(cls, folder: Path) -> "Authority | None":
        """The authority whose key lies in that folder; None where none does. Raises as `load_or_make`."""
        if not (folder / "ca.key").exists() or not (folder / "ca.pem").exists():
            return None
        return cls.of_pem((folder / "ca.key").read_bytes(), (folder / "ca.pem").read_bytes())

    def equip(self, folder: Path) -> None:
        """Put there what a gateway needs: the authority's certificate, and one for the gateway, new at each call.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder / "ca.pem", self.certificate_pem)
        key = ec.generate_private_key(ec.SECP256R1())
        _write(folder / "gateway.key", _key_pem(key))
        _write(folder / "gateway.pem", self.sign(request_for("gateway", key), server=False))

    @property
    def key_pem(self) -> bytes:
        """Its private key."""
        return _key_pem(self._key)

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, request_pem: bytes, *, server: bool = True, name: str | None = None) -> bytes:
        """A certificate in PEM form.

        Args:
            request_pem: the request for it.
            server: whether it is for one who is called, rather than one who calls.
            name: what the request must be for; anything if None.

        Raises:
            ValueError: the request is not sound, or for another name.
        """
        request = x509.load_pem_x509_csr(request_pem)
        asked = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        if not request.is_signature_valid or (name is not None and asked != name):
            raise ValueError("the request for a certificate is not what was asked for")
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        now = dt.datetime.now(dt.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _EARLIER)
            .not_valid_after(now + dt.timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(str(asked))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return built.public_bytes(serialization.Encoding.PEM)


def new_request(name: str) -> tuple[bytes, bytes]:
    """A new private key, and the request for a certificate of that name for it, both in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _key_pem(key), request_for(name, key)


def request_for(name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The request for a certificate of that name."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def _new_authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Freehold cluster")])
    now = dt.datetime.now(dt.UTC)
    none = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*none, "encipher_only", "decipher_only"), False)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + dt.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, built


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes) -> None:
    """Put a private file in place, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
