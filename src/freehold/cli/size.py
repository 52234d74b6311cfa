"""`freehold size`: what a model will need and how fast it will be, before it is deployed."""

import asyncio
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from freehold.catalog.gguf_header import FILE_TYPES
from freehold.catalog.peeking import Peek, peek, peek_file
from freehold.catalog.sizing import (
    SHARES,
    MachineSpeed,
    Memory,
    ModelShape,
    Speed,
    memory_of,
    readers,
    shape_by_size,
    shape_of,
    slots_that_fit,
    speed_of,
)
from freehold.catalog.sizing_gpu import Gpus, check_heads, shape_of_folder
from freehold.cli import size_gpu
from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.size_gpu import gpus_named
from freehold.cli.size_probe import machine_speed, memory_available
from freehold.cli.tables import in_bytes, print_table
from freehold.config import Settings, load_settings, url_from_environment
from freehold.engines.openvino_formats import ARCHITECTURES, refusal
from freehold.errors import InvalidRequest, NotFound
from freehold.store.home import Home

app = command_group()

_COUNT: Final = re.compile(r"(\d+(?:\.\d+)?)([MBT])", re.IGNORECASE)
_UNITS: Final = {"M": 1e6, "B": 1e9, "T": 1e12}
_USUAL_CONTEXT: Final = 8192
_LEAST_PARAMETERS: Final = 1_000_000
_EPILOG = """\b
Examples:
  freehold size smollm2-135m-instruct
  freehold size hf://org/repo/model-Q4_K_M.gguf --context 16384 --slots 4
  freehold size 7B --bits 4.5
  freehold size 70B --bits 16 --gpu h100 --gpus 4"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one engine would make of the model: see `freehold.catalog.sizing`.

    Args:
        engine: its name.
        memory: of one replica.
        slots_that_fit: of that context, in the memory that is free now; None where the system does not tell.
        speed: in tokens a second.
        readers: the most streams that can be read along.
    """

    engine: str
    memory: Memory
    slots_that_fit: int | None
    speed: Speed
    readers: int


