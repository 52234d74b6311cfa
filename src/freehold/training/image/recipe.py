"""What a training of the painter is made of: sizes, seeds and how its time is shared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training. Times are minutes of work of `threads` cores: other work on the machine makes them longer.

    Args:
        minutes: for the decoder.
        scenes: how many different captions there are.
        seed: of scenes, weights, jitter and noise.
        threads: that each of two processes computes on.
    """

    minutes: float = 60.0
    scenes: int = 40_000
    seed: int = 1
    threads: int = 1

    @property
    def encoder_minutes(self) -> float:
        """For the picture encoder and the draft, with twice the threads, before all else."""
        return self.minutes * 0.4

    @property
    def prior_minutes(self) -> float:
        """For the prior, beside the decoder."""
        return self.minutes * 0.35

    @property
    def upsampler_minutes(self) -> float:
        """For the up-sampler, after the prior."""
        return self.minutes * 0.15
