"""The process in which pictures are encoded, signed and read: all native code that touches them, and nothing else.

Run as `python -m freehold.provenance.worker [--memory-bytes N]` by `freehold.provenance.process`. It answers frames
on its standard input with frames on its standard output, one after the other, and ends with its input. A signing key
is told in the first frame, so that it stands in no argument and no environment; the worker that reads files of
unknown origin gets none.
"""

import argparse
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from c2pa import C2paError

from freehold.provenance.c2pa_manifests import (
    DamagedManifest,
    ManifestSigner,
    UnreadableParent,
    context,
    read_manifests,
)
from freehold.provenance.frames import (
    HEAD,
    TOO_LARGE,
    UNREADABLE,
    UNREADABLE_PARENT,
    UNSIGNED,
    Frame,
    head_length,
    pack,
    read_head,
)
from freehold.provenance.marks import read_source_type, xmp_packet
from freehold.provenance.pillow_encoding import UnreadablePicture, encode, identify, xmp_of
from freehold.provenance.report import damaged_report, report_of
from freehold.types.images import PictureFacts, PictureOperation

_TRIAL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63600000000200015"
    "73aee4c0000000049454e44ae426082"
)
"""One pixel."""


_FAULTS: Mapping[type[Exception], str] = {
    UnreadablePicture: UNREADABLE,
    UnreadableParent: UNREADABLE_PARENT,
    MemoryError: TOO_LARGE,
}


class Worker:
    """Answers frames. Has a signer once it was told to have one."""

    def __init__(self) -> None:
        self._signer: ManifestSigner | None = None

    def answer(self, frame: Frame) -> Frame:
        """Do what a frame asks for."""
        values, blobs = frame.values, frame.blobs
        try:
            match values["do"]:
                case "open":
                    return self._open(values)
                case "finish":
                    return self._finish(values, blobs[0], tuple(blobs[1:]))
                case _:
                    return _read(values, blobs[0])
        except tuple(_FAULTS) as exc:
            return _error(_FAULTS[type(exc)], str(exc))
        except C2paError as exc:
            return _error(UNSIGNED, str(exc))

    def _open(self, values: Mapping[str, Any]) -> Frame:
        """Take the credentials, and try them on a picture."""
        credentials = (values["chain"], values["private_key"], values["algorithm"], values["issuers"])
        signer = ManifestSigner(*credentials)
        facts = PictureFacts("trial", PictureOperation.GENERATION, "", "", "", "", None, 0)
        signed = signer.sign(encode(_TRIAL_PNG, "png", None, xmp_packet(facts)), "png", facts)
        failures = signer.failures(signed, "png")
        if failures:
            return _error(UNSIGNED, f"C2PA does not accept the certificate: {', '.join(failures)}")
        self._signer = signer
        return Frame({})

    def _finish(self, values: Mapping[str, Any], png: bytes, parents: tuple[bytes, ...]) -> Frame:
        """Encode, mark and sign."""
        assert self._signer is not None, "a worker that finishes pictures was opened"
        told = values["facts"]
        facts = PictureFacts(**{**told, "operation": PictureOperation(told["operation"]), "parents": parents})
        format_name = values["format"]
        encoded = encode(png, format_name, values["compression"], xmp_packet(facts))
        return Frame({}, (self._signer.sign(encoded, format_name, facts),))


def _read(values: Mapping[str, Any], data: bytes) -> Frame:
    """Tell where a file came from."""
    format_name = identify(data)
    iptc = read_source_type(xmp_of(data))
    issuers = values["issuers"]
    try:
        found = read_manifests(data, format_name, context(issuers))
    except DamagedManifest as exc:
        return Frame({"report": damaged_report(format_name, str(exc), iptc).wire()})
    return Frame({"report": report_of(format_name, found, iptc, expecting=bool(issuers)).wire()})


def _error(kind: str, message: str) -> Frame:
    return Frame({"error": {"kind": kind, "message": message}})


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until the input ends."""
    worker = Worker()
    while raw := source.read(HEAD.size):
        values, lengths = read_head(source.read(head_length(raw)))
        blobs = tuple(source.read(length) for length in lengths)
        sink.writelines(pack(worker.answer(Frame(values, blobs))))
        sink.flush()


def main() -> None:
    """Bound the memory, keep the pipe for frames alone, and serve."""
    parser = argparse.ArgumentParser(prog="python -m freehold.provenance.worker")
    parser.add_argument("--memory-bytes", type=int, required=True)
    bound = parser.parse_args().memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the key
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the frames
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
