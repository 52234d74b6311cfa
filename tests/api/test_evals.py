"""Evaluations of a running server: what runs come to, whose they are, and with which rights they ask."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.test_response_tenants import DIALECTS, OWNERS, STRANGERS, Members, people
from tests.api.uploads import form, upload
from tests.batching import jsonl
from tests.evaluating import ASKED, asking, begun, check, ended, evaluation, items, look
from tests.faults.books import receipts
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[evaluations]
embedding_model = "echo"

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
defaults = { temperature = 0.5 }

[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 2
options = { delay_s = 0.2 }

[[limit]]
scope = "deployment"
id = "narrow"
concurrent_requests = 1

[[deployment]]
name = "narrow"
engine = "echo"
model = "echo"
options = { delay_s = 0.01 }
"""
PAIRS = [("yes", "yes"), ("no", "yes"), ("{{ item.answer }}", "{{ item.answer }}")]
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "echo",
    "input": [{"role": "user", "content": "Rate {{ sample.output_text }}."}],
    "range": [-10, 10],
}
ALIKE = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "evaluation_metric": "fuzzy_match",
    "pass_threshold": 0.9,
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Members]]:
    """A server on a home with members."""
    root = tmp_path_factory.mktemp("home")
    made = asyncio.run(people(root))
    with Service(root, CONFIG) as service:
        yield service, made


def asked_for(service: Service, run: Any) -> list[Any]:
    """The receipts of what was asked for a run."""
    found = receipts(service.home.root)
    return [each for each in found if (each.get("parameters") or {}).get("eval_run") == run["id"]]


def test_a_run_asks_grades_and_counts(there: tuple[Service, Members]) -> None:
    """Every item is asked and graded by every criterion; what it came to is told by item, criterion and model."""
    service, home = there
    key = home.keys["ann"]
    made, run = begun(service, asking(items(PAIRS)), key, [check(), ALIKE])
    found = ended(service, run, key)
    assert found["result_counts"] == {"total": 3, "errored": 0, "failed": 1, "passed": 2}
    assert found["per_testing_criteria_results"] == [
        {"testing_criteria": "right", "passed": 2, "failed": 1},
        {"testing_criteria": "alike", "passed": 2, "failed": 1},
    ]
    (usage,) = found["per_model_usage"]
    assert (usage["model_name"], usage["invocation_count"]) == ("echo", 3)
    listed = look(service, run, key, "/output_items")["data"]
    assert [each["status"] for each in listed] == ["pass", "fail", "pass"]
    first = listed[0]
    assert first["sample"]["input"] == [{"role": "user", "content": "yes"}]
    assert first["sample"]["output"][0]["content"] == "yes"
    assert (first["sample"]["temperature"], first["sample"]["seed"]) == (0.5, 42)
    assert service.get(f"/v1/evals/{made['id']}/runs/{run['id']}/output_items/{first['id']}", key=key).json() == first
    failed = look(service, run, key, "/output_items?status=fail")["data"]
    assert [each["datasource_item_id"] for each in failed] == [1]


def test_each_question_is_receipted_at_the_lowest_tier(there: tuple[Service, Members]) -> None:
    """Answers and judgements are requests like others; their receipts name the run."""
    service, home = there
    key = home.keys["app"]
    _, run = begun(service, asking(items(PAIRS)), key, [check(), JUDGE])
    found = ended(service, run, key)
    assert found["per_model_usage"][0]["invocation_count"] == 6
    asked = asked_for(service, run)
    questions = [each for each in asked if each["route"] == "/v1/chat/completions"]
    assert len(questions) == 6
    assert {each["service_tier"] for each in questions} == {"flex"}
    assert sum(each["prompt_tokens"] for each in questions) == found["per_model_usage"][0]["prompt_tokens"]


