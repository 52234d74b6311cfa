"""Makes a node ready for an engine or a job: the same version of Freehold is there, and the models, sent in pieces.

The node is an actor of `freehold.cluster.host`; Ray itself is not needed here.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import freehold
from freehold.cluster.node_files import Listing
from freehold.errors import EngineFailed, NoRoom

PIECE_BYTES: Final = 4 << 20
IN_FLIGHT: Final = 4
"""So many pieces of a model are on their way to a node at once."""


async def make_ready(host: Any, order: Mapping[str, Any], report: Callable[[str], None]) -> None:
    """Bring to a node all that is needed there: `files` of the order, once it has answered within `timeout_s`.

    Raises:
        NoRoom, EngineFailed: as of `meet`; and what the node says of a model.
    """
    await meet(host, order["timeout_s"])
    for path, digest in order["files"].items():
        await send(host, Path(path), digest, report)


async def meet(host: Any, timeout_s: float) -> None:
    """Wait until an actor is there, with the same version of Freehold as here.

    Raises:
        NoRoom: its node has not taken it in time.
        EngineFailed: the version is another one.
    """
    try:
        async with asyncio.timeout(timeout_s):
            about = await host.about.remote()
    except TimeoutError as exc:
        raise NoRoom(f"The node did not take it within {timeout_s:g} s.") from exc
    if about["version"] != freehold.__version__:
        raise EngineFailed(
            f"the node has Freehold {about['version']}, this machine {freehold.__version__}: install the same"
        )


async def send(host: Any, path: Path, digest: str, report: Callable[[str], None]) -> None:
    """Bring a model to a node that does not have it; `report` is told how far that is."""
    if not await host.missing.remote(digest):
        return
    listing = await asyncio.to_thread(Listing.of, path, digest)
    if not await host.begin.remote(digest, listing.files):
        return
    done, on_the_way = 0, set[Any]()
    for name, size in listing.files:
        file = path / name if name else path
        for offset in range(0, size, PIECE_BYTES):
            piece = await asyncio.to_thread(_read, file, offset)
            on_the_way.add(asyncio.ensure_future(_awaited(host.take.remote(digest, name, offset, piece))))
            while len(on_the_way) >= IN_FLIGHT:
                arrived, on_the_way = await asyncio.wait(on_the_way, return_when=asyncio.FIRST_COMPLETED)
                for each in arrived:
                    each.result()
            done += len(piece)
            report(f"copying to the node {100 * done // listing.bytes} %")
    await asyncio.gather(*on_the_way)
    await host.finish.remote(digest)


async def _awaited(reference: Any) -> Any:
    return await reference


def _read(file: Path, offset: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(PIECE_BYTES)
