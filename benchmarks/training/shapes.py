"""The shapes that are compared: those of nanoGPT's readme, with a model of ours of no more parameters than its own."""

from dataclasses import dataclass

NANOGPT_CHARACTERS = 65
"""That tinyshakespeare has; nanoGPT's vocabulary there."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One size of model and batch.

    Args:
        layers: blocks.
        heads: of attention.
        width: numbers a token is.
        block: tokens of a sample.
        batch: samples of a step.
        from_step: what comes before is not measured: it warms up.
        to_step: the last that is measured.
        logged_every: steps between lines of the log, which are when the loss is waited for.
    """

    name: str
    layers: int
    heads: int
    width: int
    block: int
    batch: int
    from_step: int
    to_step: int
    logged_every: int

    @property
    def steps(self) -> int:
        """Those that are measured."""
        return self.to_step - self.from_step

    @property
    def tokens(self) -> int:
        """Of these steps."""
        return self.steps * self.batch * self.block

    @property
    def nanogpt_parameters(self) -> int:
        """nanoGPT's, without biases, with its table of positions: model.py, GPT."""
        block = 12 * self.width**2 + 2 * self.width
        return (NANOGPT_CHARACTERS + self.block) * self.width + self.layers * block + self.width

    def feed_forward(self, vocabulary: int) -> int:
        """The largest multiple of 16 with which our model has at most nanoGPT's parameters, embedding included."""
        rest = self.nanogpt_parameters - vocabulary * self.width - self.width
        found = (rest / self.layers - 4 * self.width**2 - 2 * self.width) / (3 * self.width)
        return int(found) // 16 * 16


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("readme", layers=4, heads=4, width=128, block=64, batch=12, from_step=50, to_step=250, logged_every=10),
        Shape("larger", layers=6, heads=6, width=384, block=256, batch=8, from_step=4, to_step=16, logged_every=1),
    )
}
"""`readme`: what nanoGPT's readme trains on a processor; `larger`: its model for a GPU, with a smaller batch."""
