"""`freehold train pretrain`: a language model from nothing."""

import asyncio
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.train_submit import Submission, submission, submitted
from freehold.cli.train_watch import follow
from freehold.errors import ConfigError
from freehold.training.language.build import Machines, Run, opened, pretrain
from freehold.training.language.task import DeviceKind

MasterOption: TypeAlias = Annotated[
    str | None, typer.Option("--master", metavar="HOST:PORT", help="Of the first machine, if there are several.")
]
PriceOption: TypeAlias = Annotated[
    float | None, typer.Option("--price-per-hour", min=0, help="Of one device, for the log.")
]
SubmitOption: TypeAlias = Annotated[
    bool, typer.Option("--submit", help="Have the service do it, as a job: it asks for room, and makes room.")
]
ZoneOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--zone", metavar="ZONE", help="With --submit: where it may run; repeatable.")
]


def train_pretrain(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where checkpoints and logs go.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="Prepared texts: see 'freehold train data'.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="NAME", help="shakespeare, speedrun, depth-12, …, or a recipe's file (FILE.json)."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Another value, such as training.steps=500; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in the folder, if it holds one.")
    ] = False,
    devices: Annotated[int, typer.Option("--devices", min=1, help="Processes on this machine, one a GPU.")] = 1,
    device: Annotated[DeviceKind, typer.Option("--device", help="What they compute on.")] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of each process. [default: its share of the processors]")
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines, each with as many devices.")] = 1,
    node_rank: Annotated[int, typer.Option("--node-rank", min=0, help="Which of the machines this is.")] = 0,
    master: MasterOption = None,
    price_per_hour: PriceOption = None,
    submit: SubmitOption = False,
    zones: ZoneOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a language model from nothing. Needs the extra 'train'. Ctrl-C stops it, with a checkpoint.

    requirements/train.txt pins the versions of the extra, and tells how to add torch to them. With --submit the
    folders are those of the server's machine, and of each node; --devices says how many processes there are in all.
    """
    if zones and not submit:
        raise typer.BadParameter("--zone goes with --submit")
    run = opened(out.absolute(), data, recipe, pairs(settings or []), resume=resume)
    if submit:
        for given, option in ((nodes > 1, "--nodes"), (node_rank, "--node-rank"), (master, "--master")):
            if given:
                raise typer.BadParameter(f"{option} does not go with --submit: the service places the processes")
        asked = Submission(devices, device, threads, tuple(zones or ()), resume)
        submitted(asyncio.run(submission(home_of(home), run, asked)), as_json=as_json)
        return
    if run.finished:
        print(f"{out} holds the finished training '{run.recipe.name}', at step {run.step}")
        return
    machines = Machines(devices, nodes, node_rank, master, device, threads, price_per_hour)
    try:
        asyncio.run(_trained(run, machines))
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        where = f"a checkpoint of step {run.step} holds where it was" if run.step else "no step was made"
        print(f"stopped; {where}. Go on with: freehold train pretrain --out {out} --resume", flush=True)
        raise KeyboardInterrupt from exc
    print(f"the training is in {out}, at step {run.step} of {run.recipe.training.steps}")


async def _trained(run: Run, machines: Machines) -> None:
    """Train, and show how far it is. Asked to end by SIGTERM, as a scheduler does, it stops as at Ctrl-C."""
    whole = asyncio.current_task()
    assert whole is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, whole.cancel)
    ended = threading.Event()
    shown = asyncio.create_task(asyncio.to_thread(follow, run.out, lambda _: ended.is_set(), anew=False))
    try:
        await pretrain(run, machines, lambda line: print(line, flush=True))
    finally:
        ended.set()
        await shown


def pairs(settings: Sequence[str]) -> dict[str, str]:
    """What `--set` gives, by path.

    Raises:
        ConfigError: one has no value.
    """
    found = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set: '{setting}' is not PATH=VALUE, such as training.steps=500")
        found[path.strip()] = value
    return found
