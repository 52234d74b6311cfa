"""Pre-trains a language model, in one process a device: what `freehold train pretrain` runs. No torch here.

The folder has everything: `run.json` says what is trained on what, the tokenizer lies beside it, and the processes
write checkpoints and the log.
"""

import asyncio
import fcntl
import json
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.engines.cores import logical_cores
from freehold.errors import ConfigError
from freehold.training.checkpoint_folders import CheckpointDamaged, CheckpointFolders, whole_manifest
from freehold.training.data.shards import CARD, PAGE, TokenShards
from freehold.training.data.writing import replace_file
from freehold.training.language.recipes import LanguageRecipe, named
from freehold.training.language.task import DeviceKind, Task
from freehold.training.process import QUICK_MEMORY, Say, run_module
from freehold.training.trainer.identity import decisive, difference
from freehold.training.trainer.log_file import NAME as LOG
from freehold.training.trainer.recipe import changed, read

RUN: Final = "run.json"
TOKENIZER: Final = "tokenizer"
"""The tokenizer's folder, within the training's and within that of its data."""
BOARD: Final = "tensorboard"
"""The folder of TensorBoard's files, within the training's."""
_LOCK: Final = "run.lock"


@dataclass(frozen=True, slots=True)
class Machines:
    """Where a training runs.

    Args:
        devices: on this machine, one process each.
        nodes: machines in all, each with as many devices.
        node_rank: which of them this is.
        master: HOST:PORT of the first, where all find each other; one machine needs none.
        device: of which kind.
        threads: of the processor, for each process; by default its share of those that there are.
        price_per_hour: of one device, for the log.
    """

    devices: int = 1
    nodes: int = 1
    node_rank: int = 0
    master: str | None = None
    device: DeviceKind = "auto"
    threads: int | None = None
    price_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A training in its folder.

    Args:
        recipe: what is trained, and how.
        data: the folder of its token shards.
        out: its own folder.
    """

    recipe: LanguageRecipe
    data: Path
    out: Path

    @property
    def step(self) -> int:
        """After which the newest checkpoint was written; 0 if there is none."""
        return next((step for step, _ in self._folders.newest_first()), 0)

    @property
    def finished(self) -> bool:
        """Whether that was the last, and is as it was written: the files of the last one are read for it."""
        for step, folder in self._folders.newest_first():
            if step < self.recipe.training.steps:
                break
            with suppress(CheckpointDamaged):
                whole_manifest(folder)
                return True
        return False

    @property
    def _folders(self) -> CheckpointFolders:
        return CheckpointFolders(self.out / "checkpoints", 1)


def recipe_of(name: str, vocabulary: int, settings: Mapping[str, str]) -> LanguageRecipe:
    """The recipe of a name, or of a JSON file, with some values changed.

    Raises:
        ConfigError: there is none, or a value is not possible.
    """
    if not name.endswith(".json"):
        return changed(named(name, vocabulary), settings)
    try:
        tree = json.loads(Path(name).read_bytes())
    except OSError as exc:
        raise ConfigError(f"the recipe {name} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigError(f"the recipe {name} is not JSON: {exc}") from exc
    return changed(read(LanguageRecipe, tree), settings)


def opened(
    out: Path, data: Path | None, recipe: str | LanguageRecipe | None, settings: Mapping[str, str], *, resume: bool
) -> Run:
    """The training in a folder: a new one, or with `resume` the one that it holds.

    Args:
        out: the folder.
        data: of token shards; need not be given again.
        recipe: a recipe, its name, or a JSON file; need not be given again.
        settings: values of the recipe that are to be others.
        resume: whether to go on with the training in the folder, if it holds one.

    Raises:
        ConfigError: something is missing or not possible, or the folder holds another training.
    """
    known = kept(out)
    begun = known is not None and known.step > 0  # otherwise nothing is lost if another training begins here
    if known is not None and begun and not resume:
        raise ConfigError(
            f"{out} holds the training '{known.recipe.name}' already, at step {known.step} of "
            f"{known.recipe.training.steps}; go on with it by --resume, or choose another folder"
        )
    source = data or (known.data if known else None)
    if source is None:
        raise ConfigError("--data: say where the prepared texts are (freehold train data prepares them)")
    shards = TokenShards.open(source)
    if isinstance(recipe, LanguageRecipe):
        wanted = changed(recipe, settings)
    elif recipe is not None:
        wanted = recipe_of(recipe, shards.vocabulary, settings)
    elif known is not None:
        wanted = changed(known.recipe, settings)
    else:
        raise ConfigError("--recipe: say what is to be trained, such as shakespeare or depth-12")
    run = Run(wanted, source.absolute(), out)
    if known is not None and begun and (other := difference(_identity(run), _identity(known))) is not None:
        raise ConfigError(f"{out} holds another training: {other}; choose another folder")
    return run


async def pretrain(run: Run, machines: Machines, say: Say) -> None:
    """Train to the end; cancelled, it stops with a checkpoint.

    Raises:
        ConfigError: the recipe cannot be done on these devices or with these data.
        EngineFailed: a process ended badly; what it said last is in the message.
    """
    layout = run.recipe.training.parallel.layout(machines.devices * machines.nodes)
    if run.recipe.training.batch % layout.data:
        raise ConfigError(
            f"training.batch: {run.recipe.training.batch} samples cannot be divided among {layout.data} groups of "
            f"devices; say a multiple of {layout.data}"
        )
    if machines.nodes > 1 and machines.master is None:
        raise ConfigError("--master: say HOST:PORT of the first machine, which the others can reach")
    if not machines.node_rank < machines.nodes:
        raise ConfigError(f"--node-rank: of {machines.nodes} machines the last has {machines.nodes - 1}")
    with alone(run, machines.node_rank):
        if machines.node_rank == 0:
            await asyncio.to_thread(keep, run)
        await _processes(run, machines, say)


async def _processes(run: Run, machines: Machines, say: Say) -> None:
    """Run one process a device; the first that ends badly ends all."""
    world = machines.devices * machines.nodes
    rendezvous = f"tcp://{machines.master or f'127.0.0.1:{_free_port()}'}" if world > 1 else ""
    threads = machines.threads or max(1, logical_cores() // machines.devices)
    environment = {**QUICK_MEMORY, "OMP_NUM_THREADS": str(threads)}
    if machines.nodes == 1:
        environment["GLOO_SOCKET_IFNAME"] = "lo"

    async def process(local: int) -> None:
        task = Task(
            recipe=run.recipe,
            data=str(run.data),
            out=str(run.out),
            device=machines.device,
            rank=machines.node_rank * machines.devices + local,
            local_rank=local,
            world=world,
            rendezvous=rendezvous,
            price_per_hour=machines.price_per_hour,
        )
        await run_module("freehold.training.language.worker", [task.model_dump_json()], say, environment=environment)

    try:
        async with asyncio.TaskGroup() as group:
            for local in range(machines.devices):
                group.create_task(process(local))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def kept(out: Path) -> Run | None:
    """The training that a folder holds; None if it holds none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        tree = json.loads((out / RUN).read_bytes())
        return Run(read(LanguageRecipe, tree["recipe"]), Path(tree["data"]), out)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{out / RUN} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{out / RUN} does not say what is trained here; choose another folder") from exc


