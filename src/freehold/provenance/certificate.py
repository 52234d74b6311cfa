"""The certificate that pictures are signed with: the installation's own, or one that an organization brings.

The own one is made at first need: a private root, and under it a leaf as the C2PA specification's certificate
profile (2.2, chapter 14.5) demands, both ECDSA on P-256. The leaf is made anew under the same root before it
expires. A brought one is used as it is.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from freehold.config import ProvenanceSettings, read_secret
from freehold.errors import ConfigError, HomeError
from freehold.store.home import Home, write_private

ROOT_VALID = timedelta(days=30 * 365)
LEAF_VALID = timedelta(days=10 * 365)
RENEW_BEFORE = timedelta(days=5 * 365)
"""A signature without a time stamp holds as long as its certificate: so every picture has at least five years."""
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing needs, as PEM.

    Args:
        chain: the signing certificate, then those between it and its root.
        private_key: the signing certificate's.
        algorithm: C2PA's name for the signature, such as `es256`.
        issuers: the certificates of the authorities above it; who trusts these trusts the pictures.
    """

    chain: str
    private_key: str = field(repr=False)
    algorithm: str
    issuers: str


def load_credentials(home: Home, settings: ProvenanceSettings) -> Credentials:
    """The credentials of a home, made if there are none; writes the public part to `HOME/provenance/issuer.pem`.

    Raises:
        ConfigError: the certificate or key that the configuration names cannot be used.
        HomeError: a file of the home cannot be read, understood or written.
    """
    if settings.certificate is not None and settings.private_key is not None:
        credentials = _brought(Path(settings.certificate).expanduser(), read_secret(settings.private_key))
    else:
        credentials = _own(home)
    _publish(home.picture_issuer, credentials.issuers)
    return credentials


def read_issuers(pem: bytes) -> str:
    """The authorities' certificates in a PEM file, as PEM.

    Raises:
        ConfigError: there is none in it.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise ConfigError("the file has no certificate in PEM form", param="certificate") from exc
    issuers = [certificate for certificate in certificates if _is_authority(certificate)]
    if not issuers:
        raise ConfigError(
            "the file has no authority's certificate; give that of the signing certificate's issuer",
            param="certificate",
        )
    return _pem(issuers)


def _brought(path: Path, key_pem: str) -> Credentials:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"provenance.certificate: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigError("provenance.certificate: the file has no certificate in PEM form") from exc
    try:
        key = load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigError("provenance.private_key: is no private key in PEM form, without a password") from exc
    leaf, *above = certificates
    if _is_authority(leaf) or not above:
        raise ConfigError(
            "provenance.certificate: must have the signing certificate first and then its issuers', up to the root"
        )
    if _public(key) != _public_of(leaf):
        raise ConfigError("provenance.private_key: is not the key of the first certificate")
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    chain = [certificate for certificate in certificates if certificate.subject != certificate.issuer]
    return Credentials(_pem(chain), plain, _algorithm(key), _pem(above))


def _algorithm(key: object) -> str:
    """C2PA's name for signatures with a key.

    Raises:
        ConfigError: it has none.
    """
    match key:
        case ec.EllipticCurvePrivateKey() if key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}:
            return {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}[key.curve.name]
        case rsa.RSAPrivateKey() if key.key_size >= 2048:
            return "ps256"
        case ed25519.Ed25519PrivateKey():
            return "ed25519"
    raise ConfigError("provenance.private_key: C2PA signs with P-256, P-384, P-521, Ed25519 or RSA from 2048 bits on")


def _own(home: Home) -> Credentials:
    """The installation's own credentials; root and leaf are made where they are missing, the leaf when it is old."""
    root_key, root = load_pair(home.picture_root)
    if root_key is None or root is None:
        root_key = ec.generate_private_key(ec.SECP256R1())
        root = _root(root_key)
        write_private(home.picture_root, _key_pem(root_key) + _pem([root]).encode())
    leaf_key, leaf = load_pair(home.picture_key)
    now = datetime.now(UTC)
    if leaf is None or leaf_key is None or leaf.not_valid_after_utc - now < RENEW_BEFORE or not _under(leaf, root):
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        leaf = make_leaf(leaf_key, root_key, root)
        write_private(home.picture_key, _key_pem(leaf_key) + _pem([leaf]).encode())
    return Credentials(_pem([leaf]), _key_pem(leaf_key).decode(), "es256", _pem([root]))


def load_pair(path: Path) -> tuple[ec.EllipticCurvePrivateKey | None, x509.Certificate | None]:
    """A key and its certificate from a file of the home; nothing where there is no file."""
    if not path.exists():
        return None, None
    try:
        raw = path.read_bytes()
        key = load_pem_private_key(raw, None)
        certificate = x509.load_pem_x509_certificate(raw)
    except OSError as exc:
        raise HomeError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise HomeError(f"{path} holds no key with its certificate: restore it from a backup") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or _public(key) != _public_of(certificate):
        raise HomeError(f"{path} holds a key and a certificate that do not belong together: restore it from a backup")
    return key, certificate


def _root(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name(f"Freehold root {_short(key)}")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(name, name, key, ROOT_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, SHA256())
    )


def make_leaf(
    key: ec.EllipticCurvePrivateKey,
    root_key: ec.EllipticCurvePrivateKey,
    root: x509.Certificate,
    valid: timedelta = LEAF_VALID,
) -> x509.Certificate:
    """The signing certificate, with exactly the extensions of the profile."""
    name = _name(f"Freehold installation {_short(root_key)}")
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    return (
        _builder(name, root.subject, key, valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(root_key, SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - _CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Freehold")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _short(key: ec.EllipticCurvePrivateKey) -> str:
    """Eight hex digits that name an installation without telling where it is."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]


def _under(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    """Whether the root has signed the leaf."""
    try:
        leaf.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _public(key: object) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _public_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(certificates: list[x509.Certificate]) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def _publish(path: Path, pem: str) -> None:
    """Write the public part, unless it is there already."""
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == pem:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise HomeError(f"{path} cannot be read or written: {exc.strerror}") from exc
    write_private(path, pem.encode())
