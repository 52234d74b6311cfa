"""Graders: what they say of answers, by formulas written anew here, and by judges that answer this and that."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from freehold.errors import EngineFailed, FreeholdError, InvalidRequest, RateLimited, UnsupportedParameter
from freehold.gateway.asking import Asker
from freehold.gateway.formula import FormulaProblem, check_formula, work_out
from freehold.gateway.grading import Grading, check_grader, sample_of
from freehold.gateway.similarity import MEASURES
from freehold.types.evaluations import EvaluationsSettings
from freehold.types.graders import Grade, Grader
from freehold.types.identity import DATA_PLANE, Principal

GRADER: TypeAdapter[Any] = TypeAdapter(Grader)
WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), max_size=12)
USED = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


class Somebody:
    """On whose behalf models are asked."""

    def principal(self) -> Principal:
        """A member."""
        return Principal("org", "proj", "member", actions=DATA_PLANE)


@dataclass
class Models:
    """Answers chat requests with texts in turn, or raises what stands there instead; embeds a text as its length."""

    says: list[str | FreeholdError] = field(default_factory=list)
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    async def ask(
        self, _asker: Asker, operation: str, body: Mapping[str, Any], _notes: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """See `Requests.ask`."""
        self.asked.append(body)
        if operation == "/v1/embeddings":
            angles = [len(text) * math.pi / 8 for text in body["input"]]
            data = [{"embedding": [math.cos(angle), math.sin(angle)]} for angle in angles]
            return {"model": body["model"], "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}
        said = self.says.pop(0)
        if isinstance(said, FreeholdError):
            raise said
        choice = {"message": {"content": said, "refusal": None}, "finish_reason": "stop"}
        return {"model": body["model"], "choices": [choice], "usage": USED}


def graded(grader: Mapping[str, Any], answer: str, item: Mapping[str, Any] | None = None, models: Any = None) -> Grade:
    """What a grader says of an answer."""
    read = GRADER.validate_python(grader)
    check_grader(read)
    grading = Grading(models or Models(), EvaluationsSettings())
    return asyncio.run(grading.grade(Somebody(), read, item or {}, sample_of(answer), {}))


def string_check(operation: str, reference: str = "{{ item.answer }}") -> dict[str, Any]:
    """A string check of the answer."""
    return {
        "type": "string_check",
        "name": "same",
        "input": "{{ sample.output_text }}",
        "reference": reference,
        "operation": operation,
    }


def similarity(metric: str, **more: Any) -> dict[str, Any]:
    """A text similarity of the answer and `item.answer`."""
    texts = {"input": "{{ sample.output_text }}", "reference": "{{ item.answer }}"}
    return {"type": "text_similarity", "name": "alike", **texts, "evaluation_metric": metric, **more}


def judge(**more: Any) -> dict[str, Any]:
    """A score model."""
    said = [{"role": "user", "content": "Rate {{ sample.output_text }}."}]
    return {"type": "score_model", "name": "judge", "model": "big", "input": said, **more}


@pytest.mark.parametrize(
    ("operation", "answer", "passes"),
    [
        ("eq", "Paris", True),
        ("eq", "paris", False),
        ("ne", "paris", True),
        ("ne", "Paris", False),
        ("like", "It is Paris.", True),
        ("like", "It is paris.", False),
        ("ilike", "It is pARIS.", True),
        ("ilike", "Rome", False),
    ],
)
def test_strings_are_compared(operation: str, answer: str, *, passes: bool) -> None:
    """`eq` and `ne` compare whole texts, `like` and `ilike` look for the reference."""
    grade = graded(string_check(operation), answer, {"answer": "Paris"})
    assert (grade.score, grade.passed, grade.problem) == (float(passes), passes, None)


@pytest.mark.parametrize("metric", [*MEASURES, "cosine"])
def test_a_text_is_most_like_itself(metric: str) -> None:
    """Every measure gives 1 to a text of enough words that is its reference, and passes it."""
    text = "the quick brown fox jumps over the lazy dog"
    grade = graded(similarity(metric), text, {"answer": text})
    assert grade.score == pytest.approx(1)
    assert grade.passed


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(text=WORDS, reference=WORDS)
def test_measures_follow_their_formulas(text: Sequence[str], reference: Sequence[str]) -> None:
    """ROUGE and GLEU are what their papers say, written here in the plainest way, and all measures lie from 0 to 1."""
    one, other = " ".join(text), " ".join(reference)

    def grams(words: Sequence[str], order: int) -> Counter[str]:
        return Counter(" ".join(words[at : at + order]) for at in range(len(words) - order + 1))

    def common(order: int) -> int:
        theirs = grams(reference, order)
        return sum(min(count, theirs[gram]) for gram, count in grams(text, order).items())

    for order in range(1, 6):
        made, wanted = max(0, len(text) - order + 1), max(0, len(reference) - order + 1)
        precision, recall = common(order) / made if made else 0, common(order) / wanted if wanted else 0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert MEASURES[f"rouge_{order}"](one, other) == pytest.approx(f1)
    longest = [[0] * (len(reference) + 1) for _ in range(len(text) + 1)]
    for i, a in enumerate(text):
        for j, b in enumerate(reference):
            longest[i + 1][j + 1] = longest[i][j] + 1 if a == b else max(longest[i][j + 1], longest[i + 1][j])
    f1 = 2 * longest[-1][-1] / (len(text) + len(reference)) if text or reference else 0
    assert MEASURES["rouge_l"](one, other) == pytest.approx(f1)
    made = sum(max(0, len(text) - order + 1) for order in range(1, 5))
    wanted = sum(max(0, len(reference) - order + 1) for order in range(1, 5))
    both = sum(common(order) for order in range(1, 5))
    assume(made or wanted)
    least = min(both / made, both / wanted) if made and wanted else 0
    assert MEASURES["gleu"](one, other) == pytest.approx(least)
    assert all(0 <= measure(one, other) <= 1 for measure in MEASURES.values())


def test_cosine_is_that_of_the_embeddings() -> None:
    """`cosine` asks the configured deployment once for both texts, and tells what it came to."""
    models = Models()
    grade = graded(similarity("cosine", pass_threshold=0.8), "abc", {"answer": "a"}, models)
    assert grade.score == pytest.approx(math.cos(math.pi / 4))
    assert not grade.passed
    assert [body["model"] for body in models.asked] == ["embed"]
    assert (grade.usage["embed"].prompt_tokens, grade.calls) == (5, {"embed": 1})


def test_meteor_is_refused_by_its_name() -> None:
    """What cannot be measured here is not measured in another way."""
    with pytest.raises(ValidationError, match="WordNet"):
        GRADER.validate_python(similarity("meteor"))


@pytest.mark.parametrize("kind", ["python", "endpoint"])
def test_programs_and_addresses_are_refused(kind: str) -> None:
    """Graders that are somebody's program or service are refused by their name, alone and within others."""
    sent = {"type": kind, "name": "mine", "source": "def grade(sample, item): return 1.0"}
    for grader in (sent, {"type": "multi", "name": "m", "graders": {"a": sent}, "calculate_output": "a"}):
        with pytest.raises(ValidationError, match=f"cannot be '{kind}'"):
            GRADER.validate_python(grader)


