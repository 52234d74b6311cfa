"""What every process that takes requests does at its start."""

import gc

import pytest

from freehold.listening import held_collector


def test_the_collector_is_held_only_while_the_program_starts() -> None:
    """Python searches for no dead cycles within the block, and does again behind it, however it ends."""
    with held_collector():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="a start that fails"), held_collector():
        raise RuntimeError("a start that fails")
    assert gc.isenabled()
