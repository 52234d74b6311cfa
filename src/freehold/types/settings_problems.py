"""What is wrong with settings, in words: the path of the first offending key, and the likeliest meant one."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo


def first_problem(
    exc: ValidationError, raw: Mapping[str, Any], model: type[BaseModel], every: type[BaseModel]
) -> tuple[str, str]:
    """The path and the description of the first error; an unknown key goes before what follows from it.

    Args:
        exc: what validation found.
        raw: what was validated.
        model: by what.
        every: whose keys, at any depth, an unknown key may have been meant for.
    """
    problem = next((e for e in exc.errors() if e["type"] == "extra_forbidden"), exc.errors()[0])
    path = ""
    here: Any = raw
    for step in problem["loc"]:
        if isinstance(step, int) and isinstance(here, Mapping):
            continue  # the place in a list of what the file gives as the one table
        if isinstance(step, int):
            path += f"[{step}]"
        elif isinstance(here, Mapping) or not path:
            path += f".{step}" if path else step
        else:
            continue  # the name of a union's member, which no file contains
        here = _step(here, step)
    if problem["type"] == "extra_forbidden":
        wrong = str(problem["loc"][-1])  # elsewhere it may be a key
        here_known = _known_at(model, problem["loc"][:-1])
        known = difflib.get_close_matches(wrong, here_known, n=1) or difflib.get_close_matches(
            wrong, _setting_names(every) - {wrong}, n=1
        )
        return path, "unknown key" + (f"; did you mean '{known[0]}'?" if known else "")
    if problem["type"] == "missing":
        return path, "is required"
    return path, problem["msg"].removeprefix("Value error, ").removeprefix("Input ")


def _step(here: Any, step: int | str) -> Any:
    """The value at an index of a list or a key of a table; None if there is none."""
    if isinstance(here, list):
        return here[step] if isinstance(step, int) and step < len(here) else None
    return here.get(step) if isinstance(here, Mapping) else None


def _known_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys of the table to which the steps from a model on lead."""
    for step in loc:
        field = model.model_fields.get(step) if isinstance(step, str) else None
        if field is not None:
            model = next(_inner_models(field), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _inner_models(field: FieldInfo) -> Iterator[type[BaseModel]]:
    for inner in (field.annotation, *get_args(field.annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield inner


def _setting_names(model: type[BaseModel]) -> set[str]:
    """Every key that a model and the models in it know."""
    names = {field.alias or name for name, field in model.model_fields.items()}
    for field in model.model_fields.values():
        for inner in _inner_models(field):
            names |= _setting_names(inner)
    return names
