"""The model card of a model that was trained from nothing: the README.md of its folder, as model hubs show it."""

import json
from collections.abc import Mapping
from typing import Any, Final

from freehold.training.language.recipes import LanguageRecipe
from freehold.types.training_statement import TrainingStatement

_NO_LICENCE: Final = "not given; whoever exported it can give one with `--licence`"
_LIMITS: Final = (
    "It continues texts of the kind that it was trained on. It was not taught to answer, to be right or harmless; "
    "fine-tuning, evaluation and content filters are for that."
)
_METRICS: Final = {
    "valid_loss": "loss on held-out text, nats a token",
    "valid_bits_per_byte": "the same in bits a byte, which does not depend on the tokenizer",
}


def model_card(recipe: LanguageRecipe, statement: TrainingStatement, metrics: Mapping[str, float], name: str) -> str:
    """The page: what the model is, what it learnt from, what was measured, and how to use it.

    Args:
        recipe: by which it was trained.
        statement: where it comes from.
        metrics: of the last evaluation of its training, by name.
        name: of the model.
    """
    measured = [(_METRICS.get(key, key), f"{value:.4f}") for key, value in sorted(metrics.items())]
    parts = [
        _front_matter(statement),
        f"# {name}",
        f"A language model of {recipe.model.parameters:,} parameters, trained from nothing by Freehold. {_LIMITS}",
        _table("Model", _shape(recipe)),
        _table("Training", _training(recipe, statement)),
        _data(statement),
        _table("Evaluation", measured),
        _use(name, statement),
        f"## Recipe\n\n```json\n{json.dumps(recipe.model_dump(mode='json'), indent=2)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _use(name: str, statement: TrainingStatement) -> str:
    return (
        f"## Use\n\n```console\n$ freehold pull file:///FOLDER --name {name} --sha256 {statement.weights_sha256}\n"
        f"$ freehold deployments create {name} --model {name}\n"
        f'$ freehold complete --model {name} "Once" --max-tokens 60\n```\n\n'
        "`transformers` reads the folder too, with `AutoModelForCausalLM.from_pretrained`."
    )


def _front_matter(statement: TrainingStatement) -> str:
    """What model hubs read; a licence that they have no name for is `other`."""
    licence = f"license: other\nlicense_name: {json.dumps(statement.licence)}\n" if statement.licence else ""
    return f"---\n{licence}library_name: transformers\npipeline_tag: text-generation\ntags:\n- freehold\n---"


def _shape(recipe: LanguageRecipe) -> list[tuple[str, Any]]:
    model = recipe.model
    return [
        ("architecture", "LlamaForCausalLM (RMSNorm, rotary positions, SwiGLU, grouped-query attention)"),
        ("layers, width", f"{model.layers}, {model.width}"),
        ("heads, of them for keys and values", f"{model.heads}, {model.kv_heads}"),
        ("width of the feed-forward layer", model.feed_forward),
        ("vocabulary", f"{model.vocabulary} tokens, {'tied to' if model.tied else 'apart from'} the head"),
        ("context", f"{model.context} tokens, trained on sequences of {recipe.sequence}"),
    ]


def _training(recipe: LanguageRecipe, statement: TrainingStatement) -> list[tuple[str, Any]]:
    training = recipe.training
    checkpoint = statement.checkpoint
    return [
        ("recipe", f"{recipe.name}, {statement.recipe.sha256}"),
        ("checkpoint", f"{checkpoint.name}, {checkpoint.sha256}"),
        ("steps of the recipe", f"{training.steps:,} of {training.batch * recipe.sequence:,} tokens"),
        ("optimizer, schedule", f"{training.optimizer.kind}, {training.schedule.kind}"),
        ("seed", training.seed),
        ("code", ", ".join(f"{key} {value}" for key, value in statement.code.facts.items() if key != "source_sha256")),
    ]


def _data(statement: TrainingStatement) -> str:
    data = statement.data
    rows = [(each.name, f"{each.bytes:,}", each.licence or "not given", each.sha256) for each in data.sources]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    table = "\n".join(["| source | bytes | licence | SHA-256 |", "|---|---|---|---|", *lines])
    card = f"`data-card.md` tells how they were made; its digest is {data.card_sha256}." if data.card_sha256 else ""
    amount = f"{data.tokens:,} tokens to learn from. " if data.tokens is not None else ""
    return (
        f"## Data\n\n{amount}Shards {data.sha256}, tokenizer {data.tokenizer_sha256}. {card}\n\n"
        f"{table if rows else 'No sources are stated.'}\n\nLicence of the model: {statement.licence or _NO_LICENCE}."
    )


def _table(title: str, rows: list[tuple[str, Any]]) -> str:
    lines = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)
    return f"## {title}\n\n| | |\n|---|---|\n{lines}" if rows else f"## {title}\n\nNothing was measured."


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
