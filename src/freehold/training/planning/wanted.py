"""What a person wants planned, as a recipe: a size and a number of tokens, or a budget of operations or of money."""

from collections.abc import Callable
from math import sqrt
from typing import Final

from freehold.errors import ConfigError
from freehold.training.language.recipes import LanguageRecipe
from freehold.training.planning.optimum import TOKENS_A_PARAMETER, Optimum, optimum
from freehold.training.planning.plan import HOUR_S, Plan, Site, best_plan, plan_of
from freehold.training.planning.shapes import CONTEXT, VOCABULARY, batch_tokens, model_of
from freehold.training.planning.work import matrix_flops
from freehold.training.trainer.recipe import OptimizerRecipe, PrecisionRecipe, ScheduleRecipe, TrainingRecipe

NAME: Final = "planned"
ROUNDS: Final = 8
"""Times that a budget of money is turned into a size, and the size's speed into operations."""
ENOUGH: Final = 0.01
"""The change of the operations with which that ends."""
FIRST_SHARE: Final = 0.4
"""Of the peak, before anything is known."""
_ANY: Final = 1e20
"""Operations, for a recipe whose precision tells which peak."""


def recipe_of(
    parameters: float,
    tokens: float | None = None,
    *,
    vocabulary: int = VOCABULARY,
    sequence: int = CONTEXT,
    batch: float | None = None,
    optimizer: OptimizerRecipe | None = None,
) -> LanguageRecipe:
    """A recipe with bare numbers, in the proportions of the GPT-3 paper. Its rates are for nobody to train with.

    Args:
        parameters: of the model, in about.
        tokens: that it sees; None: 20 a parameter.
        vocabulary: tokens that there are.
        sequence: tokens of a sample.
        batch: tokens of a step; None: as the paper's models.
        optimizer: None: AdamW.

    Raises:
        ConfigError: there is no such model, or the tokens do not make a step.
    """
    model = model_of(parameters, vocabulary, sequence)
    wanted = TOKENS_A_PARAMETER * model.parameters if tokens is None else tokens
    samples = max(1, round((batch_tokens(parameters) if batch is None else batch) / sequence))
    if wanted < sequence:
        raise ConfigError(f"{wanted:,.0f} tokens do not make one sequence of {sequence:,}; give more --tokens")
    samples = min(samples, max(1, int(wanted // sequence)))
    return LanguageRecipe(
        name=NAME,
        model=model,
        sequence=sequence,
        training=TrainingRecipe(
            steps=max(1, round(wanted / (samples * sequence))),
            batch=samples,
            micro_batch=1,
            optimizer=optimizer or OptimizerRecipe(),
            schedule=ScheduleRecipe(),
            precision=PrecisionRecipe(compile=True),
        ),
    )


def with_tokens(recipe: LanguageRecipe, tokens: float) -> LanguageRecipe:
    """The recipe with as many steps as see so many tokens."""
    steps = max(1, round(tokens / (recipe.training.batch * recipe.sequence)))
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": steps})})


def plan_for_money(
    money: float, price_hour: float, law: str, site: Site, recipe_for: Callable[[Optimum], LanguageRecipe]
) -> Plan:
    """The best size for a budget of money: how many operations it buys depends on how fast the size trains.

    Args:
        money: in all.
        price_hour: of one device.
        law: one of `freehold.training.planning.optimum.SOURCES`.
        site: the devices.
        recipe_for: the recipe for what a law says.

    Raises:
        ConfigError: the budget is too small for any model.
    """
    seconds = money / price_hour * HOUR_S
    flops = seconds * FIRST_SHARE * site.peak(recipe_for(optimum(_ANY, law)))
    for _ in range(ROUNDS):
        best = optimum(flops, law)
        plan = best_plan(recipe_for(best), site, batch_is_free=True)
        bought = seconds * _flops_s(plan)
        if abs(bought - flops) < ENOUGH * flops:
            break
        flops = sqrt(bought * flops)  # the middle, since layouts leap
    recipe = with_tokens(plan.recipe, plan.recipe.tokens * money / plan.cost(price_hour))
    return plan_of(recipe, site)


def _flops_s(plan: Plan) -> float:
    """Operations in weights that one device makes in a second, of all that it is paid for."""
    return matrix_flops(plan.recipe) / (plan.device_hours * HOUR_S)
