"""The base of every request body: frozen, strict about types, closed to unknown keys."""

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """A part of a request body. Unknown keys are errors; "1" is not 1; values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
