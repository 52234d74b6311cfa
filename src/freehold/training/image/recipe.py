"""What a training of the painter is made of: sizes, seeds and how its time is shared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training. Times are minutes by the clock; a pause of the process does not count.

    Args:
        minutes: for the decoder; the other networks are trained beside it, in a process of their own.
        scenes: how many different captions there are.
        seed: of scenes, weights, jitter and noise.
        threads: that each of the two processes computes on.
    """

    minutes: float = 60.0
    scenes: int = 16_000
    seed: int = 1
    threads: int = 1

    @property
    def encoder_minutes(self) -> float:
        """For the picture encoder, on which prior and decoder wait."""
        return self.minutes * 0.18

    @property
    def prior_minutes(self) -> float:
        """For the prior."""
        return self.minutes * 0.10

    @property
    def draft_minutes(self) -> float:
        """For the draft."""
        return self.minutes * 0.25

    @property
    def upsampler_minutes(self) -> float:
        """For the up-sampler."""
        return self.minutes * 0.12
