"""OpenAI's dialect: the route table under `/v1`."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from starlette.routing import BaseRoute, Route

from freehold.api import (
    batches,
    conversations,
    evals,
    files,
    fine_tuning,
    graders,
    responses,
    stored_completions,
    uploads,
)
from freehold.api.chat import create_chat_completion
from freehold.api.completions import create_completion
from freehold.api.dialect import Dialect
from freehold.api.embeddings import create_embedding
from freehold.api.images import WITH_FILES, create_image, edit_image, vary_image
from freehold.api.models import delete_model, list_models, retrieve_model
from freehold.api.moderations import create_moderation
from freehold.api.operation import Operation
from freehold.api.reply import Handler

MakeOperation = Callable[..., Operation]


class Forms(Enum):
    """What a body may hold that is a form."""

    NONE = "none"
    PICTURES = "pictures"
    FILES = "files"
    PARTS = "parts"


def openai_routes(operation: MakeOperation) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True, forms=Forms.NONE)` makes an endpoint."""
    moderations = "/v1/moderations"
    return [
        *v1_routes("/v1", operation, Dialect.OPENAI),
        Route(moderations, operation(moderations, create_moderation, Dialect.OPENAI), methods=["POST"]),
    ]


def v1_routes(prefix: str, operation: MakeOperation, dialect: Dialect) -> list[BaseRoute]:
    """The resources of the v1 API, which Azure offers under a prefix of its own."""
    return [
        Route(
            f"{prefix}/{path}",
            operation(f"{prefix}/{path}", handler, dialect, **takes(method, handler)),
            methods=[method],
        )
        for method, path, handler in (
            ("GET", "models", list_models),
            ("GET", "models/{model:path}", retrieve_model),
            ("DELETE", "models/{model:path}", delete_model),
            ("POST", "chat/completions", create_chat_completion),
            ("POST", "completions", create_completion),
            ("POST", "embeddings", create_embedding),
            ("POST", "images/generations", create_image),
            ("POST", "images/edits", edit_image),
            ("POST", "images/variations", vary_image),
            *stored_completions.OPERATIONS,
            *files.OPERATIONS,
            *uploads.OPERATIONS,
            *responses.OPERATIONS,
            *conversations.OPERATIONS,
            *batches.OPERATIONS,
            *fine_tuning.OPERATIONS,
            *graders.OPERATIONS,
            *evals.OPERATIONS,
        )
    ]


def takes(method: str, handler: Handler) -> dict[str, Any]:
    """What `operation` is told of the bodies that an operation takes."""
    forms = Forms.PICTURES if handler in WITH_FILES else _FORMS.get(handler, Forms.NONE)
    return {"has_body": method == "POST" and handler not in _BODILESS, "forms": forms}


_BODILESS = fine_tuning.BODILESS | {
    uploads.cancel_upload,
    responses.cancel_response,
    batches.cancel_batch,
    evals.cancel_run,
    conversations.share_conversation,
}
_FORMS: dict[Handler, Forms] = {files.create_file: Forms.FILES, uploads.add_part: Forms.PARTS}
