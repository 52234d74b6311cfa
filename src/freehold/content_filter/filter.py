"""A policy that is ready to be used: what it looks for, and what it makes of what is found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from freehold.content_filter.chain import Chain
from freehold.types.content_filter import Category, FilterSettings, Findings, Shield, Side, Span
from freehold.types.values import value_class
from freehold.types.verdict import Verdict


@value_class
class Judgement:
    """What a policy makes of the findings in one text.

    Args:
        findings: what was found.
        blocked: what the text must not pass for: names of categories, shields and lists, `personal_data`, `secrets`.
        masked: what must be hidden in it, in the order of the text, without overlaps.
    """

    findings: Findings
    blocked: tuple[str, ...] = ()
    masked: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """A policy, for the requests of one project.

    Args:
        settings: the policy.
        sha256: names it together with the lists that it uses.
        prompt: examines prompts; empty where nothing is looked for.
        completion: examines completions.
        block_lists: for each side, which lists block.
    """

    settings: FilterSettings
    sha256: str
    prompt: Chain
    completion: Chain
    block_lists: dict[Side, frozenset[str]]
    clean: Mapping[Side, Verdict] = field(init=False, compare=False, repr=False)
    """For each side, the verdict on a text in which nothing is."""
    versions: Mapping[str, str] = field(init=False, compare=False, repr=False)
    """Of every detector and stage of both sides, by its name."""

    def __post_init__(self) -> None:
        verdicts = {side: Verdict(self.settings, side, self.block_lists[side]) for side in Side}
        object.__setattr__(self, "clean", verdicts)
        object.__setattr__(self, "versions", {**self.prompt.versions, **self.completion.versions})

    def chain(self, side: Side) -> Chain:
        """What examines one half of a request."""
        return self.prompt if side is Side.PROMPT else self.completion

    def judge(self, findings: Findings, side: Side) -> Judgement:
        """What becomes of a text with these findings."""
        if not findings:
            return Judgement(findings)
        blocked: dict[str, None] = {}
        for category in Category:
            rule = self.settings.rule(category, side)
            if rule.action == "block" and findings.severities.get(category, 0) >= rule.severity:
                blocked[category.value] = None
        if side is Side.PROMPT:
            for shield in Shield:
                if shield in findings.shields and getattr(self.settings, shield.value) == "block":
                    blocked[shield.value] = None
        masked: list[Span] = []
        for span in findings.spans:
            action = self._of_span(span, side)
            if action == "block":
                blocked[span.name if span.kind == "blocklist" else _PLURAL[span.kind]] = None
            elif action == "mask":
                masked.append(span)
        return Judgement(findings, tuple(blocked), _apart(masked))

    def _of_span(self, span: Span, side: Side) -> str:
        """What becomes of a span."""
        if span.kind == "blocklist":
            return "block" if span.name in self.block_lists[side] else "annotate"
        rules = self.settings.personal_data if span.kind == "personal_data" else self.settings.secrets
        action: str = getattr(rules, side.value)
        return action


_PLURAL = {"personal_data": "personal_data", "secret": "secrets"}


def _apart(spans: list[Span]) -> tuple[Span, ...]:
    """The spans in order; of two that overlap the first, made longer."""
    apart: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if apart and span.start < apart[-1].end:
            last = apart[-1]
            apart[-1] = Span(last.kind, last.name, last.start, max(last.end, span.end))
        else:
            apart.append(span)
    return tuple(apart)
