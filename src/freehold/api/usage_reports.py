"""What can be asked of usage and costs, in OpenAI's words: the reports, their filters, groups and figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from freehold.store.usage_queries import DAY_S, HOUR_S, MINUTE_S, UsageSum
from freehold.types.money import MICRO

Groups: TypeAlias = Mapping[str, str]
"""The values by which a result is grouped."""


@dataclass(frozen=True, slots=True)
class Report:
    """One of the questions.

    Args:
        path: under `/v1/organization`.
        result: the `object` of its results.
        widths: `bucket_width` → its seconds, and the default and the largest `limit`.
        filters: parameter → column of which it names allowed values.
        groups: what `group_by` can name → column.
        amounts: makes the figures of a result.
        kind: the `route_kind` that it is about; None for all.
        batch: whether it knows `batch`.
        choices: parameter → the values that it takes, where not any.
    """

    path: str
    result: str
    widths: Mapping[str, tuple[int, int, int]]
    filters: Mapping[str, str]
    groups: Mapping[str, str]
    amounts: Callable[[UsageSum, Groups], dict[str, Any]]
    kind: str | None = None
    batch: bool = False
    choices: Mapping[str, frozenset[str]] | None = None


def _completions(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    uncached = total.prompt_tokens - total.cached_tokens
    return {
        "input_tokens": total.prompt_tokens,
        "input_cached_tokens": total.cached_tokens,
        "input_cache_write_tokens": 0,
        "input_uncached_tokens": uncached,
        "output_tokens": total.completion_tokens,
        "input_text_tokens": uncached,
        "output_text_tokens": total.completion_tokens,
        "input_cached_text_tokens": total.cached_tokens,
        "input_audio_tokens": 0,
        "input_cached_audio_tokens": 0,
        "output_audio_tokens": 0,
        "input_image_tokens": 0,
        "input_cached_image_tokens": 0,
        "output_image_tokens": 0,
        "num_model_requests": total.model_requests,
    }


def _input_only(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    return {"input_tokens": total.prompt_tokens, "num_model_requests": total.model_requests}


def _images(total: UsageSum, _groups: Groups) -> dict[str, Any]:
    return {"images": total.images, "num_model_requests": total.model_requests}


def _costs(total: UsageSum, groups: Groups) -> dict[str, Any]:
    """The money as a decimal number. The quantity is told where all of a line item has one unit."""
    quantity: int | None = None
    unit: str | None = None
    if "line_item" in groups:
        tokens = total.prompt_tokens + total.completion_tokens
        if not (tokens and total.images):
            quantity, unit = (total.images, "images") if total.images else (tokens, "tokens")
    return {
        "amount": {"value": total.cost_micro / MICRO, "currency": "usd"},
        "quantity": quantity,
        "quantity_unit": unit,
    }


_WIDTHS: Final = {"1m": (MINUTE_S, 60, 1440), "1h": (HOUR_S, 24, 168), "1d": (DAY_S, 7, 31)}
_FILTERS: Final = {
    "project_ids": "project_id",
    "user_ids": "principal",
    "api_key_ids": "key_id",
    "models": "deployment",
}
_GROUPS: Final = {"project_id": "project_id", "user_id": "principal", "api_key_id": "key_id", "model": "deployment"}

REPORTS: Final = (
    Report(
        "usage/completions",
        "organization.usage.completions.result",
        _WIDTHS,
        _FILTERS,
        {**_GROUPS, "batch": "", "service_tier": "service_tier"},
        _completions,
        kind="completions",
        batch=True,
    ),
    Report(
        "usage/embeddings",
        "organization.usage.embeddings.result",
        _WIDTHS,
        _FILTERS,
        _GROUPS,
        _input_only,
        kind="embeddings",
    ),
    Report(
        "usage/images",
        "organization.usage.images.result",
        _WIDTHS,
        {"sources": "image_source", "sizes": "image_size", **_FILTERS},
        {**_GROUPS, "size": "image_size", "source": "image_source"},
        _images,
        kind="images",
        choices={
            "sources": frozenset({"image.generation", "image.edit", "image.variation"}),
            "sizes": frozenset({"256x256", "512x512", "1024x1024", "1792x1792", "1024x1792"}),
        },
    ),
    Report(
        "usage/moderations",
        "organization.usage.moderations.result",
        _WIDTHS,
        _FILTERS,
        _GROUPS,
        _input_only,
        kind="moderations",
    ),
    Report(
        "costs",
        "organization.costs.result",
        {"1d": (DAY_S, 7, 180)},
        {"project_ids": "project_id", "api_key_ids": "key_id"},
        {"project_id": "project_id", "line_item": "deployment", "api_key_id": "key_id"},
        _costs,
    ),
)
