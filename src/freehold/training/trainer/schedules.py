"""How the rate of learning rises and falls, as shares of its highest: pure functions of the step."""

import math

from freehold.training.trainer.recipe import ScheduleRecipe


def share(schedule: ScheduleRecipe, step: int, steps: int) -> float:
    """The share of the highest rate at a step, 0 being the first, in a training of so many.

    All rise along a straight line over the steps of the warm-up, the first having 1 / warmup_steps. Then `constant`
    stays; `cosine` falls along half a cosine (Loshchilov and Hutter, arXiv 1608.03983); `wsd` stays until the last
    `decay_share` of the steps and falls along a straight line over these (Hu et al., arXiv 2404.06395). The step after
    the last would have the floor.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    if schedule.kind == "constant":
        return 1.0
    falling = steps - schedule.warmup_steps
    if schedule.kind == "wsd":
        falling = min(falling, round(schedule.decay_share * steps))
    done = 1.0 if falling <= 0 else min(max((step - (steps - falling)) / falling, 0.0), 1.0)
    left = 1 - done if schedule.kind == "wsd" else (1 + math.cos(math.pi * done)) / 2
    return schedule.floor + (1 - schedule.floor) * left
