"""nanoGPT as it is published: a copy of its folder, its own data preparation, and its own `train.py`, unchanged."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.training.shapes import Shape
from benchmarks.training.stopwatch import Elapsed, between

_LINE = re.compile(r"^iter (?P<step>\d+): loss")


class NanoGPT:
    """nanoGPT in a folder of its own.

    Args:
        source: where it is; only read.
        folder: where its copy goes.
        text: what it learns.
        python: an interpreter with torch.
        threads: that it has.

    Raises:
        SystemExit: this is no nanoGPT, or its preparation failed.
    """

    name = "nanoGPT"

    def __init__(self, source: Path, folder: Path, text: Path, python: str, threads: int) -> None:
        if not (source / "train.py").is_file() or not (source / "data" / "shakespeare_char" / "prepare.py").is_file():
            raise SystemExit(
                f"{source} is no copy of nanoGPT: it has no train.py or no data/shakespeare_char/prepare.py"
            )
        self._folder, self._python, self._threads = folder, python, threads
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git", "out*"))
        data = folder / "data" / "shakespeare_char"
        shutil.copyfile(text, data / "input.txt")  # prepare.py fetches it only where it is not there
        done = subprocess.run(
            [python, str(data / "prepare.py")], cwd=folder, text=True, capture_output=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"nanoGPT's prepare.py failed:\n{done.stderr[-2000:]}")

    def train(self, shape: Shape) -> Elapsed:
        """Train until the shape's last step."""
        return between(
            [self._python, "-u", "train.py", "config/train_shakespeare_char.py", *_arguments(shape)],
            _LINE,
            (shape.from_step, shape.to_step),
            cwd=self._folder,
            environment={"OMP_NUM_THREADS": str(self._threads)},
        )


def _arguments(shape: Shape) -> Sequence[str]:
    """Those of its readme for a processor; evaluations, of which there is one at the start, are as short as can be."""
    return (
        "--device=cpu",
        "--compile=False",
        "--eval_iters=1",
        "--eval_interval=100000",
        f"--log_interval={shape.logged_every}",
        f"--block_size={shape.block}",
        f"--batch_size={shape.batch}",
        f"--n_layer={shape.layers}",
        f"--n_head={shape.heads}",
        f"--n_embd={shape.width}",
        "--max_iters=2000",
        "--lr_decay_iters=2000",
        "--dropout=0.0",
    )
