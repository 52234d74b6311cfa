"""The memory that a training takes on each device, by formula.

With P the parameters of a device's share of the matrices (all, by tensor parallel degree t) and s shards, in bytes:

    weights        4 P / s
    gradients      4 P / s; whole (4 P) where several micro-batches are added up before FSDP2 exchanges them
    optimizer      8 P / s for AdamW; 4 for each number of a matrix that Muon changes
    average        4 P / s, where averaged weights are kept
    gathered       of FSDP2, the weights in computing precision of two blocks and of the ends, and a block's gradients
    activations    layers x kept x tokens of a micro-batch; with recomputation layers x W x b / t
    logits         tokens x vocabulary x (4 + 4 + 4): log-probabilities, and two gradients; on GPUs compiled x b, and
                   of more than `most_logits` in pieces of so many; and 3 b W for each token around the last norm
    a block        while it goes back: gradients of 2 F + 2 W for each token, and what it keeps if it is recomputed
    the last one   to go back: its gradients and what it keeps, or a tied embedding's gradient and sum with the head's

What a block keeps for the way back follows Korthikanti et al. (arXiv 2205.05198, section 4), counted again for this
model: no dropout, attention that keeps no scores (Dao et al., arXiv 2205.14135), SwiGLU and grouped queries. With b
bytes a number, W the width, F the inner width, Q and K the widths of all queries and keys:

    b (4 W + 2 Q + 2 K + 3 F)    norms' inputs and outputs; queries, keys, values, attention's output; SwiGLU's three

Where nothing is fused, SwiGLU keeps another F, and a norm another W, but for processors in float32
(`freehold.training.language.processor`); where they compute in bfloat16, attention keeps another Q. The gradients are
those that there are at most beside what a block has not let go of yet: where SwiGLU goes back. The peak is the largest
of five moments: the loss (activations and logits), the first block that goes back, the last one (gradients of all), the
optimizer's step, and a checkpoint (on a processor, where the copy to be written lies in the same memory).
"""

from dataclasses import asdict, dataclass
from typing import Any

from freehold.training.language.recipes import LanguageRecipe, ModelRecipe, most_logits
from freehold.training.planning.work import block_parameters, ends_parameters, matrices
from freehold.training.trainer.recipe import Layout
from freehold.training.trainer.share import StepShare


@dataclass(frozen=True, slots=True)
class Room:
    """How a kind of device keeps things.

    Args:
        number: bytes of one that is computed with.
        fused: whether compiled kernels keep only what they must.
        on_host: whether the device is the processor, whose memory also holds copies for checkpoints.
        process: bytes of a process before it has a model.
        allowance: share of what comes and goes that is lost between the pieces.
    """

    number: int
    fused: bool
    on_host: bool
    process: int
    allowance: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each device.

    Args:
        weights: in float32.
        gradients: in float32.
        optimizer: its state.
        average: of the weights.
        activations: kept for the way back.
        logits: and what the loss makes of them.
        block: what one block takes while it goes back.
        last: what there is besides gradients when the last one goes back.
        gathered: buffers of sharded weights and gradients.
        step: what the optimizer takes while it works.
        snapshot: the copy of the state from which a checkpoint is written.
        allowance: for pieces between.
        process: interpreter, libraries and runtime.
        moving: what comes and goes within a step, at most.
        accumulates: whether there are gradients already when the last way back begins.
        snapshot_stays: whether the copy is there while the training goes on.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    logits: int
    block: int
    last: int
    gathered: int
    step: int
    snapshot: int
    allowance: int
    process: int
    moving: int
    accumulates: bool
    snapshot_stays: bool

    @property
    def moments(self) -> dict[str, int]:
        """What there is at each of the moments that may be the peak."""
        always = self.weights + self.average + self.optimizer + self.process + self.allowance
        always += self.snapshot if self.snapshot_stays else 0
        passing = always + self.activations + self.gathered + (self.gradients if self.accumulates else 0)
        return {
            "loss": passing + self.logits,
            "way back": passing + self.block,
            "end of the way back": always + self.gathered + self.gradients + self.last,
            "optimizer's step": always + self.gradients + self.step,
            "checkpoint": always + (0 if self.snapshot_stays else self.snapshot),
        }

    @property
    def peak(self) -> int:
        """The most that there is at once."""
        return max(self.moments.values())

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "moments": self.moments, "peak": self.peak}


