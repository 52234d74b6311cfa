"""The stage that asks a guard model: a language model that judges texts, the last and dearest of all stages."""

import asyncio
import hashlib
from dataclasses import replace

import orjson

from freehold.content_filter.base import Ask
from freehold.content_filter.guard_formats import FORMATS, UnreadableAnswerError, Verdict
from freehold.errors import FilterUnavailable
from freehold.types.content_filter import Category, Findings, GuardSettings, Passage, Severity, Shield

MOST_CHARACTERS = 8_000
"""Of one question; a longer text is judged in pieces of this length, which overlap by a tenth."""


class Guard:
    """Asks a deployment about texts. What it says of the categories goes before what was found until then.

    Args:
        settings: which deployment, how it is asked, and about what.
        ask: asks a deployment.
    """

    def __init__(self, settings: GuardSettings, ask: Ask) -> None:
        self._settings = settings
        self._ask = ask
        self._format = FORMATS[settings.format]()
        asked = orjson.dumps([settings.model_dump(mode="json"), *map(repr, self._format.questions(""))])
        self.name = "guard"
        self.version = f"{settings.format}:{hashlib.sha256(asked).hexdigest()[:12]}"

    def wants(self, passage: Passage, so_far: Findings) -> bool:
        """Whether the stages before it are not sure, or it is to be asked about every text that has a word."""
        return (so_far.unsure or self._settings.always) and bool(passage.text.strip())

    async def __call__(self, passage: Passage, so_far: Findings) -> Findings:
        """Ask, if the text is worth it.

        Raises:
            FilterUnavailable: the model cannot be asked, or its answer cannot be read.
        """
        if not self.wants(passage, so_far):
            return so_far
        severities: dict[Category, Severity] = {}
        shields = so_far.shields
        for verdict in await asyncio.gather(*map(self._judge, _pieces(passage.text))):
            for category, severity in verdict.severities.items():
                severities[category] = max(severity, severities.get(category, Severity.SAFE))
            if verdict.jailbreak:
                shields |= {Shield.JAILBREAK}
        return replace(so_far, severities=severities, shields=shields, unsure=False)

    async def _judge(self, text: str) -> Verdict:
        """What the model says of a text that is short enough for it."""
        name = self._settings.deployment
        answers = await asyncio.gather(*(self._ask(name, question) for question in self._format.questions(text)))
        try:
            return self._format.read(answers)
        except UnreadableAnswerError as exc:
            raise FilterUnavailable(
                f"The guard model '{name}' does not answer as models of the format '{self._settings.format}' do: "
                f"{exc}. See that the deployment runs such a model."
            ) from exc


def _pieces(text: str) -> list[str]:
    """The text in pieces of at most MOST_CHARACTERS."""
    step = MOST_CHARACTERS * 9 // 10
    last = max(len(text) - MOST_CHARACTERS, 0)
    return [text[start : start + MOST_CHARACTERS] for start in range(0, last + step, step)]
