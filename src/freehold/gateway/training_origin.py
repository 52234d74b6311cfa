"""Where a model that was trained from nothing comes from, as the folder of its weights states it."""

from freehold.types.lineage import Artifact, ArtifactKind
from freehold.types.training_statement import StatedPart, TrainingStatement


def stated_artifacts(statement: TrainingStatement) -> list[Artifact]:
    """The artifacts behind the weights, each after its parents; the last is the checkpoint that was exported."""
    data = statement.data
    files = [
        Artifact(each.sha256, ArtifactKind.FILE, each.name, facts={"bytes": each.bytes, "licence": each.licence})
        for each in data.sources
    ]
    known = {"tokens": data.tokens, "card_sha256": data.card_sha256, "tokenizer_sha256": data.tokenizer_sha256}
    facts: dict[str, str | int | float] = {name: value for name, value in known.items() if value is not None}
    parents = tuple(dict.fromkeys(each.digest for each in files))
    dataset = Artifact(data.sha256, ArtifactKind.DATASET, data.name, parents, facts=facts)
    recipe = _artifact(ArtifactKind.RECIPE, statement.recipe)
    code = _artifact(ArtifactKind.CODE, statement.code)
    made_from = (dataset.digest, recipe.digest, code.digest)
    return [*files, dataset, recipe, code, _artifact(ArtifactKind.CHECKPOINT, statement.checkpoint, made_from)]


def _artifact(kind: ArtifactKind, part: StatedPart, parents: tuple[str, ...] = ()) -> Artifact:
    return Artifact(part.sha256, kind, part.name, parents, facts=part.facts)