def memory_of(recipe: LanguageRecipe, layout: Layout, room: Room) -> Memory:
    """What a training takes on each of its devices."""
    model, training = recipe.model, recipe.training
    share = layout.tensor * layout.shards
    blocks = model.layers * block_parameters(model)
    parameters = blocks + ends_parameters(model)
    share_of_step = StepShare.of(training, 0, layout.data)
    samples, accumulates = share_of_step.size, share_of_step.pieces > 1
    sharded = layout.data > 1
    whole = sharded and accumulates
    matrix = model.layers * sum(rows * columns for rows, columns in matrices(model))
    by_muon = matrix if training.optimizer.kind == "muon" else 0
    optimizer = (8 * (parameters - by_muon) + 4 * by_muon) // share
    activations = activations_of(recipe, samples, layout.tensor, room)
    logits = _logits(recipe, samples, layout.tensor, room)
    gathered = _gathered(model, layout, room) if sharded else _cast(parameters, layout, room)
    block = _block_back(recipe, samples, layout.tensor, room)
    moving = activations + max(logits, block) + gathered
    average = 4 * parameters // share if training.average is not None else 0
    return Memory(
        weights=4 * parameters // share,
        gradients=4 * parameters // (layout.tensor if whole else share),
        optimizer=optimizer,
        average=average,
        activations=activations,
        logits=logits,
        block=block,
        last=_last_back(recipe, samples, layout.tensor, room, sharded=sharded),
        gathered=gathered,
        step=_step(model, by_muon, share),
        snapshot=(4 * parameters // share + optimizer + average) if room.on_host else 0,
        allowance=int(room.allowance * moving),
        moving=moving,
        process=room.process,
        accumulates=accumulates,
        snapshot_stays=training.checkpoints.every_steps < training.steps,
    )


def activations_of(recipe: LanguageRecipe, samples: int, tensor: int, room: Room) -> int:
    """What all blocks keep of a micro-batch."""
    model = recipe.model
    again = recipe.training.parallel.activation_checkpointing
    each = model.width * room.number if again else block_kept(model, room)
    return samples * recipe.sequence * model.layers * each // tensor


def _block_back(recipe: LanguageRecipe, samples: int, tensor: int, room: Room) -> int:
    """Gradients that are there while a block goes back, and what it keeps if that was not kept from the way there."""
    model = recipe.model
    kept = block_kept(model, room) if recipe.training.parallel.activation_checkpointing else 0
    return samples * recipe.sequence * (kept + _gradients(model, room)) // tensor


def _last_back(recipe: LanguageRecipe, samples: int, tensor: int, room: Room, *, sharded: bool) -> int:
    """What the last block to go back takes, with what it kept; or what a tied embedding does, which comes after it."""
    model = recipe.model
    each = block_kept(model, room) + _gradients(model, room) + room.number * model.width
    embedding = 8 * model.vocabulary * model.width // tensor if model.tied and not sharded else 0  # and the sum
    return max(samples * recipe.sequence * each // tensor, embedding)


def _gradients(model: ModelRecipe, room: Room) -> int:
    """Bytes of each token: those of SwiGLU's factors, of what comes in, and of what goes past."""
    return room.number * (2 * model.feed_forward + 2 * model.width)


def block_kept(model: ModelRecipe, room: Room) -> int:
    """Bytes that a block keeps of each token."""
    head = model.width // model.heads
    queries, keys = model.heads * head, model.kv_heads * head
    lean = room.on_host and room.number == 4
    norms = 4 if room.fused or lean else 6
    inner = 3 if room.fused else 4
    attention = 3 if room.on_host and not lean else 2
    numbers = norms * model.width + attention * queries + 2 * keys + inner * model.feed_forward
    return room.number * numbers + 4 * model.heads


def _logits(recipe: LanguageRecipe, samples: int, tensor: int, room: Room) -> int:
    """What the loss makes, and the last norm, whose output is split as the sequence is."""
    model, tokens = recipe.model, samples * recipe.sequence
    numbers, head = tokens * model.vocabulary, model.vocabulary * model.width
    norm = tokens * 3 * model.width * room.number // tensor
    if room.on_host or tensor > 1:
        return numbers * 12 + norm
    at_once = most_logits(compiled=room.fused)
    if numbers > at_once:
        return at_once * (room.number + 4) + (room.number + 4) * head + norm
    return numbers * (room.number if room.fused else 12) + norm  # compiled, gradients take the place of logits


def _gathered(model: ModelRecipe, layout: Layout, room: Room) -> int:
    """Two blocks' weights (one computes, the next comes), the ends', and a block's gradients as they are exchanged."""
    block, ends = block_parameters(model), ends_parameters(model)
    return (room.number * (2 * block + ends) + (room.number + 4) * max(block, ends)) // layout.tensor


def _cast(parameters: int, layout: Layout, room: Room) -> int:
    """The copies of weights in computing precision that autocast makes, where nothing is sharded."""
    return 0 if room.number == 4 else room.number * parameters // layout.tensor


def _step(model: ModelRecipe, by_muon: int, share: int) -> int:
    """What the optimizer works in: AdamW in place; Muon on a copy of each matrix, and a few of the largest."""
    if not by_muon:
        return 0
    return 4 * 4 * max(rows * columns for rows, columns in matrices(model)) // share
