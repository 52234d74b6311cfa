"""`freehold pull` and `freehold models`, without a running server."""

import hashlib
import json
import pickle
from pathlib import Path

import gguf
import numpy as np
import pytest

from tests.cli.program import Program

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _names(program: Program) -> list[str]:
    return [entry["name"] for entry in program.json("models")["data"]]


def test_a_pulled_model_is_listed_until_it_is_deleted(program: Program, model: Path) -> None:
    """A verified file becomes a model under the given name, with its digest, and can be deleted."""
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    pulled = program.json("pull", model.as_uri(), "--name", "mine", "--sha256", digest)
    assert pulled["sha256"] == digest
    assert _names(program) == ["mine"]
    assert "mine" in program.fine("models", "list")
    assert "verified" in program.run("doctor", "--verify", "--config", str(_any_port(model.parent))).stdout
    program.fine("models", "delete", "mine", "--yes")
    assert _names(program) == []


def test_a_pull_tells_how_far_it_is_on_stderr(program: Program, model: Path) -> None:
    """Progress goes to stderr, so that stdout is the model alone."""
    done = program.run("pull", model.as_uri(), "--name", "mine")
    assert done.returncode == 0
    assert done.stdout.startswith("mine  gguf")
    assert "verifying" in done.stderr


def test_other_bytes_than_the_pinned_ones_are_refused(program: Program, model: Path) -> None:
    """A wrong --sha256 ends with 2, and there is no model."""
    done = program.run("pull", model.as_uri(), "--sha256", "0" * 64, "--json")
    assert done.returncode == 2
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "digest_mismatch"
    assert _names(program) == []


def test_a_pickle_is_refused_whatever_its_name(program: Program, tmp_path: Path) -> None:
    """A file that is no model ends with 2 and the code that says so."""
    path = tmp_path / "fine.gguf"
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}))
    done = program.run("pull", path.as_uri(), "--json")
    assert done.returncode == 2
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "unsupported_model_format"


def test_an_unknown_name_is_wrong_input(program: Program) -> None:
    """What is neither a URI nor a known model ends with 2."""
    assert "no-such-model" in program.refused(2, "pull", "no-such-model")


def test_a_damaged_model_is_found_by_the_doctor(program: Program, model: Path) -> None:
    """A model file whose bytes changed on the disk is a failure that names the model."""
    program.fine("pull", model.as_uri(), "--name", "mine")
    blob = next((program.home / "models").rglob("sha256-*"))
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = program.run("doctor", "--verify", "--json", "--config", str(_any_port(model.parent)))
    assert done.returncode == 1
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["data"]}
    assert found["model mine"]["verdict"] == "fail"
    assert "freehold pull" in found["model mine"]["mend"]


def _any_port(folder: Path) -> Path:
    """Settings with which no port can be taken already."""
    path = folder / "freehold.toml"
    path.write_text("[server]\nport = 0\n")
    return path
