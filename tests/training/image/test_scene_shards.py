"""Scenes as shards: what they have, and that an interruption changes nothing."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from freehold.errors import ConfigError
from freehold.training.data.records import TRAINING, VALIDATION
from freehold.training.image.card import CARD, PAGE
from freehold.training.image.looking import Looking
from freehold.training.image.scene_shards import Source, prepare_scenes, prepare_vectors, split_scenes
from freehold.training.image.stages import VECTOR
from tests.training.image.small import SCENES, THINGS, encode, large, scenes, source

pytestmark = pytest.mark.torch


def captions(folder: Path, split: str) -> list[str]:
    """What the captions of a split say."""
    shards = scenes(folder)
    rows = shards.read(split, "caption", 0, shards.records(split))
    return [bytes(row).rstrip(b"\0").decode() for row in rows]


def test_held_out_captions_are_not_learnt(tmp_path: Path) -> None:
    """No caption of the evaluation is among those of the training, and there are as many as the recipe says."""
    learnt, held_out = captions(tmp_path, TRAINING), captions(tmp_path, VALIDATION)
    assert (len(learnt), len(held_out)) == (SCENES.captions, SCENES.held_out)
    assert set(learnt).isdisjoint(held_out)
    assert learnt == [scene.caption for scene in split_scenes(THINGS, SCENES)[TRAINING]]


def test_a_record_has_views_that_differ(tmp_path: Path) -> None:
    """Pictures of one caption are alike and not the same; large ones have the up-sampler's side."""
    views = scenes(tmp_path).read(TRAINING, "picture", 0, SCENES.captions)
    assert views.shape == (SCENES.captions, SCENES.views, 64, 64, 3)
    assert (views[:, 0] != views[:, 1]).any((1, 2, 3)).mean() > 0.8
    assert large(tmp_path).read(VALIDATION, "picture", 0, SCENES.large).shape == (SCENES.large, 1, 256, 256, 3)


def test_an_interruption_changes_nothing(tmp_path: Path) -> None:
    """Prepared in two goes, the shards are those that one go makes."""
    left = 5

    def failing(texts: Sequence[str]) -> dict[str, Tensor]:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return encode(texts)

    def interrupted() -> Source:
        whole = source()
        return Source(whole.things, whole.glyphs, failing, whole.encoder_sha256)

    with pytest.raises(KeyboardInterrupt):
        prepare_scenes(tmp_path / "twice", SCENES, interrupted, lambda _: None, together=7)
    twice = prepare_scenes(tmp_path / "twice", SCENES, source, lambda _: None, together=7)
    assert twice.sha256 == scenes(tmp_path / "once").sha256


def test_a_card_says_what_the_scenes_are(tmp_path: Path) -> None:
    """Beside the shards lies what they are made of, in a form for programs and one for people."""
    shards = scenes(tmp_path)
    card = json.loads((shards.folder / CARD).read_bytes())
    assert card["sha256"] == shards.sha256
    assert card["scenes"]["seed"] == SCENES.seed
    assert card["records"] == {TRAINING: SCENES.captions, VALIDATION: SCENES.held_out}
    page = (shards.folder / PAGE).read_text(encoding="utf-8")
    assert shards.sha256 in page
    assert f"seed: {SCENES.seed}" in page


def test_other_scenes_are_not_taken_for_these(tmp_path: Path) -> None:
    """A folder with scenes of another seed is refused by name."""
    scenes(tmp_path)
    with pytest.raises(ConfigError, match="other scenes"):
        prepare_scenes(tmp_path / "scenes", SCENES.model_copy(update={"seed": 4}), source, lambda _: None)


def test_vectors_are_those_of_the_encoder(tmp_path: Path) -> None:
    """Each row has the vector of the scene's first view; another encoder has them made again."""
    shards = scenes(tmp_path)
    torch.manual_seed(1)
    encoder = Looking().encoder.eval()
    vectors = prepare_vectors(tmp_path / "vectors", shards, encoder, "first", lambda _: None)
    pixels = torch.from_numpy(shards.read(VALIDATION, "picture", 5, 1)[:, 0].copy())
    with torch.no_grad():
        expected = encoder(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).numpy()
    assert np.allclose(vectors.read(VALIDATION, VECTOR, 5, 1), expected, atol=1e-5)
    again = prepare_vectors(tmp_path / "vectors", shards, Looking().encoder, "second", lambda _: None)
    assert not np.allclose(again.read(VALIDATION, VECTOR, 5, 1), expected, atol=1e-5)
