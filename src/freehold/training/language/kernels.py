"""Measures a language model's operations on this machine's processor, for `freehold.training.planning.measured`.

    python -m freehold.training.language.kernels '{"processes": 1, "threads": 2, "recipe": …, "operations": …, …}'

prints one JSON object. Each operation is timed at its own shape, with outputs that are kept until the way back, as a
training keeps them, so that it writes into memory that is not in the caches; and in turns with the others, so that
what else the machine does meets all alike. Several processes measure at the same time, as they would train.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from freehold.training.language.model import built, rotated, rotation
from freehold.training.language.recipes import LanguageRecipe, ModelRecipe
from freehold.training.process import worker_status
from freehold.training.trainer import precision
from freehold.training.trainer.optimizers import optimizers_of

ROUNDS: Final = 5
"""In each of which everything is timed once; the median counts."""
KEPT_BYTES: Final = 1 << 28
"""Of outputs that are kept at most."""
COPIES: Final = 8
"""Outputs that are kept at most."""
OPTIMIZED: Final = 20_000_000
"""Numbers with which the optimizer is timed at most; for more its time is scaled."""

Timed = Callable[[], tuple[float, float]]
Clock = Literal["wall", "processor"]
"""What seconds are: those of the wall, or those that one thread has computed, which other work disturbs less."""

_clock: ContextVar[Clock] = ContextVar("clock", default="wall")


def measure(rank: int, wanted: Mapping[str, Any], rendezvous: str, report: Path) -> None:
    """What one of the processes does; the first writes what it found."""
    torch.set_num_threads(wanted["threads"])
    _clock.set(wanted["clock"])
    world = wanted["processes"]
    recipe = LanguageRecipe.model_validate(wanted["recipe"])
    numbers = precision.of(recipe.training.precision, "cpu")
    if world > 1:
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world)
    with numbers.autocast():
        base = process_bytes()
        tasks: dict[str, Timed] = {
            key: _operation(kind, shape, recipe) for key, (kind, shape) in wanted["operations"].items()
        }
        tasks |= {f"gather {size}": _gather(number, world) for size, number in wanted["gathers"].items()}
        tasks |= {f"scatter {size}": _scatter(number, world) for size, number in wanted["scatters"].items()}
    tasks["optimizer"], share = _optimizer(recipe, world)
    tasks["passes"] = _passes(min(recipe.model.parameters, OPTIMIZED))
    found = _rounds(tasks, numbers.autocast, world)
    if rank == 0:
        report.write_text(json.dumps(_told(found, wanted, base, numbers.dtype.itemsize, share)), encoding="utf-8")
    if world > 1:
        dist.destroy_process_group()


def _told(
    found: Mapping[str, tuple[float, float]], wanted: Mapping[str, Any], base: int, number: int, share: float
) -> dict[str, Any]:
    moved, seconds = found["passes"]
    return {
        "number": number,
        "process_bytes": base,
        "times": {key: found[key] for key in wanted["operations"]},
        "pass_bytes_s": moved / seconds,
        "optimizer_s": sum(found["optimizer"]) * share,
        "gathers": {size: found[f"gather {size}"][0] for size in wanted["gathers"]},
        "scatters": {size: found[f"scatter {size}"][0] for size in wanted["scatters"]},
    }


def _rounds(tasks: Mapping[str, Timed], autocast: Callable[[], Any], world: int) -> dict[str, tuple[float, float]]:
    """The medians over the rounds, after one that does not count; all processes do the same at the same time."""
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in tasks}
    for number in range(ROUNDS + 1):
        for key, task in tasks.items():
            if world > 1:
                dist.barrier()
            with autocast():
                taken = task()
            if number:
                times[key].append(taken)
    return {key: (median(there for there, _ in each), median(back for _, back in each)) for key, each in times.items()}


def _operation(kind: str, shape: Sequence[int], recipe: LanguageRecipe) -> Timed:
    """How an operation is timed: forward and backward, each of one."""
    if kind == "gradient sum":
        return _gradient_sum(shape)
    forward, leaves, size = _KINDS[kind](shape, recipe.model)
    copies = max(2, min(COPIES, recipe.model.layers, KEPT_BYTES // max(size, 1)))

    def timed() -> tuple[float, float]:
        began = _now()
        kept = [forward() for _ in range(copies)]
        between = _now()
        there = (between - began) / copies
        gradients = [torch.ones_like(kept[0])] * copies
        seconds = 0.0
        while kept:
            output, gradient = kept.pop(), gradients.pop()
            began = _now()
            output.backward(gradient)
            del output
            for leaf in leaves:
                leaf.grad = None
            seconds += _now() - began
        return there, seconds / copies

    return timed


def _product(shape: Sequence[int], _: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    rows, inner, outer = shape
    given, weight = _leaf(rows, inner), _leaf(outer, inner)
    return lambda: functional.linear(given, weight), [given, weight], 4 * rows * outer


def _attention(shape: Sequence[int], _: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    batch, heads, kv_heads, length, head = shape
    queries, keys = _leaf(batch, heads, length, head), _leaf(batch, kv_heads, length, head)
    values = _leaf(batch, length, kv_heads * head)

    def forward() -> Tensor:
        turned = values.view(batch, length, kv_heads, head).transpose(1, 2)
        taken = functional.scaled_dot_product_attention(
            queries, keys, turned, is_causal=True, enable_gqa=heads != kv_heads
        )
        return taken.transpose(1, 2).flatten(2)

    return forward, [queries, keys, values], 4 * batch * heads * length * head


def _norm(shape: Sequence[int], model: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    norm = nn.RMSNorm(shape[1], eps=model.norm_epsilon)
    given = _leaf(*shape)
    return lambda: norm(given), [given, *norm.parameters()], 8 * shape[0] * shape[1]


def _rotation(shape: Sequence[int], model: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    batch, length, heads, head = shape
    given = _leaf(batch, length, heads * head)
    cosine, sine = rotation(length, head, model.rope_theta, given.device, given.dtype)
    size = 4 * batch * length * heads * head
    return lambda: rotated(given.view(batch, length, heads, head).transpose(1, 2), cosine, sine), [given], size


def _swiglu(shape: Sequence[int], _: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    gate, up = _leaf(*shape), _leaf(*shape)
    return lambda: functional.silu(gate) * up, [gate, up], 8 * shape[0] * shape[1]


def _sum(shape: Sequence[int], _: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    one, other = _leaf(*shape), _leaf(*shape)
    return lambda: one + other, [one, other], 4 * shape[0] * shape[1]


def _embedding(shape: Sequence[int], model: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    tokens, vocabulary, width = shape
    table = _leaf(vocabulary, width)
    drawn = torch.randint(0, vocabulary, (tokens,))
    if model.tied:
        table.grad = torch.zeros_like(table)
    return lambda: functional.embedding(drawn, table), [] if model.tied else [table], 4 * tokens * width


def _loss(shape: Sequence[int], _: ModelRecipe) -> tuple[Callable[[], Tensor], list[Tensor], int]:
    logits = _leaf(*shape)
    targets = torch.randint(0, shape[1], (shape[0],))
    return lambda: functional.cross_entropy(logits.float(), targets), [logits], 4 * shape[0] * shape[1]


_KINDS: Final[Mapping[str, Callable[[Sequence[int], ModelRecipe], tuple[Callable[[], Tensor], list[Tensor], int]]]] = {
    "product": _product,
    "attention": _attention,
    "norm": _norm,
    "rotation": _rotation,
    "swiglu": _swiglu,
    "sum": _sum,
    "embedding": _embedding,
    "loss": _loss,
}


def _gradient_sum(shape: Sequence[int]) -> Timed:
    one, other = torch.ones(*shape), torch.ones(*shape)

    def timed() -> tuple[float, float]:
        began = _now()
        one.add_(other)
        return 0.0, _now() - began

    return timed


def _passes(numbers: int) -> Timed:
    """Bytes that are read and written, and the seconds that it takes."""
    one, other = torch.zeros(numbers), torch.zeros(numbers)

    def timed() -> tuple[float, float]:
        began = _now()
        one.add_(other)
        return 12.0 * numbers, _now() - began

    return timed


def _optimizer(recipe: LanguageRecipe, world: int) -> tuple[Timed, float]:
    """The clipping and the step of the model's own weights, of fewer layers if there are many; and by what to scale."""
    model = recipe.model
    layers = model.layers
    while layers > 1 and model.model_copy(update={"layers": layers}).parameters > OPTIMIZED:
        layers = max(1, layers // 2)
    smaller = model.model_copy(update={"layers": layers})
    network = built(smaller).to_empty(device="cpu")
    numbers = precision.of(recipe.training.precision, "cpu")
    optimizers = optimizers_of(network, recipe.training.optimizer, numbers.dtype)
    weights = list(network.parameters())
    for weight in weights:
        weight.data.fill_(1e-2)
        weight.grad = torch.full_like(weight, 1e-3)
    clip = recipe.training.optimizer.clip_norm

    def timed() -> tuple[float, float]:
        began = _now()
        length = nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if clip is not None:
            share = torch.clamp(clip / (length + 1e-6), max=1.0)
            torch._foreach_mul_([weight.grad for weight in weights if weight.grad is not None], share)  # as the loop's
        between = _now()
        for optimizer in optimizers:
            optimizer.step()
        return between - began, _now() - between

    return timed, model.parameters / smaller.parameters / world


def _gather(size_bytes: float, world: int) -> Timed:
    """Fetching weights: into one vector, and from there to their places."""
    each = max(1, round(size_bytes / 4 / world))
    own, whole, placed = torch.zeros(each), torch.zeros(each * world), torch.zeros(each * world)

    def timed() -> tuple[float, float]:
        began = _now()
        dist.all_gather_into_tensor(whole, own)
        placed.copy_(whole)
        return _now() - began, 0.0

    return timed


def _scatter(size_bytes: float, world: int) -> Timed:
    """Exchanging gradients: into one vector, and a part of their sum back."""
    each = max(1, round(size_bytes / 4 / world))
    own, whole, sent = torch.zeros(each), torch.zeros(each * world), torch.zeros(each * world)

    def timed() -> tuple[float, float]:
        began = _now()
        sent.copy_(whole)
        dist.reduce_scatter_tensor(own, sent)
        return _now() - began, 0.0

    return timed


def _now() -> float:
    return time.perf_counter() if _clock.get() == "wall" else time.process_time()


def _leaf(*shape: int) -> Tensor:
    """Numbers that learn; small ones, and not all alike."""
    return torch.empty(shape).uniform_(-0.5, 0.5).requires_grad_()


def process_bytes() -> int:
    """What this process takes after a step of a tiny model."""
    tiny = ModelRecipe(vocabulary=32, layers=1, width=16, heads=1, kv_heads=1, feed_forward=16, context=16)
    network = built(tiny).to_empty(device="cpu")
    network.initialise(1)
    tokens = torch.zeros((2, 16), dtype=torch.int64)
    network(tokens, tokens).backward()
    torch.optim.AdamW(network.parameters(), fused=True).step()
    return resident_bytes()


def resident_bytes() -> int:
    """Memory that this process holds now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextmanager
def _report() -> Iterator[tuple[str, Path]]:
    """Where the processes meet, and where the first writes."""
    with tempfile.TemporaryDirectory(prefix="freehold-kernels-") as folder:
        yield f"file://{folder}/rendezvous", Path(folder) / "found.json"


def main() -> None:
    """Measure what the command line asks for, and print it."""
    wanted = json.loads(sys.argv[1])
    with _report() as (rendezvous, report):
        if wanted["processes"] == 1:
            measure(0, wanted, rendezvous, report)
        else:
            spawn(measure, (wanted, rendezvous, report), nprocs=wanted["processes"])
        sys.stdout.write(f"{report.read_text(encoding='utf-8')}\n")


if __name__ == "__main__":
    sys.exit(worker_status(main))
