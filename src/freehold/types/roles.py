"""Roles of one's own, beside the built-in ones."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.identity import Action, Role


class RoleSettings(SettingsModel):
    """`[[role]]`: a role of one's own, beside the built-in ones."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    actions: Annotated[list[Action], Field(min_length=1)]

    @model_validator(mode="after")
    def _own(self) -> Self:
        if self.name in {*Role, "member", "none"}:
            raise ValueError(f"'{self.name}' is a built-in role; choose another name")
        return self