def test_a_report_has_intervals_and_compares_runs(there: tuple[Service, Members]) -> None:
    """`report_url` leads to means with intervals, and to the difference from another run of the same items."""
    service, home = there
    key = home.keys["app"]
    _, first = begun(service, asking(items(PAIRS)), key)
    path = f"/v1/evals/{first['eval_id']}/runs"
    told = {"temperature": 0.0, "max_completion_tokens": 5}
    second = service.post(path, asking(items(PAIRS), sampling_params=told), key=key).json()
    for run in (first, second):
        ended(service, run, key)
    assert first["report_url"].endswith(f"{path}/{first['id']}/report")
    report = look(service, second, key, f"/report?against={first['id']}")
    (criterion,) = report["criteria"]
    assert criterion["score"]["mean"] == pytest.approx(2 / 3)
    assert criterion["score"]["low"] == pytest.approx(0.2077, abs=1e-4)
    assert criterion["score"]["high"] == pytest.approx(0.9385, abs=1e-4)
    compared = report["comparison"]["criteria"][0]
    assert (compared["difference"]["mean"], compared["better"], compared["p_value"]) == (0, 0, 1)
    assert look(service, second, key, "/report?against=evalrun_0")["error"]["param"] == "run_id"


def test_answers_from_elsewhere_are_graded(there: tuple[Service, Members]) -> None:
    """A `jsonl` source brings its answers, in a file or in the request; no model is asked."""
    service, home = there
    key = home.keys["ann"]
    lines = [{"item": {"question": "q", "answer": "a"}, "sample": {"output_text": text}} for text in ("a", "b")]
    sent = upload(service, form(jsonl(lines), "items.jsonl", purpose="evals"), key).json()
    for source in ({"type": "file_id", "id": sent["id"]}, {"type": "file_content", "content": lines}):
        _, run = begun(service, {"data_source": {"type": "jsonl", "source": source}}, key)
        found = ended(service, run, key)
        assert found["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}
        assert found["per_model_usage"] == []


def test_responses_can_be_asked(there: tuple[Service, Members]) -> None:
    """A run of the type `responses` asks by `/v1/responses`, of which nothing is kept."""
    service, home = there
    key = home.keys["ann"]
    source = {**asking(items(PAIRS))["data_source"], "type": "responses"}
    _, run = begun(service, {"data_source": source}, key)
    assert ended(service, run, key)["result_counts"]["passed"] == 2
    asked = asked_for(service, run)
    assert "/v1/responses" in {each["route"] for each in asked}


def test_stored_completions_are_graded_and_asked_anew(there: tuple[Service, Members]) -> None:
    """Stored completions are found by their metadata, and graded as they are, or answered anew by another model."""
    service, home = there
    key = home.keys["ann"]
    for text in ("one", "two", "three"):
        said = {"model": "echo", "messages": [{"role": "user", "content": text}], "store": True}
        service.post("/v1/chat/completions", {**said, "metadata": {"set": "mine"}}, key=key)
    criterion = {**check("long"), "reference": "three"}
    config = {"type": "stored_completions", "metadata": {"set": "mine"}}
    body = {"data_source_config": config, "testing_criteria": [criterion]}
    made = service.post("/v1/evals", body, key=key).json()
    source = {"type": "stored_completions", "metadata": {"set": "mine"}}
    for model, calls in ((None, 0), ("echo", 3)):
        asked = {"type": "completions", "source": source, **({"model": model} if model else {})}
        run = service.post(f"/v1/evals/{made['id']}/runs", {"data_source": asked}, key=key).json()
        found = ended(service, run, key)
        assert found["result_counts"] == {"total": 3, "errored": 0, "failed": 2, "passed": 1}
        assert sum(each["invocation_count"] for each in found["per_model_usage"]) == calls
    wrong = service.post(f"/v1/evals/{made['id']}/runs", asking(items(PAIRS)), key=key)
    assert wrong.json()["error"]["param"] == "data_source.source.type"


def test_what_an_item_lacks_is_its_error(there: tuple[Service, Members]) -> None:
    """A field that is not there, or a model's refusal, is told of the item, which is neither passed nor failed."""
    service, home = there
    key = home.keys["ann"]
    source = {
        "type": "file_content",
        "content": [{"item": {"question": "q"}}, {"item": {"question": "q", "answer": "q"}}],
    }
    _, run = begun(service, asking(source), key)
    assert ended(service, run, key)["result_counts"] == {"total": 2, "errored": 1, "failed": 0, "passed": 1}
    (item,) = look(service, run, key, "/output_items?status=error")["data"]
    assert "item.answer" in item["results"][0]["error"]["message"]
    report = look(service, run, key, "/report")
    assert (report["criteria"][0]["score"]["mean"], report["criteria"][0]["errors"]) == (0.5, 1)


def test_items_that_are_not_as_they_should_be_are_refused(there: tuple[Service, Members]) -> None:
    """Items of the request are checked at once, those of a file before anything is asked."""
    service, home = there
    key = home.keys["ann"]
    made = service.post("/v1/evals", evaluation(), key=key).json()
    path = f"/v1/evals/{made['id']}/runs"
    wrong = {"type": "file_content", "content": [{"item": {"question": 5}}]}
    refused = service.post(path, asking(wrong), key=key)
    assert (refused.status, refused.json()["error"]["code"]) == (400, "invalid_item")
    assert "question" in refused.json()["error"]["message"]
    good = {"item": {"question": "q", "answer": "q"}}
    for data, said in (
        (jsonl([good, {"item": {"answer": "x"}}]), "Line 2"),
        (jsonl([good]) + b"{", "Line 2"),
        (jsonl([good, {"question": "q"}]), "Line 2"),
        (jsonl([good]) + b"x" * (5 * 1024 * 1024), "longer"),
    ):
        sent = upload(service, form(data, "items.jsonl", purpose="evals"), key).json()
        run = service.post(path, asking({"type": "file_id", "id": sent["id"]}), key=key).json()
        found = ended(service, run, key)
        assert (found["status"], found["result_counts"]["passed"]) == ("failed", 0)
        assert said in found["error"]["message"]
    batch = upload(service, form(jsonl([good]), "in.jsonl", purpose="batch"), key).json()
    refused = service.post(path, asking({"type": "file_id", "id": batch["id"]}), key=key)
    assert refused.json()["error"]["code"] == "invalid_file_purpose"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"testing_criteria": []}, "testing_criteria"),
        ({"testing_criteria": [check(), check()]}, "testing_criteria"),
        ({"testing_criteria": [{**check(), "input": "{{ 1 }}"}]}, "testing_criteria[0].input"),
        ({"testing_criteria": [{"type": "python", "name": "p", "source": "1"}]}, "testing_criteria[0].type"),
        ({"testing_criteria": [{k: v for k, v in ALIKE.items() if k != "pass_threshold"}]}, "testing_criteria"),
        (
            {"data_source_config": {"type": "custom", "item_schema": {"type": "strange"}}},
            "data_source_config.item_schema",
        ),
    ],
)
def test_an_evaluation_that_cannot_run_is_refused(there: tuple[Service, Members], change: Any, param: str) -> None:
    """What is wrong with an evaluation is said when it is made, with the field."""
    service, home = there
    refused = service.post("/v1/evals", evaluation() | change, key=home.keys["ann"])
    assert (refused.status, refused.json()["error"]["param"]) == (400, param)