@pytest.mark.parametrize(
    ("said", "score", "passed", "problem"),
    [
        ('{"result": 0.75}', 0.75, True, None),
        ('I think {"result": 0.25} is fair', 0.25, False, None),
        ('{"result": 7}', 0.0, False, "model_grader_parse_error"),
        ('{"result": "high"}', 0.0, False, "model_grader_parse_error"),
        ('{"result": true}', 0.0, False, "model_grader_parse_error"),
        ("no idea", 0.0, False, "model_grader_parse_error"),
        (EngineFailed("It died."), 0.0, False, "model_grader_server_error"),
    ],
)
def test_a_judge_is_read_strictly(said: Any, score: float, *, passed: bool, problem: str | None) -> None:
    """A number within the range counts, whatever stands around it; anything else is a problem and no score."""
    models = Models([said])
    grade = graded(judge(), "it", models=models)
    found = None if grade.problem is None else grade.problem.kind
    assert (grade.score, grade.passed, found) == (score, passed, problem)
    assert models.asked[0]["messages"][0]["content"].startswith("Rate it.")
    assert models.asked[0]["temperature"] == 0


def test_a_judge_that_takes_no_schema_is_asked_in_words() -> None:
    """Where a deployment cannot be bound to a schema, the judge is asked again without, and then always."""
    refused = UnsupportedParameter("Unsupported parameter: 'response_format'.", param="response_format")
    models = Models([refused, '{"result": 1}', '{"result": 2}'])
    grading, grader = Grading(models, EvaluationsSettings()), GRADER.validate_python(judge(range=[0, 3]))

    async def twice() -> list[Grade]:
        return [await grading.grade(Somebody(), grader, {}, sample_of("x"), {}) for _ in range(2)]

    first, second = asyncio.run(twice())
    assert [(first.score, first.passed), (second.score, second.passed)] == [(1.0, False), (2.0, True)]
    assert [("response_format" in body) for body in models.asked] == [True, False, False]


