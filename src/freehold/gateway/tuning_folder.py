"""The folder of a fine-tuning job: its examples, its task, what it needs; later its checkpoints and its result.

The task comes last, so that it says that all is there. What a job needs is decided with it and holds to the end: other
numbers of threads would add numbers up in another order.
"""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from freehold.gateway.training_needs import Needs
from freehold.gateway.tuning_bench import Bench, WorkParts
from freehold.gateway.tuning_data import VALIDATED, lay_down
from freehold.gateway.tuning_store import Tuning, TuningStore
from freehold.store.fine_tuning import running_tunings
from freehold.types.cluster import Node, NodeState
from freehold.types.fine_tuning import FineTuningSettings, TuningStatus, model_name
from freehold.types.model import ModelEntry

TASK: Final = "task.json"
NOTES: Final = "origin.json"
NEEDS: Final = "needs.json"


async def lay_out(parts: WorkParts, bench: Bench, parent: ModelEntry) -> None:
    """Check the files of examples, and lay down all that a job needs, unless that was done before.

    Raises:
        Problems: the examples cannot be trained on.
        FileGone: there is no such file any more.
        OSError: the folder cannot be written.
        LeaseLost: somebody else has the job.
    """
    if await asyncio.to_thread((bench.folder / TASK).exists):
        return
    row, folder, store = bench.tuning.row, bench.folder, parts.store
    await asyncio.to_thread(partial(shutil.rmtree, folder, ignore_errors=True))
    await asyncio.to_thread(partial(folder.mkdir, mode=0o700, parents=True))
    digests = {"base": parent.sha256}
    for name, file_id in (("training", row.training_file), ("validation", row.validation_file)):
        if not file_id:
            continue
        if row.status == TuningStatus.VALIDATING:  # else it was looked at while it waited
            said = await store.event(row, f"Validating {name} file: {file_id}")
            await store.change(bench.hold.lease, bench.tuning, said)
        sha256, pieces = await store.input(row, file_id, f"{name}_file")
        report = await lay_down(
            pieces, folder / f"{name}.jsonl", name, row.method, most_examples=parts.settings.max_examples
        )
        digests[name] = await bench.origin.data(name, file_id, sha256, report.examples)
    needs = needed(parts.settings, await parts.cluster.nodes(), here=parts.program.nodes is None)
    await asyncio.to_thread(_write, folder / NOTES, digests)
    await asyncio.to_thread(_write, folder / NEEDS, needs.wire())
    await asyncio.to_thread(_write, folder / TASK, _task(parts, bench.tuning, parent, needs.threads))
    if row.status == TuningStatus.VALIDATING:
        said = await store.event(row, VALIDATED)
        await store.change(bench.hold.lease, bench.tuning, said, status=TuningStatus.QUEUED)


def _task(parts: WorkParts, tuning: Tuning, parent: ModelEntry, threads: int) -> dict[str, Any]:
    """What `freehold.training.finetune.protocol.Task` reads."""
    row = tuning.row
    part = tuning.header["method"].get(row.method) or {}
    return {
        "method": row.method,
        "base": {"name": parent.name, "path": str(parts.bases.path(parent)), "sha256": parent.sha256},
        "training": "training.jsonl",
        "validation": "validation.jsonl" if row.validation_file else None,
        "hyperparameters": part.get("hyperparameters") or {},
        "seed": row.seed,
        "export": row.export,
        "name": model_name(row.model, row.project_id, tuning.header["suffix"], row.id),
        "threads": threads,
        "max_steps": None,
        "checkpoint_steps": "auto",
        "export_checkpoints": parts.settings.export_checkpoints,
        "response_format": part.get("response_format"),
    }


def needed(settings: FineTuningSettings, nodes: Sequence[Node], *, here: bool) -> Needs:
    """What a job needs that begins now.

    Where the threads are left open it has, of cores that are counted, those that are free on one node, so that it
    asks for no room that replicas always have; half of a node's where hardly any are.

    Args:
        settings: what is said of it.
        nodes: what there is.
        here: whether it trains on this machine.
    """
    memory, threads = settings.max_memory_bytes or 0, settings.threads
    needs = Needs(1, "auto", "", 0 if threads == "auto" else threads, memory, (), settings.checkpoint_s)
    if threads == "auto":
        most = _cores() if here else None
        needs = replace(needs, threads=_threads([node for node in nodes if node.state is NodeState.READY], most))
    return needs.settled(nodes)


def _cores() -> int:
    """How many cores this machine has but for one, which is the server's."""
    return max(1, (os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count() or 2) - 1)


def _threads(nodes: Sequence[Node], here: int | None) -> int:
    """How many threads a job has that does not say: all that are free on one node.

    Args:
        nodes: those that take something.
        here: how many there are at most where it trains on this machine, and how many where none are counted.
    """
    most = max((node.total.cores for node in nodes), default=0.0)
    if not most:
        return here or _cores()
    free = max(int(node.free.cores) for node in nodes)
    threads = free if free >= 1 else int(most) // 2
    return max(1, threads if here is None else min(here, threads))


async def needs_of(bench: Bench, settings: FineTuningSettings) -> Needs:
    """What a job needs whose folder is laid out; one that an earlier version laid out has the threads of its task."""
    try:
        return Needs.from_wire(orjson.loads(await asyncio.to_thread((bench.folder / NEEDS).read_bytes)))
    except FileNotFoundError:
        task = orjson.loads(await asyncio.to_thread((bench.folder / TASK).read_bytes))
        return Needs(1, "auto", "", int(task["threads"]), settings.max_memory_bytes or 0, (), settings.checkpoint_s)


async def notes_of(bench: Bench) -> dict[str, str]:
    """What a job is made from, by digest."""
    notes: dict[str, str] = orjson.loads(await asyncio.to_thread((bench.folder / NOTES).read_bytes))
    return notes


async def removed(folder: Path) -> None:
    """Remove a job's folder, if it is there."""
    await asyncio.to_thread(partial(shutil.rmtree, folder, ignore_errors=True))


def _write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that it is there whole, or not at all, and for this user only."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(value))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


async def sweep(folder: Path, store: TuningStore) -> None:
    """Remove the folders of jobs that have ended, or are gone: their server died before it could."""
    if not await asyncio.to_thread(folder.is_dir):
        return
    running = await running_tunings(store.database, store.clock())
    for each in await asyncio.to_thread(lambda: list(folder.iterdir())):
        if each.name not in running:
            await removed(each)
