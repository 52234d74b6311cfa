"""Whether an engine that runs already is the one that would be started: equal by its digest, it can take its place."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Final

import orjson

import freehold
from freehold.cluster.base import Part, Placement
from freehold.cluster.node_files import with_paths

PACKAGE: Final = Path(freehold.__file__).parent


def digest_of(placement: Placement, version: str = freehold.__version__) -> str:
    """SHA-256, in hex, of all by which one engine differs from another: how it is called, of whom, and of what.

    Its id does not count, nor do the machine's paths: of weights their digests stand for them. Two gateways of a home,
    or one before and after its restart, come to the same.

    Args:
        placement: of the engine.
        version: of Freehold, which must be equal too.
    """
    told = {
        "version": version,
        "deployment": placement.deployment,
        "processes": [
            [with_paths(part.argv, _names(placement)), sorted(part.env.items()), astuple(part.needs)]
            for part in (Part(placement.argv, placement.env, placement.needs), *placement.others)
        ],
    }
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def _names(placement: Placement) -> Sequence[tuple[str, str]]:
    """The paths of this machine, and what stands for each."""
    here = [(sys.executable, "{python}"), (str(PACKAGE), "{package}"), (str(placement.socket), "{socket}")]
    return [*here, *((str(path), f"{{file {digest}}}") for path, digest in placement.files.items())]