def test_what_may_be_right_again_is_raised() -> None:
    """A judge whose limit is reached gives no score of 0: whoever asked is told to come back."""
    with pytest.raises(RateLimited):
        graded(judge(), "it", models=Models([RateLimited("Later.", retry_after_s=1)]))


@pytest.mark.parametrize(("said", "passed"), [("good", True), ("bad", False)])
def test_labels_pass_or_do_not(said: str, *, passed: bool) -> None:
    """A label among those that pass is worth 1, another 0, and one that was not asked for is a problem."""
    grader = {**judge(), "type": "label_model", "labels": ["good", "bad"], "passing_labels": ["good"]}
    assert graded(grader, "it", models=Models([json.dumps({"result": said})])).passed is passed
    strange = graded(grader, "it", models=Models(['{"result": "fine"}']))
    assert strange.problem is not None


def test_a_multi_grader_works_out_its_formula() -> None:
    """Scores of several graders become one, beside which theirs are told; problems and usages are passed on."""
    inner = {"same": string_check("eq"), "judge": judge()}
    grader = {"type": "multi", "name": "both", "graders": inner, "calculate_output": "0.5 * same + judge ^ 2 / 2"}
    grade = graded(grader, "a", {"answer": "a"}, Models(['{"result": 0.5}']))
    assert grade.score == pytest.approx(0.625)
    assert (grade.scores, grade.passed, grade.calls) == ({"same": 1.0, "judge": 0.5}, True, {"big": 1})
    failed = graded(grader, "a", {}, Models(['{"result": 0.5}']))
    assert failed.problem is not None
    assert failed.problem.kind == "invalid_variable_error"


def test_a_grader_alone_in_a_multi_is_called_by_its_name() -> None:
    """OpenAI's specification has one grader there, without a name beside its own."""
    grader = {"type": "multi", "name": "m", "graders": string_check("eq"), "calculate_output": "1 - same"}
    assert graded(grader, "a", {"answer": "b"}).score == 1


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os')",
        "a.real",
        "a if a else a",
        "[a for a in a]",
        "lambda: a",
        "b",
        "a and a",
        "'a' * 10",
        "max(a)",
        "min(a, b=1)",
        "a @ a",
        "True",
        "a; a",
        "a" + " + a" * 600,
        "(" * 2000 + "a" + ")" * 2000,
        "",
    ],
)
def test_a_formula_is_only_arithmetic(formula: str) -> None:
    """Attributes, calls, conditions and other names are refused, and so is what is too long."""
    with pytest.raises(FormulaProblem):
        check_formula(formula, {"a"}, "grader.calculate_output")


@pytest.mark.parametrize("formula", ["1 / (a - a)", "9 ^ 9 ^ 9", "log(0 - a)", "exp(10000 * a)", "1e308 * 10 * a"])
def test_a_formula_without_a_finite_value_is_a_problem(formula: str) -> None:
    """Division by zero and numbers beyond bounds are said to be so, in no time."""
    check_formula(formula, {"a"})
    with pytest.raises(FormulaProblem):
        work_out(formula, {"a": 1.0})


@given(a=st.floats(0, 1), b=st.floats(0.1, 1))
def test_formulas_are_worked_out_as_python_would(a: float, b: float) -> None:
    """Operators bind as usual, and functions are those of their names."""
    found = work_out("-a + 2 * b ^ 2 / max(a, b, 0.5) - floor(b) + sqrt(abs(a))", {"a": a, "b": b})
    assert found == pytest.approx(-a + 2 * b**2 / max(a, b, 0.5) - math.floor(b) + math.sqrt(abs(a)))


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        (string_check("eq", "{{ 1 }}"), "grader.reference"),
        (judge(input=[{"role": "user", "content": [{"type": "input_text", "text": "{% x %}"}]}]), "grader.input[0]"),
        ({"type": "multi", "name": "m", "graders": {"s": string_check("eq")}, "calculate_output": "t"}, "calculate"),
    ],
)
def test_a_grader_that_cannot_work_names_the_field(grader: dict[str, Any], param: str) -> None:
    """Templates and formulas are read before anything is graded."""
    with pytest.raises(InvalidRequest) as refused:
        check_grader(GRADER.validate_python(grader))
    assert param in (refused.value.param or "")