@app.command(epilog=_EPILOG)
def size(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model of the catalog, a URI of a GGUF file, or a size such as 7B."),
    ],
    bits: Annotated[
        float | None, typer.Option(min=1, max=32, help="Bits a parameter, with MODEL a size. [default: 4.5]")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=16, help="Tokens a request, prompt and answer. [default: the model's, to 8192]")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 8,
    engines: Annotated[
        list[str] | None, typer.Option("--engine", help=f"Of {', '.join(SHARES)}. Repeatable. [default: all]")
    ] = None,
    reading_speed: Annotated[
        float, typer.Option(min=0.1, help="Tokens a second at which people read; 6 are about 250 words a minute.")
    ] = 6.0,
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="NAME", help="What vllm would make of GPUs such as h100, not of this machine."),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, max=1024, help="How many, with --gpu.")] = 1,
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="Measure the machine anew, not as it was found before.")
    ] = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what memory a model will need, how fast it will be, and how many people it will hold on this machine.

    The memory is computed from the model's own header, which is all that is fetched of it. The speed is an estimate
    from this machine's bandwidth and arithmetic, which are measured once, in a few seconds; 'freehold bench engine'
    measures a deployment. With --gpu it tells of GPUs under vllm instead, by their makers' figures.
    """
    chosen = _engines(engines)
    place = home_of(home)
    shape, named, peeked = asyncio.run(_shape(model, bits, place, load_settings(config)))
    if gpu is not None:
        _on_gpus(f"{model}: {named}", shape, peeked, gpus_named(gpu, gpus), context, slots, as_json=as_json)
        return
    if isinstance(peeked, Path):
        raise InvalidRequest(f"'{model}' is kept as safetensors, which vllm serves: give --gpu, such as --gpu h100")
    refused = {} if peeked is None else {name: why for name in chosen if (why := _refused(name, peeked)) is not None}
    if len(refused) == len(chosen):
        raise InvalidRequest(next(iter(refused.values())))
    length = context or min(shape.context_length, _USUAL_CONTEXT)
    machine = machine_speed(place, again=measure_again)
    free = memory_available()
    names = [name for name in chosen if name not in refused]
    found = [_estimate(name, shape, length, slots, machine, free, reading_speed) for name in names]
    if as_json:
        print_json({**_as_json(model, shape, length, slots, machine, free, found), "not_served": refused})
    else:
        _print(f"{model}: {named}", shape, length, machine, free, found, reading_speed)
        for why in refused.values():
            print(f"Not told here: {why}.")


def _estimate(
    engine: str,
    shape: ModelShape,
    context: int,
    slots: int,
    machine: MachineSpeed,
    free: int | None,
    reading_speed: float,
) -> Estimate:
    """What one engine would make of the model on this machine."""
    share = SHARES[engine]
    return Estimate(
        engine,
        memory_of(shape, share, context, slots),
        None if free is None else slots_that_fit(shape, share, context, free),
        speed_of(shape, share, machine, slots),
        readers(shape, share, machine, reading_speed),
    )


def _engines(names: list[str] | None) -> list[str]:
    """The engines to tell of.

    Raises:
        typer.BadParameter: there is none of that name, or nothing is known of how fast it is.
    """
    for name in names or ():
        if name not in SHARES:
            raise typer.BadParameter(f"'{name}': what it needs is known of {', '.join(SHARES)}", param_hint="--engine")
    return names or list(SHARES)


def _refused(engine: str, peeked: Peek) -> str | None:
    """Why an engine does not serve the model, as far as its file is here, or its header tells; None where it may."""
    if engine != "openvino":
        return None
    if peeked.file is not None:
        return refusal(peeked.file)
    architecture = peeked.header.metadata.get("general.architecture")
    if architecture in ARCHITECTURES:
        return None
    return f"the engine 'openvino' does not read the architecture '{architecture}'"


def _on_gpus(
    title: str,
    shape: ModelShape,
    peeked: Peek | Path | None,
    gpus: Gpus,
    context: int | None,
    slots: int,
    *,
    as_json: bool,
) -> None:
    """Tell what GPUs would make of the model."""
    if isinstance(peeked, Path):
        check_heads(peeked, gpus.count)
    length = context or min(shape.context_length, _USUAL_CONTEXT)
    if as_json:
        print_json(size_gpu.facts(title.partition(":")[0], shape, gpus, length, slots))
    else:
        size_gpu.tell(f"{title}, {_count(shape.parameters)} parameters", shape, gpus, length, slots)


async def _shape(
    model: str, bits: float | None, home: Path, settings: Settings
) -> tuple[ModelShape, str, Peek | Path | None]:
    """What is known of the model, how to tell it, and its header or its folder, unless it is a mere size.

    Raises:
        typer.BadParameter: the options do not go together.
        FreeholdError: there is no such model, or it is none whose needs can be computed.
    """
    count = _COUNT.fullmatch(model)
    if count is not None:
        parameters = round(float(count[1]) * _UNITS[count[2].upper()])
        if parameters < _LEAST_PARAMETERS:
            raise typer.BadParameter(f"'{model}': a model has at least a million parameters", param_hint="MODEL")
        width = 4.5 if bits is None else bits
        told = f"{width:g} bits a parameter, shaped like the usual dense model"
        return shape_by_size(parameters, width), told, None
    if bits is not None:
        raise typer.BadParameter("a file has its own bits; give them with a size such as 7B", param_hint="--bits")
    file = None if "://" in model else await _catalog_file(model, home, settings)
    if file is not None and file.is_dir():
        return shape_of_folder(file), "safetensors", file
    found = await peek(model, settings.catalog) if file is None else await asyncio.to_thread(peek_file, file)
    kind = found.header.metadata.get("general.file_type")
    quantization = FILE_TYPES.get(kind, "GGUF") if isinstance(kind, int) else "GGUF"
    return shape_of(found.header, found.file_bytes), quantization, found


async def _catalog_file(model: str, home: Path, settings: Settings) -> Path:
    """The file of a model of the catalog of a home on this machine.

    Raises:
        InvalidRequest: the environment names another server, or the model is a folder.
        NotFound: the catalog has no such model, or there is no catalog.
    """
    if url_from_environment() is not None:
        raise InvalidRequest("this reads the files of a home on this machine; unset FREEHOLD_URL, or give a URI")
    entries: list[dict[str, Any]] = []
    if Home(home).database.exists():
        async with open_control(home, settings) as control:
            entries = (await control.request("GET", "/admin/models"))["data"]
    entry = next((entry for entry in entries if entry["name"] == model), None)
    if entry is None and "/" in model:
        raise NotFound(
            f"there is no model '{model}' in the catalog of {home}; a file of this machine is named by its URI, "
            f"{_uri_of(model)}"
        )
    if entry is None:
        raise NotFound(
            f"there is no model '{model}' in the catalog of {home}; fetch it with 'freehold pull {model}', or give a "
            "URI such as hf://org/repo/file.gguf, or a size such as 7B"
        )
    file = next(iter(Home(home).models.rglob(f"sha256-{entry['sha256']}")), None)
    if file is None or (file.is_dir() and entry["format"] != "transformers"):
        raise InvalidRequest(f"'{model}' is not one GGUF file, so its needs cannot be computed; give a size such as 7B")
    return file


def _uri_of(path: str) -> str:
    return Path(path).expanduser().absolute().as_uri()


def _as_json(
    model: str,
    shape: ModelShape,
    context: int,
    slots: int,
    machine: MachineSpeed,
    free: int | None,
    found: list[Estimate],
) -> dict[str, Any]:
    return {
        "object": "size",
        "model": model,
        "shape": asdict(shape),
        "context_length": context,
        "slots": slots,
        "machine": {**asdict(machine), "memory_available_bytes": free},
        "engines": [{**asdict(each), "memory": {**asdict(each.memory), "total": each.memory.total}} for each in found],
    }


def _print(
    title: str,
    shape: ModelShape,
    context: int,
    machine: MachineSpeed,
    free: int | None,
    found: list[Estimate],
    reading_speed: float,
) -> None:
    """The model and the machine in a line each, and a column for each engine."""
    slots = found[0].speed.streams
    print(f"{title}, {_count(shape.parameters)} parameters, trained for {shape.context_length:,} tokens")
    told = "" if free is None else f", {in_bytes(free)} of memory free"
    print(
        f"This machine: {machine.cores} cores{told}, reads {machine.bandwidth_bytes_s / 1e9:.1f} GB/s, "
        f"computes {machine.flops / 1e9:.0f} GFLOP/s"
    )
    print()
    rows: list[tuple[str, list[str]]] = [
        ("weights", [in_bytes(each.memory.weights) for each in found]),
        (f"keys and values, {slots} x {context:,} tokens", [in_bytes(each.memory.keys_and_values) for each in found]),
        ("working memory", [in_bytes(each.memory.working) for each in found]),
        ("process", [in_bytes(each.memory.base) for each in found]),
        ("memory in all", [in_bytes(each.memory.total) for each in found]),
        (f"slots of {context:,} tokens that fit now", [_or_dash(each.slots_that_fit) for each in found]),
        ("tokens/s, one stream", [_rate(each.speed.alone) for each in found]),
        (f"tokens/s, {slots} streams together", [_rate(each.speed.together) for each in found]),
        ("prompt tokens/s", [_rate(each.speed.prefill) for each in found]),
        (f"streams at {reading_speed:g} tokens/s each", [str(each.readers) for each in found]),
    ]
    print_table(("", *(each.engine for each in found)), [(name, *cells) for name, cells in rows])
    print()
    for each in found:
        if free is not None and each.memory.total > free:
            print(f"It does not fit with {each.engine}: give fewer --slots, a shorter --context, or fewer bits.")
        room = SHARES[each.engine].kv_room_bytes
        if room is not None and each.memory.keys_and_values > room:
            print(f"With {each.engine}, set options.cache_gib: keys and values have {in_bytes(room)} by default.")
        if each.memory.prompt_cache:
            print(f"With {each.engine}, prompts that it keeps take up to {in_bytes(each.memory.prompt_cache)} more.")
    if not shape.exact:
        print_note("The shape is a guess from the size; a URI of the file gives better figures.")
    print_note("Speeds are estimates, good to about a factor of two; 'freehold bench engine' measures.")


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
