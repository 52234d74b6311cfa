"""`freehold train plan`: what a training will need, computed before it is begun."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

import typer

from freehold.cli.options import JsonOption
from freehold.cli.output import print_json, print_note
from freehold.cli.train_plan_tables import print_optima, print_plan
from freehold.cli.train_pretrain import pairs
from freehold.errors import ConfigError
from freehold.training.language.build import recipe_of as recipe_named
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.planning.devices import CPU, DEVICES, device_named
from freehold.training.planning.measured import measured
from freehold.training.planning.optimum import RATIO, SOURCES, Optimum, optimum
from freehold.training.planning.plan import Accelerators, Plan, Site, best_plan, fewest_devices, plan_of
from freehold.training.planning.shapes import CONTEXT, VOCABULARY
from freehold.training.planning.wanted import plan_for_money, recipe_of
from freehold.training.trainer.recipe import OptimizerRecipe

EPILOG = "Example: freehold train plan --params 175e9 --tokens 300e9 --gpus 1024 --gpu h100 --price-hour 2.5"
GIGABIT_BYTES = 1e9 / 8

SettingsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change the recipe, as training.batch=64; repeatable."),
]
GpuOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--gpu", help=f"One of {', '.join([*DEVICES, CPU])}. [default: cpu for a recipe, h100 for bare numbers]"
    ),
]


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, and what led to it.

    Args:
        plan: the one to show.
        quickest: the quickest that fits, where the plan is a recipe's own layout.
        optima: what the laws say to the budget, if there is one.
        fewest: devices on which it would fit, if it does not fit here.
    """

    plan: Plan
    quickest: Plan | None = None
    optima: Sequence[Optimum] = ()
    fewest: int | None = None


