"""How a model is trained, in numbers: a complete, typed, immutable description that can be written down and read again.

Nothing here needs torch, so a training can be planned and checked where none is installed. A recipe is made by a
function (`freehold.training.language.recipes`), changed by `changed`, kept beside the checkpoints as JSON, and a
checkpoint of another recipe is not gone on with.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from freehold.errors import ConfigError
from freehold.types.base import SettingsModel

RecipeT = TypeVar("RecipeT", bound=SettingsModel)

PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class OptimizerRecipe(SettingsModel):
    """What changes the weights.

    AdamW (Loshchilov and Hutter, arXiv 1711.05101) for everything, or Muon (Jordan et al., 2024; scaled as in
    arXiv 2502.16982) for the matrices inside of the blocks, and AdamW for embeddings, the head and vectors.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    """What changes the matrices of blocks; all else is AdamW's."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """The highest that AdamW uses."""
    muon_learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """The highest that Muon uses; its steps are as long as AdamW's at the same rate, but it bears a higher one."""
    muon_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """How slowly the running mean of gradients follows them."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """How slowly AdamW's two running means follow: of gradients, and of their squares."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """What AdamW adds to the root of the second, so that it divides by no zero."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of matrices; vectors have none."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """The gradient's length over all weights at most."""


class ScheduleRecipe(SettingsModel):
    """How the rate of learning rises and falls: in shares of the highest, over the steps of the training.

    `wsd` warms up, stays, and falls along a straight line over the last `decay_share` of the steps (Hu et al.,
    arXiv 2404.06395); `cosine` warms up and falls along half a cosine from there on.
    """

    kind: Literal["wsd", "cosine", "constant"] = "cosine"
    """The curve."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Until the rate is the highest."""
    decay_share: Share = 0.2
    """Of the steps, the last so many in which `wsd` falls."""
    floor: Share = 0.1
    """Where it ends."""


class PrecisionRecipe(SettingsModel):
    """In what numbers it is computed. Weights and the optimizer's state are float32 always."""

    compute: Literal["auto", "float32", "bfloat16"] = "auto"
    """"auto": bfloat16 on GPUs and on processors with instructions for it, otherwise float32."""
    float8: bool = False
    """Linear layers of the blocks in 8 bits: on Hopper or newer, with torchao."""
    compile: bool = False
    """Whether the blocks go through `torch.compile`."""


class Layout(NamedTuple):
    """How a number of devices is laid out: replicas x shards x tensor."""

    replicas: int
    shards: int
    tensor: int

    @property
    def data(self) -> int:
        """Groups of devices that each take samples of their own."""
        return self.replicas * self.shards


class ParallelRecipe(SettingsModel):
    """How a training lies on its devices: their number is replicas x shards x tensor."""

    replicas: PositiveInt = 1
    """Groups that each hold the whole model (hybrid sharding)."""
    shards: PositiveInt | Literal["auto"] = "auto"
    """Devices over which weights, gradients and the optimizer's state are split (FSDP2); "auto": all that are left."""
    tensor: PositiveInt = 1
    """Devices over which each matrix is split (tensor parallel)."""
    activation_checkpointing: bool = False
    """Whether blocks are computed again on the way back instead of being remembered."""

    def layout(self, devices: int) -> Layout:
        """How so many devices are laid out.

        Raises:
            ConfigError: the recipe wants another number of them.
        """
        rest, over = divmod(devices, self.replicas * self.tensor)
        if self.shards == "auto" and (over or not rest):
            raise ConfigError(
                f"parallel: {self.replicas} replicas x {self.tensor} tensor need a multiple of "
                f"{self.replicas * self.tensor} devices, one process on each; there are {devices}"
            )
        shards = rest if self.shards == "auto" else self.shards
        wanted = self.replicas * shards * self.tensor
        if wanted != devices:
            raise ConfigError(
                f"parallel: {self.replicas} replicas x {shards} shards x {self.tensor} tensor are {wanted} devices, "
                f"one process on each; there are {devices}"
            )
        return Layout(self.replicas, shards, self.tensor)


class CheckpointRecipe(SettingsModel):
    """When the state is written down."""

    every_steps: PositiveInt = 500
    """Steps between checkpoints; there is one after the last in any case."""
    keep: PositiveInt = 2
    """Of these so many newest stay."""
    asynchronous: bool = True
    """Whether it is written while the training goes on."""


class SpikeRecipe(SettingsModel):
    """What is done when the loss leaps: the step is left out, and after too many of these the training goes back.

    A step leaps when its loss is not a number, or lies `deviations` above the mean of the last `window` steps.
    """

    window: PositiveInt = 128
    """Steps that a loss is compared with."""
    deviations: Annotated[float, Field(gt=0)] = 6.0
    """Standard deviations above their mean that are a leap."""
    patience: PositiveInt = 8
    """Leaps in a row after which the newest checkpoint is loaded, and the batches since then are passed over."""
    rollbacks: Annotated[int, Field(ge=0)] = 3
    """After so many the training ends with an error."""


class TrainingRecipe(SettingsModel):
    """One training, whatever the model is. A sample is what the objective says: a sequence of tokens, or a picture."""

    steps: PositiveInt
    """Changes of the weights."""
    batch: PositiveInt
    """Samples a step, over all devices."""
    micro_batch: PositiveInt
    """Samples that go through one device at once; the gradients of several are added up."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Of the first weights, of the order of samples, and of what is left out."""
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    precision: PrecisionRecipe = PrecisionRecipe()
    parallel: ParallelRecipe = ParallelRecipe()
    checkpoints: CheckpointRecipe = CheckpointRecipe()
    spikes: SpikeRecipe = SpikeRecipe()
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How slowly averaged weights follow those that are trained; without it there are none."""
    evaluate_every: PositiveInt | None = None
    """Steps between evaluations; without it only after the last."""
    evaluate_samples: PositiveInt = 256
    """Held-out samples of an evaluation; after the last step all are taken."""
    log_every: PositiveInt = 10
    """Steps between lines of the log."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.batch % self.micro_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})")
        return self


def changed(recipe: RecipeT, settings: Mapping[str, str]) -> RecipeT:
    """A recipe with other values at some paths, such as `{"training.steps": "200"}`; a value is JSON, or else a text.

    Raises:
        ConfigError: names the path that there is not, or whose value is not possible.
    """
    tree = recipe.model_dump(mode="json")
    for path, text in settings.items():
        *parents, last = path.split(".")
        place: Any = tree
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = ", ".join(sorted(_paths(tree)))
            raise ConfigError(f"the recipe has no '{path}'; it has: {known}")
        place[last] = _value(text)
    return read(type(recipe), tree)


def read(kind: type[RecipeT], tree: Mapping[str, Any]) -> RecipeT:
    """A recipe from the tree that JSON gives.

    Raises:
        ConfigError: names the path whose value is not possible.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from exc


def _value(text: str) -> Any:
    try:
        return TypeAdapter(Any).validate_json(text)
    except ValidationError:
        return text


def _paths(tree: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        found += _paths(value, f"{before}{name}.") if isinstance(value, dict) else [f"{before}{name}"]
    return found
