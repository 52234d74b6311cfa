"""The stages of the painter's training, in the order in which they need each other.

The decoder may start before the picture encoder is there: until then it learns from captions alone.
"""

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
FINISHED = "encoder.done"
"""The file that says that the picture encoder is trained."""


def train_encoder(data: Data, minutes: float, folder: Path, say: Say, batch: int = 128) -> nn.Module:
    """The picture encoder, beside its locked sentences."""
    model = PictureEncoder()

    def loss() -> Tensor:
        drawn = data.batch(batch)
        found = model(drawn.pictures)
        return contrast(found, drawn.sentences, drawn.swapped, drawn.has_swapped, model.temperature)

    averaged = train(Stage("encoder", minutes, 1.5e-3), model, loss, folder, say)
    (folder / FINISHED).touch()
    return averaged


def train_decoder(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 16) -> nn.Module:
    """The decoder, conditioned on captions and, as soon as there are, picture vectors."""
    model = Decoder()
    draw = torch.Generator().manual_seed(seed)
    encoders: list[nn.Module] = []

    def loss() -> Tensor:
        if not encoders and (folder / FINISHED).is_file():
            encoders.append(load_averaged("encoder", PictureEncoder(), folder))
            say("decoder: the picture encoder is there")
        drawn = data.batch(batch)
        if encoders:
            with torch.no_grad():
                vector = encoders[0](drawn.pictures)
        else:
            vector = torch.zeros_like(drawn.sentences)
        return decoder_loss(model, drawn.pictures, vector, drawn.states, drawn.mask, draw)

    return train(Stage("decoder", minutes, 1.5e-3, average=0.995), model, loss, folder, say)


@torch.no_grad()
def picture_vectors(data: Data, encoder: nn.Module, count: int, file: Path) -> dict[str, Tensor]:
    """Rows of scenes and the vectors of pictures painted for them, from the file or made and kept there."""
    if not file.is_file():
        rows, vectors = [], []
        for _ in range(count // 256):
            drawn, pictures = data.pictures(256)
            rows.append(drawn)
            vectors.append(encoder(pictures))
        torch.save({"rows": torch.cat(rows), "vectors": torch.cat(vectors)}, file)
    found: dict[str, Tensor] = torch.load(file, weights_only=True)
    return found


def train_prior(
    data: Data, sentences: Tensor, minutes: float, folder: Path, say: Say, seed: int, batch: int = 256
) -> nn.Module:
    """The prior, from vectors of pictures that the encoder has seen."""
    encoder = load_averaged("encoder", PictureEncoder(), folder)
    kept = picture_vectors(data, encoder, 12_000, folder / "vectors.pt")
    model = Prior()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        chosen = torch.randint(len(kept["rows"]), (batch,), generator=draw)
        return prior_loss(model, kept["vectors"][chosen], sentences[kept["rows"][chosen]], draw)

    return train(Stage("prior", minutes, 1e-3), model, loss, folder, say)


def train_draft(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 24) -> nn.Module:
    """The draft, from the vectors of the pictures that it is to paint."""
    encoder = load_averaged("encoder", PictureEncoder(), folder)
    model = Draft()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        _, pictures = data.pictures(batch)
        with torch.no_grad():
            vectors = encoder(pictures)
        return draft_loss(model, pictures, vectors, draw)

    return train(Stage("draft", minutes, 2e-3, average=0.995), model, loss, folder, say)


def train_upsampler(data: Data, minutes: float, folder: Path, say: Say, seed: int, batch: int = 12) -> nn.Module:
    """The up-sampler, from pieces of large pictures."""
    model = Upsampler()
    draw = torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        _, pictures = data.pictures(batch)
        top, left = (int(torch.randint(33, (), generator=draw)) * 4 for _ in range(2))
        return upsampler_loss(model, pictures[:, :, top : top + 128, left : left + 128], draw)

    return train(Stage("upsampler", minutes, 2e-3), model, loss, folder, say)
