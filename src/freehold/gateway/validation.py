"""Parameters against what a deployment can do: each is done, or refused by its name; none is dropped."""

from collections.abc import Sequence

from freehold.catalog.deployments import Deployment
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.schema_rules import check_schema
from freehold.types.chat import (
    ChatRequest,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedToolChoice,
    TextPart,
    UserMessage,
)
from freehold.types.completions import CompletionRequest
from freehold.types.embeddings import EmbeddingRequest
from freehold.types.engine import Feature, Tier, Traits

NOT_OFFERED = {
    "audio": "this service makes no sound",
    "prediction": "predicted outputs are not available",
    "web_search_options": "web search is not available",
    "moderation": "inline moderation is not available",
    "verbosity": "the model has no verbosity setting",
    "prompt_cache_retention": "prompt caches are kept in memory only; it can be 'in_memory', or be left out",
    "prompt_cache_options": "prompt caches are managed by the server; leave it out",
}
"""Parameters of the specification that no deployment takes, and why."""

ALWAYS = {"prompt_cache_retention": "in_memory"}
"""Values of theirs that say what is done anyway."""

TASKS = {
    Feature.CHAT: "chat completions",
    Feature.COMPLETION: "completions",
    Feature.EMBEDDINGS: "embeddings",
    Feature.IMAGES: "pictures",
    Feature.IMAGE_EDITS: "edits of pictures",
    Feature.IMAGE_VARIATIONS: "variations of pictures",
}
"""What an operation makes, where a model must be able to."""


def check_chat(request: ChatRequest, deployment: Deployment, traits: Traits) -> frozenset[Feature]:
    """The features that the request needs.

    Raises:
        UnsupportedParameter, InvalidRequest: names the parameter.
    """
    needed = _chat_needs(request)
    require_features(needed, traits, deployment)
    if not NOT_OFFERED.keys().isdisjoint(request.model_fields_set):
        _check_offered(request)
    if request.modalities is not None and request.modalities != ["text"]:
        raise UnsupportedParameter("Unsupported value: 'modalities' can only be [\"text\"].", param="modalities")
    if request.reasoning_effort not in {None, "none"} and Feature.REASONING not in traits.features:
        raise cannot("reasoning_effort", deployment)
    tier_of(request)
    _check_schemas(request)
    _check_limit(
        request.completion_limit, traits, "max_completion_tokens" if request.max_tokens is None else "max_tokens"
    )
    return frozenset(needed.values())


def _check_offered(request: ChatRequest) -> None:
    """Refuse what no deployment takes."""
    for name, why in NOT_OFFERED.items():
        if getattr(request, name) is not None and getattr(request, name) != ALWAYS.get(name):
            raise UnsupportedParameter(f"Unsupported parameter: '{name}': {why}.", param=name)


TIERS = {None: Tier.DEFAULT, "auto": Tier.DEFAULT} | {tier.value: tier for tier in Tier}
TIERS["fast"] = Tier.PRIORITY
"""`service_tier` on the wire. `fast` is OpenAI's newer name of `priority`, and answered as that."""


def tier_of(request: ChatRequest) -> Tier:
    """Before and after whom the request is served when there is not room for all.

    Raises:
        UnsupportedParameter: there is no such tier here.
    """
    tier = TIERS.get(request.service_tier)
    if tier is None:
        raise UnsupportedParameter(
            "Unsupported value: 'service_tier' can be 'auto', 'default', 'flex' or 'priority'.", param="service_tier"
        )
    return tier


def check_completion(request: CompletionRequest, deployment: Deployment, traits: Traits) -> frozenset[Feature]:
    """The features that the request needs.

    Raises:
        UnsupportedParameter, InvalidRequest: names the parameter.
    """
    needed = _completion_needs(request)
    require_features(needed, traits, deployment)
    if request.echo and request.logprobs is not None:
        raise UnsupportedParameter(
            "Unsupported value: 'logprobs' together with 'echo': the model gives no probabilities of the prompt.",
            param="logprobs",
        )
    if request.echo and not all(isinstance(prompt, str) for prompt in request.prompts):
        raise UnsupportedParameter("Unsupported value: 'echo' needs the prompt as text, not as tokens.", param="echo")
    if len(request.prompts) * max(request.n or 1, request.best_of or 1) > 2048:
        raise InvalidRequest("The request asks for more than 2048 sequences.", param="prompt")
    _check_limit(request.max_tokens, traits, "max_tokens")
    return frozenset(needed.values())


def check_embedding(request: EmbeddingRequest, deployment: Deployment, traits: Traits) -> frozenset[Feature]:
    """The features that the request needs.

    Raises:
        UnsupportedParameter, InvalidRequest: names the parameter.
    """
    needed = {"model": Feature.EMBEDDINGS}
    if not all(isinstance(text, str) for text in request.inputs):
        needed["input"] = Feature.TOKEN_PROMPT
    if request.dimensions is not None:
        needed["dimensions"] = Feature.DIMENSIONS
    require_features(needed, traits, deployment)
    if request.input_type is not None:
        raise cannot("input_type", deployment)
    if request.dimensions is not None and request.dimensions > (traits.embedding_dimensions or request.dimensions):
        raise InvalidRequest(
            f"Invalid value: 'dimensions' must be at most {traits.embedding_dimensions} for this model.",
            param="dimensions",
        )
    return frozenset(needed.values())


