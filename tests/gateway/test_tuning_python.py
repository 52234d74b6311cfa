"""Which interpreter trains."""

import sys
from pathlib import Path

from freehold.gateway.tuning_python import trainer_of
from freehold.training.process import found_python
from freehold.types.fine_tuning import FineTuningSettings


def test_the_environment_for_training_is_found_beside_the_servers(tmp_path: Path) -> None:
    """Where this interpreter cannot train, the one beside it does; where it can, or none is there, it is this one."""
    environment = tmp_path / ".venv"
    assert found_python(environment, ["no_such_module"]) == sys.executable
    beside = tmp_path / ".venv-train" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert found_python(environment, ["no_such_module"]) == str(beside)
    assert found_python(environment, ["json"]) == sys.executable


def test_the_configuration_goes_before_what_is_found() -> None:
    """A Python that the configuration names is the one that trains."""
    assert trainer_of(FineTuningSettings(python="/opt/python")).python == "/opt/python"
