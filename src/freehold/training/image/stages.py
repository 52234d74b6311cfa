"""The stages of the painter's training as objectives: what each learns from, and what it is to make small."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from freehold.engines.painter_words import MAX_TOKENS
from freehold.training.data.records import RecordShards
from freehold.training.image import decoder, looking, prior, upsampler
from freehold.training.image.decoder import Decoder, NoisyPictures, decoder_loss
from freehold.training.image.draws import Draws, below, normal, spoil, uniform
from freehold.training.image.looking import CaptionedPictures, Looking, looking_loss
from freehold.training.image.objective import PICTURE, Rows, StageObjective
from freehold.training.image.picture_encoder import ALIKE
from freehold.training.image.prior import DRAWS, CaptionedVectors, Prior, prior_loss
from freehold.training.image.text_encoder import WIDTH
from freehold.training.image.upsampler import FACTOR, PIECE, LargePictures, Upsampler, upsampler_loss
from freehold.training.trainer.parallel import Devices
from freehold.training.trainer.recipe import TrainingRecipe

ModelT = TypeVar("ModelT", bound=nn.Module)
VECTOR: Final = "vector"
"""The field of pictures' vectors."""


class EncoderStage(StageObjective[CaptionedPictures]):
    """The picture encoder, beside its locked sentences, and the draft."""

    tokens_per_sample = decoder.SIDE**2

    def __init__(self, recipe: TrainingRecipe, records: RecordShards, devices: Devices) -> None:
        super().__init__(_drawn(Looking, recipe.seed, devices), recipe, records, devices)

    def samples(self, split: str, rows: Rows, each: Draws) -> CaptionedPictures:
        """Pictures with their captions' vectors."""
        return CaptionedPictures(
            pictures=self.pictures(split, rows, each),
            sentences=self.field("sentence", split, rows),
            swapped=self.field("swapped", split, rows),
            has_swapped=self.field("has_swapped", split, rows) > 0,
            spoilt=self.here(spoil(each, looking.SPOILT, WIDTH)),
        )

    def loss(self, batch: CaptionedPictures) -> Tensor:
        """Of contrast and draft."""
        return looking_loss(self.model, batch)

    def conditions(self) -> Mapping[str, Any]:
        """How many captions a picture is held against."""
        return {"compared": self._share.size}

    def measures(self, batch: CaptionedPictures) -> Mapping[str, float]:
        """For how many pictures the nearest caption of the batch is their own, or says nearly the same."""
        vectors, _, _ = self.model(batch.pictures, batch.spoilt)
        nearest = (vectors @ batch.sentences.T).argmax(1)
        said = (batch.sentences[nearest] * batch.sentences).sum(1)
        return {"valid_nearest": float((said > ALIKE).float().mean())}


class PriorStage(StageObjective[CaptionedVectors]):
    """The prior, from the vectors of a picture of each scene."""

    tokens_per_sample = MAX_TOKENS

    def __init__(self, recipe: TrainingRecipe, records: RecordShards, devices: Devices, vectors: RecordShards) -> None:
        super().__init__(_drawn(Prior, recipe.seed, devices), recipe, records, devices)
        self._vectors = vectors

    def samples(self, split: str, rows: Rows, each: Draws) -> CaptionedVectors:
        """Vectors with their captions."""
        vectors = torch.from_numpy(self._vectors.take(split, VECTOR, rows))
        return CaptionedVectors(
            vectors=self.here(vectors),
            sentences=self.field("sentence", split, rows),
            states=self.field("states", split, rows),
            mask=self.field("mask", split, rows),
            kept=self.here(uniform(each, 1)),
            fuzzy=self.here(spoil(each, prior.FUZZY, WIDTH)),
            spoilt=self.here(spoil(each, prior.SPOILT, MAX_TOKENS, WIDTH)),
            time=self.here(normal(each, DRAWS)),
            noise=self.here(normal(each, DRAWS, WIDTH)),
        )

    def loss(self, batch: CaptionedVectors) -> Tensor:
        """Of the flow."""
        return prior_loss(self.model, batch)

    def conditions(self) -> Mapping[str, Any]:
        """The picture encoder, by the vectors that it made."""
        return {"vectors": self._vectors.sha256}


class DecoderStage(StageObjective[NoisyPictures]):
    """The decoder, conditioned on captions, picture vectors and their drafts."""

    tokens_per_sample = decoder.SIDE**2

    def __init__(
        self, recipe: TrainingRecipe, records: RecordShards, devices: Devices, trained: Looking, trained_sha256: str
    ) -> None:
        super().__init__(_drawn(Decoder, recipe.seed, devices), recipe, records, devices)
        self._looking = trained.to(devices.device)
        self._looking_sha256 = trained_sha256

    def samples(self, split: str, rows: Rows, each: Draws) -> NoisyPictures:
        """Pictures with their captions."""
        pictures = self.pictures(split, rows, each)
        return NoisyPictures(
            pictures=pictures,
            states=self.field("states", split, rows),
            mask=self.field("mask", split, rows),
            time=self.here(uniform(each)),
            noise=self.here(normal(each, 3, decoder.SIDE, decoder.SIDE)),
            drop=self.here(uniform(each)),
            spoilt=self.here(spoil(each, decoder.SPOILT, WIDTH)),
        )

    def loss(self, batch: NoisyPictures) -> Tensor:
        """Of the flow."""
        with torch.no_grad():
            vector = self._looking.encoder(batch.pictures)
        return decoder_loss(self.model, self._looking.draft, vector, batch)

    def conditions(self) -> Mapping[str, Any]:
        """The picture encoder and the draft."""
        return {"encoder": self._looking_sha256}


class UpsamplerStage(StageObjective[LargePictures]):
    """The up-sampler, from pieces of large pictures."""

    tokens_per_sample = PIECE**2

    def __init__(self, recipe: TrainingRecipe, records: RecordShards, devices: Devices) -> None:
        super().__init__(_drawn(Upsampler, recipe.seed, devices), recipe, records, devices)

    def samples(self, split: str, rows: Rows, each: Draws) -> LargePictures:
        """Pieces, cut where chance has it."""
        room = (upsampler.SIDE - PIECE) // FACTOR + 1
        tops, lefts = ([FACTOR * place for place in below(each, room)] for _ in range(2))
        pieces = np.stack(
            [
                self._records.read(split, PICTURE, int(row), 1)[0, 0, top : top + PIECE, left : left + PIECE]
                for row, top, left in zip(rows, tops, lefts, strict=True)
            ]
        )
        small = PIECE // FACTOR
        return LargePictures(
            large=self.scaled(pieces),
            blur=self.here(upsampler.BLUR * uniform(each, 1, 1, 1)),
            noise=self.here(spoil(each, upsampler.NOISE, 3, small, small)),
        )

    def loss(self, batch: LargePictures) -> Tensor:
        """Mean absolute error."""
        return upsampler_loss(self.model, batch)


def _drawn(kind: Callable[[], ModelT], seed: int, devices: Devices) -> ModelT:
    """A network whose first weights a seed decides."""
    torch.manual_seed(seed)
    return kind().to(devices.device)
