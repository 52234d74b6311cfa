"""What `freehold size --gpu` tells: a model's needs of GPUs under vLLM."""

from dataclasses import asdict
from typing import Any

from freehold.catalog.sizing import ModelShape
from freehold.catalog.sizing_gpu import SHARE, GpuNeeds, Gpus, needs_on_gpus
from freehold.cli.output import print_note
from freehold.cli.tables import in_bytes, print_table
from freehold.training.planning.devices import device_named


def gpus_named(name: str, count: int) -> Gpus:
    """So many GPUs of a kind.

    Raises:
        ConfigError: nothing is known of that kind; names those that are known.
    """
    device = device_named(name)
    return Gpus(device.name, count, device.memory_bytes, device.bandwidth_bytes_s, device.flops)


def facts(model: str, shape: ModelShape, gpus: Gpus, context: int, slots: int) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "object": "size",
        "model": model,
        "shape": asdict(shape),
        "context_length": context,
        "slots": slots,
        "gpus": asdict(gpus),
        "vllm": asdict(needs_on_gpus(shape, gpus, context, slots)),
    }


def tell(title: str, shape: ModelShape, gpus: Gpus, context: int, slots: int) -> None:
    """The model and its needs, for a person."""
    needs = needs_on_gpus(shape, gpus, context, slots)
    print(f"{title}, trained for {shape.context_length:,} tokens")
    print(f"{gpus.count} x {gpus.name} with {in_bytes(gpus.memory_bytes)} each, of which vllm takes {SHARE:.0%}")
    print()
    print_table(("", "VLLM"), _rows(needs, context, slots))
    print()
    if needs.slots == 0:
        print("It does not fit: give more --gpus, a shorter --context, or a model with fewer bits.")
    elif needs.slots < slots:
        print(f"Of {slots} requests of the whole context {needs.slots} fit at once; shorter ones share the room.")
    if not shape.exact:
        print_note("The shape is a guess from the size; a model of the catalog gives better figures.")
    print_note("Speeds are the most that the makers' figures allow; nothing was measured on these GPUs.")


def _rows(needs: GpuNeeds, context: int, slots: int) -> list[tuple[str, str]]:
    return [
        ("weights", in_bytes(needs.weights)),
        ("working memory, assumed", in_bytes(needs.working)),
        ("room for keys and values", in_bytes(max(0, needs.keys_and_values))),
        ("tokens that it holds", f"{needs.tokens:,}"),
        (f"requests of {context:,} tokens", f"{needs.slots:,}"),
        ("tokens/s, one stream, at most", f"{needs.alone:,.0f}"),
        (f"tokens/s, {slots} streams together, at most", f"{needs.together:,.0f}"),
    ]
