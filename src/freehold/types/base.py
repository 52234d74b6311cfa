"""The bases of what comes from outside: request bodies and settings."""

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """A part of a request body. Unknown keys are errors; "1" is not 1; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class SettingsModel(BaseModel):
    """A part of the configuration: frozen, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
