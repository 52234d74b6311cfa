"""Times a program between two of its steps, from outside: by the clock on the wall, and by its processor time."""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import processor_s


@dataclass(frozen=True, slots=True)
class Elapsed:
    """What the steps took, in seconds."""

    wall_s: float
    processor_s: float


def between(
    argv: Sequence[str], line: re.Pattern[str], steps: tuple[int, int], *, cwd: Path, environment: Mapping[str, str]
) -> Elapsed:
    """Run a program until it has told of the second step, and tell how long it took since it told of the first.

    Args:
        argv: the program.
        line: of its output, with the group `step`.
        steps: the two.
        cwd: where it runs.
        environment: added to this process's.

    Raises:
        SystemExit: it ended before, with the end of what it said.
    """
    process = subprocess.Popen(
        argv, cwd=cwd, env={**os.environ, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    said: list[str] = []
    begun: Elapsed | None = None
    try:
        for text in process.stdout:
            now = Elapsed(time.perf_counter(), processor_s(process.pid))
            said.append(text)
            found = line.search(text)
            if found and int(found["step"]) == steps[0]:
                begun = now
            if found and int(found["step"]) == steps[1] and begun is not None:
                return Elapsed(now.wall_s - begun.wall_s, now.processor_s - begun.processor_s)
    finally:
        process.kill()
        process.wait()
    raise SystemExit(f"{argv[:4]} ended before step {steps[1]}; it said:\n{''.join(said)[-3000:]}")
