"""What `freehold train image` says before anything is trained."""

from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.training.image.build import settle
from freehold.training.image.recipes import FILE, PainterTraining, quick, starter


def test_a_folder_is_for_one_training(tmp_path: Path) -> None:
    """What it is for is written down, stays, and is what is gone on with."""
    training = PainterTraining(recipe=quick(2))
    assert settle(training, tmp_path, resume=False) == training
    assert settle(None, tmp_path, resume=True) == training
    assert settle(training, tmp_path, resume=True) == training


def test_a_training_is_not_begun_over_another(tmp_path: Path) -> None:
    """Without --resume nothing of what is there changes."""
    settle(PainterTraining(recipe=quick(2)), tmp_path, resume=False)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        settle(PainterTraining(recipe=quick(2)), tmp_path, resume=False)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [PainterTraining(recipe=starter(2)), PainterTraining(recipe=quick(3)), PainterTraining(recipe=quick(2), minutes=5)],
)
def test_another_training_is_not_gone_on_with(other: PainterTraining, tmp_path: Path) -> None:
    """A recipe, seed or time that is not the folder's is refused."""
    settle(PainterTraining(recipe=quick(2)), tmp_path, resume=False)
    with pytest.raises(ConfigError, match="another training"):
        settle(other, tmp_path, resume=True)


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    """--resume in an empty folder says how to begin."""
    with pytest.raises(ConfigError, match="without --resume"):
        settle(None, tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []
