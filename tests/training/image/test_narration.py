"""What `freehold train image` tells while its stages train."""

from pathlib import Path
from typing import Any

from freehold.training.image.narration import Narration
from freehold.training.trainer.log_file import NAME, LogFile

RUN = {"kind": "run", "name": "quick-encoder", "steps": 4}


def point(step: int, seconds: float) -> dict[str, Any]:
    rates = {"grad_norm": 0.5, "learning_rate": 3e-4, "tokens": step * 16_384, "tokens_per_s": 1000.0}
    return {"kind": "step", "step": step, "loss": 5.0 - step, **rates, "seconds": seconds}


def test_each_line_tells_of_its_own_step(tmp_path: Path) -> None:
    """Lines that came together have each its own numbers, steps are told now and then, and nothing is told twice."""
    (tmp_path / "encoder").mkdir()
    log, said = LogFile(tmp_path / "encoder" / NAME), list[str]()
    log.append(RUN)
    narration = Narration(tmp_path, said.append)
    for line in (point(1, 1.0), point(2, 2.0), point(3, 60.0)):
        log.append(line)
    narration.go_on()
    narration.go_on()
    assert [line.split("  ")[0] for line in said] == ["encoder: step 1/4", "encoder: step 3/4"]
    assert "16,384 tokens" in said[0]
    assert "49,152 tokens" in said[1]
