"""How tests start the processes of jobs."""

from pathlib import Path

PATHS = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""The environment in which `tests.jobs.program` is found."""


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
