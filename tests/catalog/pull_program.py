"""A program: pull a model with a catalog of its own process. Never imported by a test.

`pull_program.py HOME URI [LIMIT]`: no file may grow over LIMIT bytes. Writes "pulling", then the model's digest or
the error, as lines on stdout.
"""

import asyncio
import resource
import sys
from pathlib import Path

from freehold.catalog.catalog import Catalog
from freehold.config import CatalogSettings
from freehold.errors import CatalogError
from freehold.store.database import Database


async def main(home: Path, uri: str) -> None:
    """Pull."""
    await asyncio.to_thread(home.mkdir, exist_ok=True)
    database = await Database.open(home / "freehold.db")
    sys.stdout.write("pulling\n")
    sys.stdout.flush()
    try:
        entry = await Catalog(database, home / "models", CatalogSettings(allow_http=True)).pull(uri)
    except CatalogError as exc:
        sys.stdout.write(f"{exc.message}\n")
    else:
        sys.stdout.write(f"{entry.sha256}\n")
    finally:
        await database.close()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
