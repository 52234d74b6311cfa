"""The certificate that pictures are signed with."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from freehold.config import ProvenanceSettings
from freehold.errors import ConfigError, HomeError, ProvenanceUnavailable
from freehold.provenance.certificate import load_credentials, load_pair, make_leaf, read_issuers
from freehold.provenance.finisher import Finisher
from freehold.store.home import Home, write_private
from freehold.types.deployment import SecretRef
from tests.provenance.installation import installation, noise, picture_facts

pytestmark = pytest.mark.slow

OWN = ProvenanceSettings()


def test_it_is_made_once(tmp_path: Path) -> None:
    """A home's certificate is made at first need and stays the same; its keys are the owner's alone."""
    home = Home(tmp_path)
    with home.locked():
        first = load_credentials(home, OWN)
        assert load_credentials(home, OWN) == first
    for path in (home.picture_key, home.picture_root):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert home.picture_issuer.read_text() == first.issuers
    assert "PRIVATE" not in home.picture_issuer.read_text()
    assert first.private_key not in repr(first)


def test_it_is_what_the_specification_demands(tmp_path: Path) -> None:
    """The signing certificate is no authority's, signs only, names its issuer's key, and is under the private root."""
    home = Home(tmp_path)
    with home.locked():
        credentials = load_credentials(home, OWN)
    leaf = x509.load_pem_x509_certificate(credentials.chain.encode())
    root = x509.load_pem_x509_certificate(credentials.issuers.encode())
    leaf.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    named = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert named.key_identifier == root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert credentials.algorithm == "es256"


def test_an_old_one_is_renewed_under_its_root(tmp_path: Path) -> None:
    """A certificate that would not last is replaced; pictures before and after are verified with the same root."""

    async def scenario() -> tuple[dict[str, Any], dict[str, Any]]:
        async with installation(tmp_path) as here:
            load_credentials(here.home, OWN)
            root_key, root = load_pair(here.home.picture_root)
            assert root_key is not None
            assert root is not None
            key = ec.generate_private_key(ec.SECP256R1())
            old = make_leaf(key, root_key, root, timedelta(days=100))
            text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            await here.paint()
            before = await here.read(await here.paint())
            write_private(here.home.picture_key, text + old.public_bytes(Encoding.PEM))
            later = Finisher(here.home, OWN)
            data = await later.finish(noise(), format="png", compression=None, facts=picture_facts())
            await later.close()
            return before, await here.read(data)

    before, after = asyncio.run(scenario())
    assert before["origin"]["signed_by"]["expected"] is True
    assert after["origin"]["signed_by"]["expected"] is True
    assert before["origin"]["signed_by"]["serial"] != after["origin"]["signed_by"]["serial"]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_broken_file_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    """A key file that cannot be read is told, and not overwritten by a new key."""
    home = Home(tmp_path)
    with home.locked():
        write_private(home.picture_key, content)
        with pytest.raises(HomeError, match=r"picture\.pem"):
            load_credentials(home, OWN)
    assert home.picture_key.read_bytes() == content


AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING


def _certificate(
    key: AnyKey,
    name: str,
    issuer: "tuple[AnyKey, x509.Certificate] | None",
    *,
    authority: bool,
    purpose: ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> x509.Certificate:
    """A certificate as an organization's authority makes it."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lighthouse Ltd"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    issuer_key, issuer_name = (key, subject) if issuer is None else (issuer[0], issuer[1].subject)
    now = datetime.now(UTC) - timedelta(minutes=1)
    flags = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **flags)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(issuer_key, None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else SHA256())


def _bring(folder: Path, key: AnyKey, **changes: Any) -> tuple[ProvenanceSettings, str]:
    """An organization's chain of root, intermediate and signing certificate, and its root's PEM."""
    root_key, middle_key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(root_key, "Root", None, authority=True)
    middle = _certificate(middle_key, "Issuing", (root_key, root), authority=True)
    leaf = _certificate(key, "Pictures", (middle_key, middle), authority=False, **changes)
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in (leaf, middle, root)))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    settings = ProvenanceSettings(certificate=str(chain), private_key=SecretRef(file=str(private)))
    return settings, root.public_bytes(Encoding.PEM).decode()


KEYS: dict[str, AnyKey] = {
    "es256": ec.generate_private_key(ec.SECP256R1()),
    "es384": ec.generate_private_key(ec.SECP384R1()),
    "es512": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ps256": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_an_organization_brings_its_own(tmp_path: Path, algorithm: str) -> None:
    """Pictures are signed with a brought certificate of each kind, and verified with its root alone."""
    settings, root = _bring(tmp_path, KEYS[algorithm])

    async def scenario() -> tuple[dict[str, Any], bool]:
        async with installation(tmp_path / "home", settings=settings) as here:
            assert load_credentials(here.home, settings).algorithm == algorithm
            report = await here.read(await here.paint("jpeg"), root)
            return report, here.home.picture_key.exists()

    report, made_one = asyncio.run(scenario())
    assert report["state"] == "intact"
    signed_by = report["origin"]["signed_by"]
    assert (signed_by["expected"], signed_by["organization"], signed_by["name"]) == (True, "Lighthouse Ltd", "Pictures")
    assert not made_one


def test_one_for_another_purpose_is_not_signed_with(tmp_path: Path) -> None:
    """With a certificate that C2PA does not allow no picture is given out."""
    settings, _ = _bring(tmp_path, KEYS["es256"], purpose=CODE_SIGNING)

    async def scenario() -> None:
        async with installation(tmp_path / "home", settings=settings) as here:
            with pytest.raises(ProvenanceUnavailable):
                await here.paint()

    asyncio.run(scenario())


def test_a_wrong_key_is_told(tmp_path: Path) -> None:
    """A private key of another certificate, a lone certificate and a missing file name the setting."""
    settings, _ = _bring(tmp_path, KEYS["es256"])
    home = Home(tmp_path / "home")
    other = tmp_path / "other.pem"
    other.write_bytes(KEYS["es384"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    chain = Path(str(settings.certificate))
    lone = tmp_path / "lone.pem"
    lone.write_text(chain.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    with home.locked():
        for changes, named in (
            ({"private_key": SecretRef(file=str(other))}, "provenance.private_key"),
            ({"certificate": str(lone)}, "provenance.certificate"),
            ({"certificate": str(tmp_path / "missing.pem")}, "provenance.certificate"),
            ({"private_key": SecretRef(file=str(chain))}, "provenance.private_key"),
        ):
            with pytest.raises(ConfigError, match=named):
                load_credentials(home, settings.model_copy(update=changes))


def test_only_authorities_can_be_expected(tmp_path: Path) -> None:
    """Of a PEM file the authorities' certificates are taken; without one it is refused."""
    settings, root = _bring(tmp_path, KEYS["es256"])
    chain = Path(str(settings.certificate)).read_bytes()
    assert read_issuers(chain).count("BEGIN CERTIFICATE") == 2
    assert read_issuers(root.encode()) == root
    for wrong in (b"", b"nothing", chain[: chain.index(b"-----END CERTIFICATE-----") + 26]):
        with pytest.raises(ConfigError):
            read_issuers(wrong)
