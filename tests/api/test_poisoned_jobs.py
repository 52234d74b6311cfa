"""Poisoned inputs of jobs are refused at the API with errors that say what is wrong, and cost the server no memory."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.uploads import form, upload
from tests.evaluating import evaluation
from tests.service import Reply, Service, eventually
from tests.tuning import JOBS, PROGRAM, begin, configured, ended, examples, messages, send_file

pytestmark = pytest.mark.slow

LONG_LINE = 96 * 1024 * 1024
"""Bytes of a line that would be parsed into several times as many."""
ROOM = 64 * 1024 * 1024
"""How much more memory the server may have needed by the time that line is refused."""
TRAVERSALS = ("../../etc/passwd", "..", "/etc/passwd", "a/b", "a\\b", "a%2Fb", "a\x00b", "a b", "ünder", "x" * 65)
TEMPLATES = (
    "{{ ''.__class__.__mro__ }}",
    "{{ item | attr('__class__') }}",
    "{% include '/etc/passwd' %}",
    "{{ config }}",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that fine-tunes."""
    folder = tmp_path_factory.mktemp("home")
    with Service(folder, configured(folder / "models-to-be"), program=PROGRAM) as service:
        yield service


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"messages": [', "line 21"),
        (b"\xff\xfe\x00", "line 21"),
        (b"[" * 100_000, "line 21"),
        (b'{"messages": [{"role": "user", "content": "a"}], "messages": []}', "line 21"),
        (b'{"messages": [{"role": "user", "content": NaN}]}', "line 21"),
        (b'{"messages": [{"role": "wizard", "content": "a"}]}', "line 21, messages[0].role"),
        (b'{"messages": [{"role": "user", "content": "a"}], "__class__": 1}', "line 21"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "line 21"),
    ],
)
def test_malformed_lines_are_named(service: Service, line: bytes, said: str) -> None:
    """A line that is no example fails the job, which names the line and, within it, the field."""
    done = ended(service, begin(service, data=examples() + line + b"\n")["id"])
    assert (done["status"], done["error"]["code"], done["error"]["param"]) == (
        "failed",
        "invalid_training_file",
        "training_file",
    )
    assert said in done["error"]["message"]
    assert done["fine_tuned_model"] is None


def peak_bytes(service: Service) -> int:
    """The most memory that the server has had so far."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_huge_line_needs_no_memory(service: Service) -> None:
    """A line as long as the file is refused by its length while it is read piece by piece."""
    ended(service, begin(service)["id"])
    before = peak_bytes(service)
    line = b'{"messages": [{"role": "user", "content": "' + b"a" * LONG_LINE + b'"}]}\n'
    done = ended(service, begin(service, data=examples() + line)["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "invalid_training_file")
    assert "line 21" in done["error"]["message"]
    assert "1,048,576 bytes" in done["error"]["message"]
    assert peak_bytes(service) - before < ROOM


def test_more_than_a_file_may_have_is_refused_unread(tmp_path: Path) -> None:
    """A file over the bound is refused when the job is made, with both numbers."""
    config = configured(tmp_path / "bases").replace("[fine_tuning]", "[fine_tuning]\nmax_training_bytes = 1024")
    with Service(tmp_path / "home", config, program=PROGRAM) as service:
        error = begin(service)["error"]
        assert (error["code"], error["param"]) == ("file_too_large", "training_file")
        assert "at most 1024" in error["message"]


@pytest.mark.parametrize("suffix", TRAVERSALS)
def test_a_suffix_is_a_plain_name(service: Service, suffix: str) -> None:
    """It becomes part of a model's name and of files' names: letters, digits, - and _ only."""
    error = begin(service, suffix=suffix)["error"]
    assert (error["param"], error["code"]) == ("suffix", "invalid_value")


@pytest.mark.parametrize("name", ["../../../escape.jsonl", "/tmp/escape.jsonl", "..\\escape.jsonl"])
def test_a_files_name_is_no_path(service: Service, name: str) -> None:
    """A name that points somewhere else is refused as it is uploaded, and nothing is written there."""
    sent = upload(service, form(examples(), name, purpose="fine-tune"), service.key)
    assert (sent.status, sent.json()["error"]["param"]) == (400, "file")
    assert not list(service.home.root.parent.rglob("*escape*"))


@pytest.mark.parametrize("name", ["../../etc/passwd", "ft:../..:a:b:c", "/etc/passwd", "tiny/../../x", "ft:tiny:\x00"])
def test_a_models_name_is_no_path(service: Service, name: str) -> None:
    """As a base, it is a model that does not exist; nothing tells of files that do."""
    error = begin(service, model=name)["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")


def test_traversals_in_items_are_text(service: Service) -> None:
    """A field of an item that looks like a path or a template is compared as the text that it is."""
    texts = ["../../../etc/passwd", "{{ item.answer }}", "{% include '/etc/passwd' %}", "\\\\server\\share"]
    grader = {
        "type": "string_check",
        "name": "same",
        "operation": "eq",
        "input": "{{ item.a }}",
        "reference": "{{ sample.output_text }}",
    }
    for text in texts:
        asked = {"grader": grader, "item": {"a": text}, "model_sample": text}
        assert service.post("/v1/fine_tuning/alpha/graders/run", asked).json()["reward"] == 1.0


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_cannot_reach_anything(service: Service, template: str) -> None:
    """Graders of evaluations, of jobs and those that are tried name fields; whatever else is refused, and named."""
    grader = {"type": "string_check", "name": "x", "operation": "eq", "input": template, "reference": "a"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    file_id = send_file(service, examples())
    tried: list[tuple[Reply, str]] = [
        (service.post("/v1/evals", evaluation(grader)), "testing_criteria[0].input"),
        (service.post("/v1/fine_tuning/alpha/graders/validate", {"grader": grader}), "grader.input"),
        (
            service.post(JOBS, {"model": "tiny", "training_file": file_id, "method": method}),
            "method.reinforcement.grader.input",
        ),
    ]
    for reply, param in tried:
        error = reply.json()["error"]
        assert (reply.status, error["code"], error["param"]) == (400, "invalid_template", param)
        assert "root:" not in reply.body.decode()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.gguf", "model.safetensors"])
def test_a_pickle_is_no_base(service: Service, tmp_path: Path, name: str) -> None:
    """Whatever its name is, it is refused by its content, and nothing of it stays or can be trained."""
    (tmp_path / name).write_bytes(pickle.dumps({"weights": [1.0]}, protocol=2))
    reply = service.post("/admin/models", {"source": f"file://{tmp_path}/{name}", "name": "poisoned"})
    error = json.loads(reply.body.splitlines()[-1])["error"]
    assert error["code"] == "unsupported_model_format"
    assert "can run code" in error["message"]
    assert begin(service, model="poisoned")["error"]["code"] == "model_not_found"


def test_jobs_have_no_network(service: Service) -> None:
    """A training process that tries to reach the server that started it cannot."""
    done: Any = ended(service, begin(service, suffix="leak")["id"])
    assert "network: False" in messages(service, done["id"])
    eventually(lambda: service.get("/health/live").status == 200, "the server is there to be reached")
