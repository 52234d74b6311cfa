"""`freehold provenance`: where a picture came from, and whether that can be believed. Needs no server."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, visible
from freehold.errors import ConfigError, HomeError, InvalidRequest
from freehold.provenance.certificate import read_issuers
from freehold.provenance.reader import ProvenanceReader
from freehold.store.home import Home

app = command_group()

MAX_FILE_BYTES = 256 << 20
_STATES = {
    "intact": "the signature holds, and every byte is as it was signed",
    "changed": "NOT AS IT WAS SIGNED",
    "lapsed": "unchanged, but the certificate that it was signed with IS NOT VALID",
    "damaged": "there is a manifest, but it cannot be read",
    "none": "there is no manifest: nothing is known of its origin",
}
_HOW = {
    "trainedAlgorithmicMedia": "made by a trained model",
    "compositeWithTrainedAlgorithmicMedia": "made from something else, changed by a trained model",
}
_EPILOG = """\b
Examples:
  freehold provenance picture.png
  freehold provenance picture.png --certificate issuer.pem"""


@app.command(epilog=_EPILOG)
def provenance(
    file: Annotated[Path, typer.Argument(help="A PNG, JPEG or WebP file.")],
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM", help="The certificate of the authority to expect. [default: HOME/provenance/issuer.pem]"
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell who made a picture, when, from what, and whether the file was changed since.

    Exit code 0: it is as it was signed, by whom it was expected of; 1: it is not, or there is no manifest.
    """
    report = asyncio.run(_read(_bytes(file), _issuers(certificate, Home(home_of(home)))))
    if as_json:
        print_json(report)
    else:
        print(visible("\n".join(describe(file.name, report))))
    if not report["convincing"]:
        raise typer.Exit(ExitCode.FAILED)


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidRequest(f"{file} is larger than {MAX_FILE_BYTES >> 20} MiB", param="file")
        return file.read_bytes()
    except OSError as exc:
        raise InvalidRequest(f"{file} cannot be read: {exc.strerror}", param="file") from exc


def _issuers(certificate: Path | None, home: Home) -> str:
    """The certificates to expect; none where none is given and the home has signed nothing yet."""
    path = certificate or home.picture_issuer
    if certificate is None and not path.exists():
        return ""
    try:
        return read_issuers(path.read_bytes())
    except OSError as exc:
        raise HomeError(f"{path} cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.message}", param="certificate") from exc


async def _read(data: bytes, issuers: str) -> dict[str, Any]:
    reader = ProvenanceReader()
    try:
        return await reader.read(data, issuers)
    finally:
        await reader.close()


def describe(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    """The report in words."""
    yield f"{name}: {_STATES[report['state']]}"
    for problem in report["problems"]:
        yield f"  {problem['explanation']} ({problem['code']})"
    origin = report["origin"]
    if origin is not None:
        yield f"  {_signed_by(origin['signed_by'])}"
        yield from (f"  {line}" for line in _origin(origin))
    if report["iptc_digital_source_type"] is not None:
        yield f"  IPTC mark: {_how(report['iptc_digital_source_type'])}"


def _signed_by(signer: Mapping[str, Any]) -> str:
    holder = ", ".join(filter(None, (signer["name"], signer["organization"]))) or "nobody who is named"
    match signer["expected"]:
        case True:
            return f"signed by {holder}: the expected certificate"
        case False:
            return f"signed by {holder}: NOT THE EXPECTED CERTIFICATE"
    return f"signed by {holder}; no certificate to compare with"


def _origin(origin: Mapping[str, Any]) -> Iterator[str]:
    """A manifest, and those of what the picture was made from, further in."""
    yield f"made with {origin['generator'] or 'a program that is not named'}"
    for action in origin["actions"]:
        agent = " ".join(filter(None, (action["agent"], (action["agent_version"] or "")[:12])))
        how = _how(action["digital_source_type"]) if action["digital_source_type"] else None
        parts = (action["when"], f"by {agent}" if agent else None, how)
        yield "  ".join(filter(None, (f"  {action['action'].removeprefix('c2pa.')}", *parts)))
    picture = origin["picture"] or {}
    for key, label in (("request_id", "request"), ("deployment", "deployment"), ("seed", "seed")):
        if picture.get(key) is not None:
            yield f"  {label} {picture[key]}"
    if isinstance(picture.get("created"), int):
        yield f"  painted {_moment(picture['created'])}"
    if isinstance(picture.get("unfinished"), int):
        yield f"  UNFINISHED: state {picture['unfinished']} on the way to the picture"
    for parent in origin["made_from"]:
        own = {
            None: "without a manifest of its own",
            True: "whose manifest holds",
            False: "WHOSE MANIFEST DOES NOT HOLD",
        }
        yield f"made from: {parent['title'] or 'a picture'} ({parent['format'] or '?'}), {own[parent['holds']]}"
        if parent["origin"] is not None:
            yield f"  {_signed_by(parent['origin']['signed_by'])}"
            yield from (f"  {line}" for line in _origin(parent["origin"]))


def _how(source_type: str) -> str:
    term = source_type.rpartition("/")[2]
    return f"{_HOW[term]} ({term})" if term in _HOW else term


def _moment(seconds: int) -> str:
    """A time since the epoch as people read it; as it is where there is no such year."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return str(seconds)