def test_a_run_names_what_it_lacks(there: tuple[Service, Members]) -> None:
    """A model that there is not, a missing model, stored responses and stray parameters are refused by name."""
    service, home = there
    key = home.keys["ann"]
    made = service.post("/v1/evals", evaluation(check(), {**JUDGE, "model": "nobody"}), key=key).json()
    assert service.post(f"/v1/evals/{made['id']}/runs", asking(items(PAIRS)), key=key).status == 404
    made = service.post("/v1/evals", evaluation(), key=key).json()
    path, source = f"/v1/evals/{made['id']}/runs", items(PAIRS)
    assert service.post(path, asking(source, "nobody"), key=key).json()["error"]["code"] == "model_not_found"
    absent = service.post(path, asking({"type": "file_id", "id": "file-0"}), key=key)
    assert (absent.status, absent.json()["error"]["param"]) == (404, "data_source.source.id")
    for body in (
        {"data_source": {"type": "completions", "source": source, "input_messages": ASKED}},
        {"data_source": {"type": "responses", "source": {"type": "responses"}, "model": "echo"}},
        {
            "data_source": {
                "type": "completions",
                "source": source,
                "model": "echo",
                "input_messages": {**ASKED, "x": 1},
            }
        },
    ):
        assert service.post(path, body, key=key).status == 400


