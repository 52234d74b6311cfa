"""`freehold size`."""

import json
import struct
from pathlib import Path

import pytest

from freehold.cli.size_probe import machine_mark, machine_speed
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.catalog.making import gguf_bytes
from tests.cli.program import Program

MACHINE = {"cores": 4, "bandwidth_bytes_s": 20e9, "flops": 200e9}


@pytest.fixture
def measured(program: Program) -> Program:
    """The program on a home that remembers a measurement of this machine."""
    program.home.mkdir(mode=0o700)
    (program.home / "machine.json").write_text(json.dumps({**MACHINE, "machine": machine_mark()}))
    return program


def test_a_size_is_enough(measured: Program) -> None:
    """A number of parameters and of bits gives the memory of the weights, and the speed of the remembered machine."""
    found = measured.json("size", "7B", "--bits", "4", "--context", "1024", "--slots", "4", "--engine", "llamacpp")
    assert found["machine"]["flops"] == MACHINE["flops"]
    (engine,) = found["engines"]
    assert engine["engine"] == "llamacpp"
    assert engine["memory"]["weights"] == 3_500_000_000
    assert engine["memory"]["keys_and_values"] == 1024 * 4 * 32 * 8 * 256 * 2
    parts = [engine["memory"][name] for name in ("weights", "keys_and_values", "working", "base")]
    assert engine["memory"]["total"] == sum(parts)
    assert engine["speed"]["together"] > engine["speed"]["alone"] > 0


def test_a_person_reads_a_table(measured: Program) -> None:
    """Without --json there is a line for the model, one for the machine, and a column for each engine."""
    told = measured.fine("size", "7B")
    assert "7.0 B parameters" in told
    assert "4 cores" in told
    assert "LLAMACPP" in told
    assert "OPENVINO" in told
    assert "memory in all" in told


def test_what_does_not_fit_is_told(measured: Program) -> None:
    """A model that is larger than the memory is told with what to give instead."""
    assert "does not fit" in measured.fine("size", "9T")


@pytest.mark.slow
def test_a_model_of_the_catalog_is_read(measured: Program, tmp_path: Path) -> None:
    """A model of the catalog is known by its name, and its file's header says what it needs."""
    file = tmp_path / "small.gguf"
    file.write_bytes(gguf_bytes())
    measured.fine("pull", f"file://{file}", "--name", "small")
    assert "llama.block_count" in measured.refused(2, "size", "small")
    assert "no model 'absent'" in measured.refused(2, "size", "absent")
    assert "file:///models/absent.gguf" in measured.refused(2, "size", "/models/absent.gguf")


def test_an_engine_that_does_not_read_the_file_is_named(measured: Program, tmp_path: Path) -> None:
    """Of a model that openvino does not read only llamacpp is told, with the reason; asked for alone it is an error."""
    file = tmp_path / "model.gguf"
    file.write_bytes(_gemma())
    found = measured.json("size", f"file://{file}")
    assert [engine["engine"] for engine in found["engines"]] == ["llamacpp"]
    assert "gemma" in found["not_served"]["openvino"]
    assert "gemma" in measured.fine("size", f"file://{file}")
    assert "gemma" in measured.refused(2, "size", f"file://{file}", "--engine", "openvino")


def _gemma() -> bytes:
    """A GGUF file of an architecture that openvino does not read, with what its size is computed from."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    numbers = {"block_count": 2, "embedding_length": 64, "attention.head_count": 2, "feed_forward_length": 128}
    entries = [text("general.architecture") + struct.pack("<I", 8) + text("gemma")]
    entries += [text(f"gemma.{name}") + struct.pack("<II", 4, value) for name, value in numbers.items()]
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries)
    head += text("token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(64)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("7B", "--engine", "echo"), "llamacpp"),
        (("0.5M",), "at least a million"),
        (("7B", "--bits", "64"), "--bits"),
        (("file:///nowhere/m.gguf", "--bits", "4"), "its own bits"),
        (("pypi://a==1/b.gguf",), "freehold pull"),
        (("ftp://a/b",), "not a source of models"),
        (("name",), "no model 'name'"),
    ],
)
def test_what_cannot_be_sized_is_refused(measured: Program, args: tuple[str, ...], told: str) -> None:
    """Input that cannot be used ends with 2 and a line that says what to give."""
    assert told in measured.refused(2, "size", *args)


def test_a_server_elsewhere_has_no_files_here(measured: Program) -> None:
    """With FREEHOLD_URL set, a name of the catalog cannot be looked up, and the error says so."""
    elsewhere = measured.with_env(FREEHOLD_URL="http://127.0.0.1:1", FREEHOLD_API_KEY="fh-x")
    assert "FREEHOLD_URL" in elsewhere.refused(2, "size", "name")


@pytest.mark.slow
def test_the_machine_is_measured_once(tmp_path: Path) -> None:
    """What was measured is remembered in the home, measured again if it is of no use, and without a home not kept."""
    first = machine_speed(tmp_path)
    file = tmp_path / "machine.json"
    assert first.bandwidth_bytes_s > 1e8
    assert first.flops > 1e8
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "flops": 123.0}))
    assert machine_speed(tmp_path).flops == 123.0
    file.write_text(json.dumps({**kept, "flops": 123.0, "machine": "another"}))
    assert machine_speed(tmp_path).flops != 123.0
    file.write_text("not JSON")
    assert machine_speed(tmp_path).flops > 1e8
    absent = tmp_path / "absent"
    assert machine_speed(absent).cores == first.cores
    assert not absent.exists()


def test_gpus_are_told_by_their_makers_figures(program: Program) -> None:
    """On GPUs the weights, the room that is left and what it holds add up, and speeds are bounds by bandwidth."""
    found = program.json("size", "70B", "--bits", "16", "--gpu", "h100", "--gpus", "4", "--context", "8192")
    vllm, gpus = found["vllm"], found["gpus"]
    assert vllm["weights"] == 140_000_000_000
    assert vllm["weights"] + vllm["working"] + vllm["keys_and_values"] == round(0.9 * 4 * gpus["memory_bytes"])
    assert vllm["tokens"] == vllm["keys_and_values"] // (80 * 8 * 256 * 2)
    assert vllm["slots"] == vllm["tokens"] // 8192
    assert 0 < vllm["alone"] < 4 * gpus["bandwidth_bytes_s"] / vllm["weights"]
    assert vllm["alone"] < vllm["together"]


def test_what_does_not_fit_on_gpus_is_told(program: Program) -> None:
    """A model that is larger than the GPUs is told with what to give instead, and an unknown GPU with those known."""
    assert "It does not fit: give more --gpus" in program.fine("size", "70B", "--bits", "16", "--gpu", "h100")
    assert "there are: a100, h100" in program.refused(2, "size", "70B", "--gpu", "h1")


@pytest.mark.slow
def test_an_unconverted_model_is_read(program: Program, tmp_path: Path) -> None:
    """A model that was kept as safetensors is sized for GPUs by its own files, and for nothing else."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, data in llama_files(byte_level_tokenizer()).items():
        (folder / name).write_bytes(data)
    program.fine("pull", f"file://{folder}", "--no-convert")
    found = program.json("size", "tiny", "--gpu", "h100")
    assert found["vllm"]["weights"] == (folder / "model.safetensors").stat().st_size
    assert found["shape"]["exact"] is True
    assert "give --gpu" in program.refused(2, "size", "tiny")
    assert "cannot be spread over 3 GPUs" in program.refused(2, "size", "tiny", "--gpu", "h100", "--gpus", "3")