def _chat_needs(request: ChatRequest) -> dict[str, Feature]:
    """Each parameter that needs a feature, with that feature."""
    needed = {"model": Feature.CHAT}
    if request.logprobs:
        needed["logprobs"] = Feature.LOGPROBS
    if isinstance(request.response_format, JsonObjectFormat):
        needed["response_format"] = Feature.JSON_OBJECT
    if isinstance(request.response_format, JsonSchemaFormat):
        needed["response_format"] = Feature.JSON_SCHEMA
    if request.tools:
        needed["tools"] = Feature.TOOLS
    for message in request.messages:
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            needed |= _needs_of(message.content)
    return _with_sampling(needed, request)


def _needs_of(parts: Sequence[object]) -> dict[str, Feature]:
    """What the parts of a message need."""
    if not all(isinstance(part, ImagePart | TextPart) for part in parts):
        raise UnsupportedParameter("Unsupported value: 'messages' can hold text and pictures only.", param="messages")
    return {"messages": Feature.VISION} if any(isinstance(part, ImagePart) for part in parts) else {}


def _completion_needs(request: CompletionRequest) -> dict[str, Feature]:
    needed = {"model": Feature.COMPLETION}
    if request.logprobs is not None:
        needed["logprobs"] = Feature.LOGPROBS
    if request.best_of is not None and request.best_of > (request.n or 1):
        needed["best_of"] = Feature.LOGPROBS
    if request.suffix is not None:
        needed["suffix"] = Feature.SUFFIX
    if not all(isinstance(prompt, str) for prompt in request.prompts):
        needed["prompt"] = Feature.TOKEN_PROMPT
    return _with_sampling(needed, request)


def _with_sampling(needed: dict[str, Feature], request: ChatRequest | CompletionRequest) -> dict[str, Feature]:
    """What is needed, and what the parameters of sampling need."""
    if request.seed is not None:
        needed["seed"] = Feature.SEED
    if request.stop is not None:
        needed["stop"] = Feature.STOP
    if request.logit_bias:
        needed["logit_bias"] = Feature.LOGIT_BIAS
    for name in ("frequency_penalty", "presence_penalty"):
        if getattr(request, name):
            needed[name] = Feature.PENALTIES
    return needed


def require_features(needed: dict[str, Feature], traits: Traits, deployment: Deployment) -> None:
    """Hold that a deployment can do what each parameter needs; `model` stands for the operation itself.

    Raises:
        UnsupportedParameter: names the first that it cannot.
    """
    for param, feature in needed.items():
        if feature in traits.features:
            continue
        if param == "model":
            raise UnsupportedParameter(
                f"The model '{deployment.name}' does not make {TASKS[feature]}.",
                param="model",
                code="operation_not_supported",
            )
        if feature is Feature.VISION:
            raise UnsupportedParameter(
                f"Unsupported value: '{param}' holds a picture, and the model '{deployment.name}' reads text only.",
                param=param,
            )
        raise cannot(param, deployment)


def cannot(param: str, deployment: Deployment) -> UnsupportedParameter:
    """The error for a parameter that a deployment cannot do."""
    return UnsupportedParameter(
        f"Unsupported parameter: '{param}' is not supported with the model '{deployment.name}'.", param=param
    )


def _check_limit(limit: int | None, traits: Traits, param: str) -> None:
    if limit is not None and traits.context_length is not None and limit > traits.context_length:
        raise InvalidRequest(
            f"{param} is too large: {limit}. This model supports at most {traits.context_length} tokens, "
            "prompt and completion together.",
            param=param,
        )


def _check_schemas(request: ChatRequest) -> None:
    """Every schema in the request is one, and the named tool exists."""
    if isinstance(request.response_format, JsonSchemaFormat):
        wanted = request.response_format.json_schema
        check_schema(wanted.schema_ or {}, strict=bool(wanted.strict), param="response_format")
    names: set[str] = set()
    for tool in request.tools or []:
        if tool.function.name in names:
            raise InvalidRequest(f"The function '{tool.function.name}' is defined twice.", param="tools")
        names.add(tool.function.name)
        check_schema(
            tool.function.parameters
            or {"type": "object", "properties": {}, "additionalProperties": False, "required": []},
            strict=bool(tool.function.strict),
            param="tools",
        )
    if isinstance(request.tool_choice, NamedToolChoice) and request.tool_choice.function.name not in names:
        raise InvalidRequest(
            f"Tool choice '{request.tool_choice.function.name}' not found in 'tools' parameter.", param="tool_choice"
        )