@pytest.mark.parametrize("owner", OWNERS)
def test_nobody_learns_of_another_ones_evaluation(there: tuple[Service, Members], owner: str) -> None:
    """Evaluations, runs and items of another are as absent as those that never were, whatever is asked of them."""
    service, home = there
    made, run = begun(service, asking(items(PAIRS)), home.keys[owner])
    ended(service, run, home.keys[owner])
    item = look(service, run, home.keys[owner], "/output_items")["data"][0]["id"]
    for name in STRANGERS[owner]:
        key = home.keys[name]
        for prefix, behind in DIALECTS.items():
            runs = f"{prefix}/evals/{{}}/runs"
            for method, path in (
                ("GET", f"{prefix}/evals/{{}}"),
                ("DELETE", f"{prefix}/evals/{{}}"),
                ("GET", runs),
                ("GET", f"{runs}/{run['id']}"),
                ("POST", f"{runs}/{run['id']}"),
                ("DELETE", f"{runs}/{run['id']}"),
                ("GET", f"{runs}/{run['id']}/report"),
                ("GET", f"{runs}/{run['id']}/output_items"),
                ("GET", f"{runs}/{run['id']}/output_items/{item}"),
            ):
                found, absent = (
                    service.request(method, path.format(each) + behind, key=key) for each in (made["id"], "eval_0")
                )
                assert found.status == absent.status == 404, path
                assert found.body.replace(made["id"].encode(), b"eval_0") == absent.body
            listed = service.get(f"{prefix}/evals{behind}", key=key).json()
            assert made["id"] not in {each["id"] for each in listed["data"]}
    assert look(service, run, home.keys[owner])["status"] == "completed"


def test_a_colleague_sees_what_a_service_account_makes(there: tuple[Service, Members]) -> None:
    """What a service account makes is its project's; a run that a person makes of it is that person's alone."""
    service, home = there
    made = service.post("/v1/evals", evaluation(), key=home.keys["app"]).json()
    mine = service.post(f"/v1/evals/{made['id']}/runs", asking(items(PAIRS)), key=home.keys["bob"]).json()
    assert ended(service, mine, home.keys["bob"])["status"] == "completed"
    listed = service.get(f"/v1/evals/{made['id']}/runs", key=home.keys["ann"]).json()
    assert listed["data"] == []


def test_a_run_ends_when_its_key_is_revoked(there: tuple[Service, Members]) -> None:
    """Nothing is asked with a key that is gone; what was done before that stays."""
    service, home = there
    made = service.post("/admin/keys", {"name": "short", "role": "user"}).json()
    pairs = [("one", "one")] * 40
    _, run = begun(service, asking(items(pairs), "slow"), made["key"])
    keeper = home.keys["app"]
    eventually(lambda: look(service, run, keeper)["result_counts"]["passed"] > 1, "some are done")
    assert service.request("DELETE", f"/admin/keys/{made['id']}", key=service.key).status == 200
    found = ended(service, run, keeper)
    assert (found["status"], found["error"]["code"]) == ("failed", "invalid_api_key")
    assert 1 < found["result_counts"]["passed"] < 40


