"""The stages of the painter's training: the picture encoder with the draft first, which all others but one need."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from freehold.training.image.data import Data
from freehold.training.image.decoder import Decoder, decoder_loss
from freehold.training.image.draft import Draft, draft_loss
from freehold.training.image.loop import Stage, load_averaged, train
from freehold.training.image.picture_encoder import PictureEncoder, contrast
from freehold.training.image.prior import Prior, prior_loss
from freehold.training.image.upsampler import Upsampler, upsampler_loss

Say = Callable[[str], None]
PAINTED_AGAIN = 4.0
"""How much the draft's loss counts beside the contrast."""


class Looking(nn.Module):
    """The picture encoder and the draft, which paints its vectors again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PictureEncoder()
        self.draft = Draft()

    @classmethod
    def load(cls, folder: Path) -> "Looking":
        """The trained ones.

        Raises:
            FileNotFoundError: there are none yet.
        """
        model = cls()
        load_averaged("encoder", model, folder)
        return model


def train_encoder(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 64) -> None:
    """The picture encoder, beside its locked sentences, and the draft."""
    model = Looking()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        drawn = data.batch(batch)
        found = model.encoder(drawn.pictures)
        apart = contrast(found, drawn.sentences, drawn.swapped, drawn.has_swapped, model.encoder.temperature)
        return apart + PAINTED_AGAIN * draft_loss(model.draft, drawn.pictures, found, draw)

    train(Stage("encoder", minutes, 2e-3), model, loss, folder, say)


def train_decoder(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 16) -> None:
    """The decoder, conditioned on captions, picture vectors and their drafts."""
    looking = Looking.load(folder)
    model = Decoder()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        drawn = data.batch(batch)
        with torch.no_grad():
            vector = looking.encoder(drawn.pictures)
        return decoder_loss(model, looking.draft, drawn.pictures, vector, drawn.states, drawn.mask, draw)

    train(Stage("decoder", minutes, 1.5e-3), model, loss, folder, say)


@torch.no_grad()
def picture_vectors(data: Data, encoder: nn.Module, count: int, file: Path) -> dict[str, Tensor]:
    """Rows of scenes and the vectors of pictures painted for them, from the file or made and kept there."""
    if not file.is_file():
        rows, vectors = [], []
        for _ in range(-(-count // 128)):
            drawn, pictures = data.pictures(128)
            rows.append(drawn)
            vectors.append(encoder(pictures))
        torch.save({"rows": torch.cat(rows), "vectors": torch.cat(vectors)}, file)
    found: dict[str, Tensor] = torch.load(file, weights_only=True)
    return found


def train_prior(
    data: Data, texts: dict[str, Tensor], minutes: float, folder: Path, say: Say, seed: int, batch: int = 128
) -> None:
    """The prior, from the vectors of a picture of each scene."""
    kept = picture_vectors(data, Looking.load(folder).encoder, len(texts["sentence"]), folder / "vectors.pt")
    model = Prior()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = torch.randint(len(kept["rows"]), (batch,), generator=draw)
        rows = kept["rows"][chosen]
        states, mask = texts["states"][rows].float(), texts["mask"][rows].float()
        return prior_loss(model, kept["vectors"][chosen], texts["sentence"][rows], states, mask, draw)

    train(Stage("prior", minutes, 1e-3), model, loss, folder, say)


def train_upsampler(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 12) -> None:
    """The up-sampler, from pieces of large pictures."""
    model = Upsampler()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        _, pictures = data.pictures(batch)
        top, left = (int(torch.randint(33, (), generator=draw)) * 4 for _ in range(2))
        return upsampler_loss(model, pictures[:, :, top : top + 128, left : left + 128], draw)

    train(Stage("upsampler", minutes, 2e-3), model, loss, folder, say)
