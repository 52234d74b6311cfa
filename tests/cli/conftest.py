from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import ECHO_CONFIG, Program, Server


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


@pytest.fixture(scope="module")
def echo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Server]]:
    folder = tmp_path_factory.mktemp("served")
    config = folder / "freehold.toml"
    config.write_text(ECHO_CONFIG)
    program = Program(folder / "home")
    with program.serving("--config", str(config)) as server:
        yield program, server
