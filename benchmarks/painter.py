"""What a picture costs: seconds from a request to a picture and memory of the painter's process, by size.

Targets on two cores: a median of at most 1.5 s for 256 x 256, and at most 500 MB.

    python -m benchmarks.painter --pictures 20
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.processes import resident_mb
from benchmarks.serving import machine
from freehold.config import engine_environment
from freehold.engines.base import Connection, EngineSpec
from freehold.engines.painter import PainterEngine
from freehold.errors import EngineUnavailable
from freehold.types.deployment import DeploymentSettings
from freehold.types.images import PaintRequest, PictureOperation

SIZES = ("256x256", "512x512", "1024x1024")


async def _ready(connection: Connection) -> float:
    """Wait until the painter answers; seconds that it took."""
    started = time.monotonic()
    while True:
        try:
            await connection.open()
        except EngineUnavailable:
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - started


async def _seconds(connection: Connection, size: str, seed: int) -> float:
    """How long one picture takes."""
    request = PaintRequest(PictureOperation.GENERATION, "a cat on a blue background", 1, size, seed)
    started = time.monotonic()
    async for _ in connection.paint(request):
        pass
    return time.monotonic() - started


async def measure(pictures: int, socket: Path) -> None:
    """Start a painter, ask it and print a table."""
    settings = DeploymentSettings(name="painter", model="starter-painter", engine="painter", task="images")
    engine, spec = PainterEngine(), EngineSpec(settings)
    launch = engine.launch(spec, socket)
    process = await asyncio.create_subprocess_exec(
        *launch.argv, env=engine_environment(launch.env), stdin=subprocess.PIPE
    )
    connection = engine.connect(spec, socket)
    try:
        print(f"{machine()}\nready after {await _ready(connection):.1f} s")
        for size in SIZES:
            times = [await _seconds(connection, size, seed) for seed in range(pictures)]
            memory = resident_mb(process.pid)
            print(
                f"{size}: median {statistics.median(times):.2f} s, slowest {max(times):.2f} s, memory {memory:.0f} MB"
            )
    finally:
        await connection.close()
        process.kill()
        await process.wait()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20, help="of each size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fh") as folder:
        asyncio.run(measure(arguments.pictures, Path(folder) / "s"))


if __name__ == "__main__":
    main()
