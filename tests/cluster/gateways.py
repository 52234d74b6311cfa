"""Several real gateways on one PostgreSQL, for tests."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.service import Service

CONFIG = """
[server]
starter = false

[database]
url = {{ env = "FREEHOLD_TEST_DATABASE" }}

[gateway]
name = "{name}"
{more}
[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""


def gateway(
    folder: Path, name: str, url: str, *, master: Path | None = None, more: str = "", workers: int | None = None
) -> Service:
    """A gateway with a home of its own, which is not up yet; `master` is the home whose master key it gets."""
    home = folder / name
    if master is not None and not (home / "secrets" / "content").exists():
        (home / "secrets").mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy2(master / "secrets" / "content", home / "secrets" / "content")
    environment: Mapping[str, str] = {"FREEHOLD_TEST_DATABASE": url}
    return Service(home, CONFIG.format(name=name, more=more), environment=environment, workers=workers)


@contextmanager
def gateways(folder: Path, url: str, names: str = "ab", more: str = "") -> Iterator[list[Service]]:
    """Gateways of these names; they have the first one's master key. All of them are up."""
    with ExitStack() as stack:
        first = stack.enter_context(gateway(folder, names[0], url, more=more))
        others = [gateway(folder, name, url, master=first.home.root, more=more) for name in names[1:]]
        yield [first, *(stack.enter_context(each) for each in others)]
