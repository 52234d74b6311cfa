"""The picture encoder and the draft, which are trained together: pictures beside their captions, and painted again."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from freehold.training.image.draft import Draft, draft_loss
from freehold.training.image.picture_encoder import PictureEncoder, contrast

SPOILT = 0.016
"""The most noise that is put on each element of the vectors in training: the prior's will not be quite right either."""
PAINTED_AGAIN = 4.0
"""How much the draft's loss counts beside the contrast."""


class Looking(nn.Module):
    """The picture encoder and the draft, which paints its vectors again."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PictureEncoder()
        self.draft = Draft()

    def forward(self, pictures: Tensor, spoilt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures' vectors, what the draft paints of them once they are spoilt, and the contrast's factor."""
        vectors = self.encoder(pictures)
        return vectors, self.draft(functional.normalize(vectors + spoilt, dim=-1)), self.encoder.scale()


@dataclass(frozen=True, slots=True)
class CaptionedPictures:
    """What picture encoder and draft learn from.

    Args:
        pictures: batch x 3 x 64 x 64, from -1 to 1.
        sentences: unit vectors of their captions, batch x WIDTH.
        swapped: of the captions with the two objects exchanged.
        has_swapped: whether there is one, batch.
        spoilt: noise on the pictures' vectors.
    """

    pictures: Tensor
    sentences: Tensor
    swapped: Tensor
    has_swapped: Tensor
    spoilt: Tensor


def looking_loss(looking: nn.Module, batch: CaptionedPictures) -> Tensor:
    """The contrast between pictures and captions, and how far the draft is from the pictures."""
    vectors, painted, scale = looking(batch.pictures, batch.spoilt)
    apart = contrast(vectors, batch.sentences, batch.swapped, batch.has_swapped, scale)
    return apart + PAINTED_AGAIN * draft_loss(painted, batch.pictures)
