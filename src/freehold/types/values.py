"""Values that every request makes many of: frozen for whoever reads and checks the code, made at the speed of others.

A frozen dataclass sets each of its fields by a call of `object.__setattr__`, which makes one of eight fields cost as
much as ten others. These are frozen as far as the type checker sees, which CI runs over all of the code.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

ValueT = TypeVar("ValueT")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[ValueT]) -> type[ValueT]:
    """Make a class a dataclass with slots, equality and a hash, whose fields nobody sets again."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