def test_a_run_waits_for_limits(there: tuple[Service, Members]) -> None:
    """A limit that is reached is waited for, and no item is lost to it."""
    service, home = there
    key = home.keys["ann"]
    runs = [begun(service, asking(items([("one", "one")] * 12), "narrow"), key)[1] for _ in range(2)]
    for run in runs:
        assert ended(service, run, key)["result_counts"] == {"total": 12, "errored": 0, "failed": 0, "passed": 12}


def test_a_run_is_cancelled_and_deleted(there: tuple[Service, Members]) -> None:
    """A run that is cancelled keeps what is done; one that is deleted, and an evaluation with its runs, are gone."""
    service, home = there
    key = home.keys["elsewhere"]
    made, run = begun(service, asking(items([("one", "one")] * 60), "slow"), key)
    eventually(lambda: look(service, run, key)["result_counts"]["passed"] > 0, "some are done")
    path = f"/v1/evals/{made['id']}/runs/{run['id']}"
    assert service.post(path, {}, key=key).status == 200
    found = ended(service, run, key)
    assert found["status"] == "canceled"
    assert 0 < found["result_counts"]["passed"] < 60
    assert service.post(path, {}, key=key).json()["status"] == "canceled"
    assert service.request("DELETE", path, key=key).json()["deleted"] is True
    assert service.get(path, key=key).status == 404
    again = service.post(f"/v1/evals/{made['id']}/runs", asking(items([("one", "one")] * 60), "slow"), key=key).json()
    eventually(lambda: look(service, again, key)["status"] == "in_progress", "it runs")
    assert service.request("DELETE", f"/v1/evals/{made['id']}", key=key).json()["eval_id"] == made["id"]
    assert service.get(f"/v1/evals/{made['id']}/runs/{again['id']}", key=key).status == 404


def test_lists_have_pages_and_orders(there: tuple[Service, Members]) -> None:
    """Evaluations are listed by when they were made or changed, runs by status, items by number; each page by page."""
    service, home = there
    key = home.keys["abroad"]
    made = [service.post("/v1/evals", evaluation(name=f"e{n}"), key=key).json()["id"] for n in range(3)]
    page = service.get("/v1/evals?limit=2", key=key).json()
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:2], True)
    rest = service.get(f"/v1/evals?limit=2&after={page['last_id']}", key=key).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (made[2:], False)
    renamed = service.post(f"/v1/evals/{made[0]}", {"name": "new", "metadata": {"a": "b"}}, key=key).json()
    assert (renamed["name"], renamed["metadata"]) == ("new", {"a": "b"})
    newest = service.get("/v1/evals?order=desc&limit=1", key=key).json()["data"]
    assert newest[0]["id"] == made[2]
    run = service.post(f"/v1/evals/{made[1]}/runs", asking(items(PAIRS)), key=key).json()
    ended(service, run, key)
    for status, count in (("completed", 1), ("failed", 0)):
        listed = service.get(f"/v1/evals/{made[1]}/runs?status={status}", key=key).json()["data"]
        assert len(listed) == count
    backwards = look(service, run, key, "/output_items?order=desc&limit=2")
    assert [each["datasource_item_id"] for each in backwards["data"]] == [2, 1]
    after = look(service, run, key, f"/output_items?order=desc&after={backwards['last_id']}")
    assert [each["datasource_item_id"] for each in after["data"]] == [0]
    assert service.request("DELETE", f"/v1/evals/{made[1]}", key=key).status == 200
    behind = service.get(f"/v1/evals?after={made[1]}", key=key).json()["data"]
    assert [each["id"] for each in behind] == made[2:], "a list goes on behind what was deleted meanwhile"
    for query in ("status=great", "order_by=name", "limit=0"):
        refused = service.get(f"/v1/evals/{made[0]}/runs?{query}", key=key)
        assert refused.status == (400 if "order_by" not in query else 200)
