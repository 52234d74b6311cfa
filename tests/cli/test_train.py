"""`freehold train`, as far as it goes without the extra that has torch."""

import selectors
import subprocess
import sys

import pytest

PATIENCE_S = 60.0


@pytest.mark.slow
def test_progress_reaches_a_pipe_at_once() -> None:
    """A line of progress can be read from a pipe while the training goes on, not first when a buffer is full."""
    code = "import sys, freehold.cli.train as train; train.say('step 1'); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(PATIENCE_S), "nothing was said"
            assert process.stdout.readline() == b"step 1\n"
        finally:
            process.kill()
