"""How many tokens a request can come to, told before any engine has read it.

An upper bound for money: no tokeniser makes more tokens than a text has bytes, and a chat template adds a few for
each message and each tool. An estimate for the limit per minute, where what is too much is given back in a moment:
four bytes a token, which is what OpenAI and Azure take.
"""

from freehold.catalog.deployments import Deployment
from freehold.types.capacity import Work
from freehold.types.chat import ChatRequest, ImagePart, UserMessage
from freehold.types.completions import CompletionRequest
from freehold.types.embeddings import EmbeddingRequest
from freehold.types.images import ImageRequest, PictureOperation
from freehold.types.values import value_class

UNKNOWN_CONTEXT = 131_072
"""Tokens that are taken as the bound where neither deployment nor engine tells a context length."""
MESSAGE_TOKENS = 32
TEMPLATE_TOKENS = 1024
"""What a template may add for each message or tool, and once in all."""
PICTURE_TOKENS = 4096
PAINTED_TOKENS = 8192
"""For a painted picture, where an endpoint counts it in tokens."""
LIKELY_COMPLETION = 256
"""The estimate for an answer whose length nobody limits."""
BYTES_PER_TOKEN = 4


@value_class
class Bounds:
    """How many tokens a request can come to on a deployment.

    Args:
        prompt_tokens, completion_tokens: upper bounds, for money.
        likely_prompt_tokens, likely_completion_tokens: estimates, for the limit per minute.
        images: how many pictures are painted, exactly.
    """

    prompt_tokens: int
    completion_tokens: int
    likely_prompt_tokens: int
    likely_completion_tokens: int
    images: int = 0

    @property
    def work(self) -> Work:
        """An estimate of what the request needs of provisioned units."""
        return Work(min(self.likely_prompt_tokens, self.prompt_tokens), self.likely_completion_tokens, 0, self.images)


def chat_bounds(request: ChatRequest, body_bytes: int, context: int | None, deployment: Deployment) -> Bounds:
    """The bounds of a chat completion.

    Args:
        request: what is asked.
        body_bytes: length of the request's body.
        context: the engine's context length in tokens, if known.
        deployment: whose defaults hold.
    """
    pictures = 0
    for message in request.messages:
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            pictures += sum(isinstance(part, ImagePart) for part in message.content)
    parts = len(request.messages) + len(request.tools or ())
    extra = TEMPLATE_TOKENS + MESSAGE_TOKENS * parts + PICTURE_TOKENS * pictures
    limit = request.completion_limit or deployment.settings.defaults.max_tokens
    return text_bounds(
        body_bytes, extra, context or deployment.settings.context_length, limit, sequences=request.n or 1
    )


def completion_bounds(
    request: CompletionRequest, limit: int, body_bytes: int, context: int | None, deployment: Deployment
) -> Bounds:
    """The bounds of a text completion of at most `limit` tokens a sequence; the others as `chat_bounds`."""
    prompts = len(request.prompts)
    return text_bounds(
        body_bytes,
        MESSAGE_TOKENS * prompts,
        context or deployment.settings.context_length,
        limit,
        prompts=prompts,
        sequences=prompts * max(request.n or 1, request.best_of or 1),
    )


def embedding_bounds(request: EmbeddingRequest, body_bytes: int, context: int | None, deployment: Deployment) -> Bounds:
    """The bounds of embeddings; the arguments as `chat_bounds`."""
    inputs = len(request.inputs)
    context = context or deployment.settings.context_length
    return text_bounds(body_bytes, MESSAGE_TOKENS * inputs, context, 0, prompts=inputs)


def image_bounds(request: ImageRequest, _deployment: Deployment) -> Bounds:
    """The bounds of pictures. Most engines count no tokens for what they paint; for those that do, a generous bound."""
    prompt_bytes = len(getattr(request, "prompt", "").encode("utf-8", "surrogatepass"))
    given = 0 if request.operation is PictureOperation.GENERATION else PICTURE_TOKENS
    return Bounds(
        prompt_tokens=prompt_bytes + TEMPLATE_TOKENS + given,
        completion_tokens=PAINTED_TOKENS * request.count,
        likely_prompt_tokens=-(-prompt_bytes // BYTES_PER_TOKEN),
        likely_completion_tokens=0,
        images=request.count,
    )


def text_bounds(
    body_bytes: int, extra: int, context: int | None, limit: int | None, *, prompts: int = 1, sequences: int = 1
) -> Bounds:
    """Put the bounds together: a prompt and its completion fit the context, so each is at most that.

    Args:
        body_bytes: of the request, with all its prompts.
        extra: tokens that a template may add.
        context: tokens of the window, if known.
        limit: tokens of a completion at most, if anybody limits them.
        prompts: how many there are.
        sequences: completions that are made.
    """
    window = context or UNKNOWN_CONTEXT
    completion = min(limit, window) if limit is not None else window
    return Bounds(
        prompt_tokens=min(body_bytes + extra, window * prompts),
        completion_tokens=completion * sequences,
        likely_prompt_tokens=min(-(-body_bytes // BYTES_PER_TOKEN), window * prompts),
        likely_completion_tokens=(completion if limit is not None else min(LIKELY_COMPLETION, window)) * sequences,
    )