def keep(run: Run) -> None:
    """Write down what is trained, and keep the tokenizer, without which the model is of no use, and the data's card."""
    part = run.out / f"{TOKENIZER}.part"
    if not run.step:
        for left in (part, run.out / TOKENIZER, run.out / BOARD):
            shutil.rmtree(left, ignore_errors=True)
        (run.out / LOG).unlink(missing_ok=True)
    if not (run.out / TOKENIZER).is_dir():
        shutil.copytree(run.data / TOKENIZER, part)
        part.rename(run.out / TOKENIZER)
    for name in (CARD, PAGE):
        if (run.data / name).is_file():
            replace_file(run.out / name, (run.data / name).read_bytes())
    tree = {"recipe": run.recipe.model_dump(mode="json"), "data": str(run.data)}
    replace_file(run.out / RUN, (json.dumps(tree, indent=1) + "\n").encode())


def _identity(run: Run) -> dict[str, Any]:
    recipe = run.recipe
    return {
        "name": recipe.name,
        "model": recipe.model.model_dump(mode="json"),
        "sequence": recipe.sequence,
        "training": decisive(recipe.training),
    }


@contextmanager
def alone(run: Run, node_rank: int = 0) -> Iterator[None]:
    """Keep others from training in the folder as long as this lasts; machines that share it do so together.

    Raises:
        ConfigError: a training is under way there.
    """
    run.out.mkdir(parents=True, exist_ok=True)
    with (run.out / f"{_LOCK}.{node_rank}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(f"a training is under way in {run.out}; watch it with: freehold train watch") from exc
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
