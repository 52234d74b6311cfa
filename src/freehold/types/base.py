"""The bases of what comes from outside: request bodies and settings."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class RequestModel(BaseModel):
    """A part of a request body. Unknown keys are errors; "1" is not 1; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ReturnedModel(RequestModel):
    """A part of a request body that clients send as they got it, with null for what their version of it could have.

    Null counts as left out where a key need not be there, and for keys that are unknown: it says nothing.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or None not in value.values():
            return value
        needed = {field.alias or name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: each for name, each in value.items() if each is not None or name in needed}


class SettingsModel(BaseModel):
    """A part of the configuration: frozen, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