def train_plan(
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME|FILE", help="A recipe's name, or one written as JSON.")
    ] = None,
    settings: SettingsOption = None,
    params: Annotated[float | None, typer.Option("--params", help="Parameters of the model, as 175e9.")] = None,
    tokens: Annotated[
        float | None, typer.Option("--tokens", help="Tokens that it sees. [default: 20 a parameter]")
    ] = None,
    budget_flops: Annotated[
        float | None, typer.Option("--budget-flops", help="Plan the best model for so many operations.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Plan the best model for so much money; needs --price-hour.")
    ] = None,
    law: Annotated[str, typer.Option("--law", help=f"By which a budget is divided: {', '.join(SOURCES)}.")] = RATIO,
    gpus: Annotated[int, typer.Option("--gpus", min=1, max=1 << 20, help="Devices, or processes with 'cpu'.")] = 1,
    gpu: GpuOption = None,
    network_gbit: Annotated[
        float | None, typer.Option("--network-gbit", min=0.1, help="Between nodes, for each device.")
    ] = None,
    price_hour: Annotated[
        float | None, typer.Option("--price-hour", min=0, help="Of one device, in any currency.")
    ] = None,
    vocabulary: Annotated[int, typer.Option("--vocabulary", min=2, help="Tokens that there are.")] = VOCABULARY,
    sequence: Annotated[
        int, typer.Option("--sequence", min=2, help="Tokens of a sample, with bare numbers.")
    ] = CONTEXT,
    batch_tokens: Annotated[
        float | None, typer.Option("--batch-tokens", help="Of a step, with bare numbers. [default: as GPT-3's sizes]")
    ] = None,
    muon: Annotated[bool, typer.Option("--muon", help="Muon instead of AdamW, with bare numbers.")] = False,
    python: Annotated[
        str | None, typer.Option("--python", metavar="FILE", help="That trains, for 'cpu'. [default: as found]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a training needs: memory, layout, time and cost, and the best size for a budget.

    Say what to train in one of three ways: a --recipe; --params and --tokens; or a budget of operations or of money.
    With 'cpu' this machine is measured, which takes some seconds. docs/how-to/plan-a-training.md has the formulas.
    """
    numbers = Numbers(params, tokens, vocabulary, sequence, batch_tokens, "muon" if muon else "adamw")
    _one_way(recipe, numbers, budget_flops, budget, price_hour, law)
    place = Place((gpu or (CPU if recipe is not None else "h100")).lower(), gpus, network_gbit, python)
    if recipe is not None:
        made = _for_recipe(recipe_named(recipe, vocabulary, pairs(settings or [])), place)
    elif settings:
        raise typer.BadParameter("there is no recipe to change; give --recipe", param_hint="--set")
    elif params is not None:
        made = _for_numbers(numbers.recipe(params, tokens), place)
    else:
        made = _for_budget(budget_flops, budget, price_hour, law, numbers, place)
    if as_json:
        print_json(_as_json(made, price_hour))
    else:
        print_optima(made.optima, law)
        print_plan(made.plan, price_hour, made.quickest, made.fewest)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A model and its training in bare numbers, as they were given."""

    params: float | None
    tokens: float | None
    vocabulary: int
    sequence: int
    batch: float | None
    optimizer: str

    def recipe(self, parameters: float, tokens: float | None) -> LanguageRecipe:
        """The recipe of so many parameters and tokens."""
        return recipe_of(
            parameters,
            tokens,
            vocabulary=self.vocabulary,
            sequence=self.sequence,
            batch=self.batch,
            optimizer=OptimizerRecipe.model_validate({"kind": self.optimizer}),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where to plan for, as it was given."""

    gpu: str
    devices: int
    network_gbit: float | None
    python: str | None

    def site(self, devices: int | None = None) -> Site:
        """Devices of the table.

        Raises:
            ConfigError: there is no such device.
        """
        network = None if self.network_gbit is None else self.network_gbit * GIGABIT_BYTES
        return Accelerators(device_named(self.gpu), devices or self.devices, network)

    def processor(self, recipe: LanguageRecipe) -> Site:
        """This machine, measured for a recipe.

        Raises:
            ConfigError: there is no Python that trains.
        """
        print_note("Measuring this machine at the model's shapes…")
        return asyncio.run(measured(recipe, self.devices, self.python))


def _one_way(
    recipe: str | None,
    numbers: Numbers,
    budget_flops: float | None,
    budget: float | None,
    price_hour: float | None,
    law: str,
) -> None:
    """See that the options say one thing.

    Raises:
        typer.BadParameter: they do not.
    """
    ways = {"--recipe": recipe, "--params": numbers.params, "--budget-flops": budget_flops, "--budget": budget}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        told = f"{' and '.join(given)} exclude each other" if given else "there is nothing to plan"
        raise typer.BadParameter(
            f"{told}; give one of {', '.join(ways)}", param_hint=given[-1] if given else "--recipe"
        )
    for name, value in {**ways, "--tokens": numbers.tokens, "--batch-tokens": numbers.batch}.items():
        if isinstance(value, float) and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{value:g} is not above 0", param_hint=name)
    if numbers.tokens is not None and numbers.params is None:
        raise typer.BadParameter(f"goes with --params; {given[0]} says it by itself", param_hint="--tokens")
    if budget is not None and not price_hour:
        raise typer.BadParameter(
            "what an hour of one device costs must be known; give --price-hour", param_hint="--budget"
        )
    if law not in SOURCES:
        raise typer.BadParameter(f"'{law}' is none of {', '.join(SOURCES)}", param_hint="--law")


def _for_recipe(recipe: LanguageRecipe, place: Place) -> Made:
    if place.gpu == CPU:
        return Made(plan_of(recipe, place.processor(recipe)))
    plan = plan_of(recipe, place.site())
    best = best_plan(recipe, place.site())
    return Made(plan, best if best.fits else None, fewest=None if best.fits else fewest_devices(recipe, place.site))


def _for_numbers(recipe: LanguageRecipe, place: Place) -> Made:
    if place.gpu == CPU:
        return Made(plan_of(recipe, place.processor(recipe)))
    plan = best_plan(recipe, place.site(), batch_is_free=True)
    return Made(plan, fewest=None if plan.fits else fewest_devices(recipe, place.site))


def _for_budget(
    flops: float | None, money: float | None, price_hour: float | None, law: str, numbers: Numbers, place: Place
) -> Made:
    if place.gpu == CPU:
        raise ConfigError("a budget is planned for devices of the table; for this machine give a recipe, or --params")

    def recipe_for(best: Optimum) -> LanguageRecipe:
        return numbers.recipe(best.parameters, best.tokens)

    if flops is None:
        assert money is not None
        assert price_hour is not None
        plan = plan_for_money(money, price_hour, law, place.site(), recipe_for)
        flops = plan.flops["weights"]
    else:
        plan = best_plan(recipe_for(optimum(flops, law)), place.site(), batch_is_free=True)
    optima = [optimum(flops, each) for each in SOURCES]
    return Made(plan, None, optima, None if plan.fits else fewest_devices(plan.recipe, place.site))


def _as_json(made: Made, price_hour: float | None) -> dict[str, Any]:
    return {
        **made.plan.as_json(price_hour),
        "optima": [asdict(each) for each in made.optima],
        "quickest": None if made.quickest is None else made.quickest.as_json(price_hour),
        "fewest_devices": made.fewest,
    }
