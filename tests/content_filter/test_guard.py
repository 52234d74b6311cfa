"""How guard models are asked, and how their answers are read."""

import asyncio
from collections.abc import Callable

import pytest

from freehold.content_filter.base import Question
from freehold.content_filter.guard import MOST_CHARACTERS, Guard
from freehold.content_filter.guard_formats import FORMATS, ShieldGemma, UnreadableAnswerError
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import (
    NOTHING,
    Category,
    Findings,
    GuardSettings,
    Passage,
    Severity,
    Shield,
    Side,
)

UNSURE = Findings(severities={Category.HATE: Severity.LOW}, scores={"hate": 0.4}, unsure=True)


class Model:
    """A guard model that answers by a rule, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Question], str]) -> None:
        self._answer = answer
        self.asked: list[Question] = []

    async def __call__(self, deployment: str, question: Question) -> str:
        assert deployment == "guard"
        self.asked.append(question)
        return self._answer(question)


def guarding(format_name: str, model: Model, *, always: bool = False) -> Guard:
    """The stage that asks a model of that format."""
    return Guard(GuardSettings.model_validate({"deployment": "guard", "format": format_name, "always": always}), model)


def judged(stage: Guard, text: str, so_far: Findings = UNSURE) -> Findings:
    """What the stage finds in a text."""
    return asyncio.run(stage(Passage(text, Side.PROMPT), so_far))


@pytest.mark.parametrize(
    ("format_name", "answers", "severities", "jailbreak"),
    [
        ("llama_guard", ["\n\nsafe"], {}, False),
        ("llama_guard", ["unsafe\nS1,S11"], {Category.VIOLENCE: 3, Category.SELF_HARM: 3}, False),
        ("llama_guard", ["unsafe\nS2"], {}, False),
        ("qwen3guard", ["Safety: Safe\nCategories: None"], {}, False),
        ("qwen3guard", ["Safety: Unsafe\nCategories: Violent, Jailbreak"], {Category.VIOLENCE: 3}, True),
        ("qwen3guard", ["Safety: Controversial\nCategories: Suicide & Self-Harm"], {Category.SELF_HARM: 1}, False),
        ("shieldgemma", ["No", "Yes, it", "no.", "No"], {Category.SEXUAL: 3}, False),
        (
            "gpt_oss_safeguard",
            ['{"hate": "low", "sexual": "safe", "violence": "HIGH", "self_harm": "safe"}'],
            {Category.HATE: 1, Category.VIOLENCE: 3},
            False,
        ),
    ],
)
def test_answers_are_read(
    format_name: str, answers: list[str], severities: dict[Category, int], *, jailbreak: bool
) -> None:
    """Each format's answers become severities of Azure's categories."""
    verdict = FORMATS[format_name]().read(answers)
    assert dict(verdict.severities) == severities
    assert verdict.jailbreak is jailbreak


@pytest.mark.parametrize(
    ("format_name", "answer"),
    [
        ("llama_guard", "I cannot help with that."),
        ("llama_guard", ""),
        ("qwen3guard", "Unsafe"),
        ("shieldgemma", "Yesterday"),
        ("gpt_oss_safeguard", "safe"),
        ("gpt_oss_safeguard", '{"hate": "none", "sexual": "safe", "violence": "safe", "self_harm": "safe"}'),
        ("gpt_oss_safeguard", '{"hate": "low"}'),
    ],
)
def test_an_answer_that_cannot_be_read_is_not_taken_for_safe(format_name: str, answer: str) -> None:
    """An answer of another form is an error, and the stage says that the text cannot be examined."""
    form = FORMATS[format_name]()
    with pytest.raises(UnreadableAnswerError):
        form.read([answer] * len(form.questions("x")))
    with pytest.raises(FilterUnavailable, match=f"'{format_name}'"):
        judged(guarding(format_name, Model(lambda _: answer)), "text")


def test_the_model_decides_what_was_unsure() -> None:
    """What the model says of the categories replaces what was found before it; everything else stays."""
    found = judged(guarding("llama_guard", Model(lambda _: "unsafe\nS1")), "text")
    assert found.severities == {Category.VIOLENCE: Severity.HIGH}
    assert found.scores == UNSURE.scores
    assert not found.unsure
    assert judged(guarding("llama_guard", Model(lambda _: "safe")), "text").severities == {}


@pytest.mark.parametrize(("always", "so_far", "asked"), [(False, NOTHING, 0), (False, UNSURE, 1), (True, NOTHING, 1)])
def test_only_what_is_unsure_is_asked_about(so_far: Findings, asked: int, *, always: bool) -> None:
    """A text that the stages before are sure of costs no call, unless the policy wants every text judged."""
    model = Model(lambda _: "safe")
    judged(guarding("llama_guard", model, always=always), "text", so_far)
    assert len(model.asked) == asked


def test_every_guideline_is_a_question() -> None:
    """ShieldGemma is asked once for each category, about the text itself, as a prompt that is complete."""
    model = Model(lambda question: "Yes" if "No Violence" in (question.prompt or "") else "No")
    found = judged(guarding("shieldgemma", model), "the {text} itself")
    assert found.severities == {Category.VIOLENCE: Severity.HIGH}
    assert len(model.asked) == len(ShieldGemma.GUIDELINES)
    assert all("Human Question: the {text} itself\n" in (question.prompt or "") for question in model.asked)


def test_a_long_text_is_judged_in_pieces_that_overlap() -> None:
    """No part of a long text is left out, and a harm that lies across the end of a piece is whole in the next."""
    needle = "needle in the text"
    text = "x" * (MOST_CHARACTERS - 5) + needle + "y" * MOST_CHARACTERS
    model = Model(lambda question: "unsafe\nS10" if needle in question.messages[0][1] else "safe")
    found = judged(guarding("llama_guard", model), text)
    assert found.severities == {Category.HATE: Severity.HIGH}
    assert len(model.asked) == 3
    assert max(len(question.messages[0][1]) for question in model.asked) == MOST_CHARACTERS


def test_a_jailbreak_is_added_to_the_shields() -> None:
    """A model that tells jailbreaks adds to what the shields have found."""
    model = Model(lambda _: "Safety: Unsafe\nCategories: Jailbreak")
    assert judged(guarding("qwen3guard", model), "text").shields == {Shield.JAILBREAK}
