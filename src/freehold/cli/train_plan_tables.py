"""How a plan of a training is told to a person."""

from collections.abc import Sequence

from freehold.cli.output import print_note
from freehold.cli.tables import in_bytes, print_table
from freehold.training.planning.devices import CPU
from freehold.training.planning.optimum import SOURCES, Optimum
from freehold.training.planning.plan import DAY_S, HOUR_S, Plan

WORTH_A_WORD = 1.05
"""How much quicker another layout must be to be told of."""


def print_optima(optima: Sequence[Optimum], law: str) -> None:
    """What each law says to the budget; nothing if there is none."""
    if not optima:
        return
    rows = [
        (
            each.law,
            _amount(each.parameters),
            _amount(each.tokens),
            f"{each.tokens / each.parameters:.1f}",
            f"{each.loss:.3f}",
            "planned" if each.law == law else "",
            SOURCES[each.law],
        )
        for each in optima
    ]
    print_table(("law", "parameters", "tokens", "tokens a parameter", "loss by 'refit'", "", "from"), rows)
    print()


def print_plan(plan: Plan, price_hour: float | None, quickest: Plan | None, fewest: int | None) -> None:
    """The model, what it costs, its memory and its time; and what to change."""
    _print_model(plan)
    print()
    print_table(("memory of each device", "", ""), _memory_rows(plan))
    print()
    print_table(("a step", "seconds", "share"), _step_rows(plan))
    print()
    _print_outcome(plan, price_hour)
    _print_advice(plan, quickest, fewest)


def _print_model(plan: Plan) -> None:
    recipe, model, training = plan.recipe, plan.recipe.model, plan.recipe.training
    heads = f"{model.heads} heads of {model.width // model.heads}"
    kept = "" if model.kv_heads == model.heads else f" ({model.kv_heads} of keys)"
    print(
        f"{recipe.name}: {model.parameters:,} parameters: {model.layers} layers, width {model.width:,}, {heads}{kept}, "
        f"feed-forward {model.feed_forward:,}, vocabulary {model.vocabulary:,}{', tied' if model.tied else ''}"
    )
    step_tokens = training.batch * recipe.sequence
    each = recipe.tokens / model.parameters
    print(
        f"{_amount(recipe.tokens)} tokens, {each:.1f} a parameter: {training.steps:,} steps of "
        f"{training.batch:,} sequences of {recipe.sequence:,} ({_amount(step_tokens)} tokens)"
    )
    flops = plan.flops
    print(
        f"Operations: {flops['weights']:.3g} in weights (6 N D) and {flops['attention']:.3g} in attention "
        f"(12 L W T D), {sum(flops.values()):.3g} in all"
    )
    again = ", blocks computed again on the way back" if training.parallel.activation_checkpointing else ""
    print(
        f"{plan.site.devices:,} x {plan.site.name}: {plan.layout.replicas} replicas x {plan.layout.shards} shards x "
        f"{plan.layout.tensor} tensor; micro-batches of {plan.samples}, {plan.pieces} a step{again}"
    )


def _memory_rows(plan: Plan) -> list[tuple[str, str, str]]:
    memory = plan.memory
    moment, most = max(memory.moments.items(), key=lambda each: each[1])
    at_end = memory.last if moment == "end of the way back" else 0
    rows = [
        ("weights", memory.weights, "float32"),
        ("averaged weights", memory.average, "float32"),
        ("gradients", memory.gradients, "float32"),
        (f"state of {plan.recipe.training.optimizer.kind}", memory.optimizer, "float32"),
        ("activations", memory.activations, "kept for the way back"),
        ("logits and loss", memory.logits, ""),
        ("a block's way back", memory.block, "when the loss is done with"),
        ("end of the way back", at_end, "beside all gradients"),
        ("gathered", memory.gathered, "weights as they are computed with, gradients as they are exchanged"),
        ("optimizer's work", memory.step, "while it changes the weights"),
        ("checkpoint", memory.snapshot, "copy that is written"),
        ("between pieces", memory.allowance, "allowance"),
        ("process", memory.process, "interpreter, libraries, runtime"),
    ]
    told = [(name, in_bytes(size), why) for name, size, why in rows if size]
    free = f"of {in_bytes(plan.site.memory_bytes)}: {'fits' if plan.fits else 'DOES NOT FIT'}"
    return [*told, (f"at once, at most ({moment})", in_bytes(most), free)]


def _step_rows(plan: Plan) -> list[tuple[str, str, str]]:
    step = plan.step
    parts = {
        "forward": step.forward,
        "backward": step.backward,
        "exchanges not hidden": step.exchanges,
        "optimizer": step.optimizer,
    }
    rows = [(name, _seconds(value), f"{100 * value / step.total:.0f} %") for name, value in parts.items()]
    return [*rows, ("whole step", _seconds(step.total), "")]


def _print_outcome(plan: Plan, price_hour: float | None) -> None:
    peak = f"{plan.peak / 1e12:,.0f} TFLOP/s" if plan.peak >= 1e12 else f"{plan.peak / 1e9:,.0f} GFLOP/s"
    what = "what products of matrices reach" if plan.site.name == CPU else "the peak"
    print(
        f"{_amount(plan.tokens_s)} tokens/s; {100 * plan.utilization:.0f} % of {what} ({peak} a device), counted "
        "without what is computed again"
    )
    cost = "" if price_hour is None else f", {plan.cost(price_hour):,.0f} at {price_hour:g} an hour"
    print(f"{_duration(plan.seconds)}, evaluations included; {plan.device_hours:,.1f} device-hours{cost}")


def _print_advice(plan: Plan, quickest: Plan | None, fewest: int | None) -> None:
    if not plan.fits and quickest is None:
        need = f"it fits on {fewest:,}: give --gpus {fewest}" if fewest else "no number of them holds it"
        print_note(
            f"It does not fit on {plan.site.devices:,} x {plan.site.name}; this layout needs the least memory. "
            f"In powers of two {need}; or take devices with more memory, a smaller model or batch, shorter samples."
        )
    if quickest is not None and (not plan.fits or quickest.tokens_s > WORTH_A_WORD * plan.tokens_s):
        faster = f"is {quickest.tokens_s / plan.tokens_s:.2f} times as fast"
        told = faster if plan.fits else "fits, and is the quickest that does"
        print_note(f"Another layout {told}: {' '.join(f'--set {each}' for each in _settings(quickest))}")


def _settings(plan: Plan) -> list[str]:
    parallel = plan.recipe.training.parallel
    return [
        f"training.parallel.replicas={plan.layout.replicas}",
        f"training.parallel.shards={plan.layout.shards}",
        f"training.parallel.tensor={plan.layout.tensor}",
        f"training.micro_batch={plan.samples}",
        f"training.parallel.activation_checkpointing={str(parallel.activation_checkpointing).lower()}",
    ]


def _amount(value: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _duration(seconds: float) -> str:
    if seconds >= 2 * DAY_S:
        return f"{seconds / DAY_S:.1f} days"
    if seconds >= 2 * HOUR_S:
        return f"{seconds / HOUR_S:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.1f} seconds"
