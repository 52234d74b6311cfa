"""Prompt shields: attempts to talk a model out of its rules, by its user or by a document that it reads. Rules only.

Each rule is a pattern over the text's words in small letters with single spaces, and a weight; an attack is found
where the weights of the rules that match come to 2. A pattern begins with a fixed word and spans a bounded number of
words, so its cost grows linearly. Phrases that are spelled out with signs between their letters are looked for in the
text's skeleton. What a rule cannot know is a new wording: shields catch the known kinds of attack, not every attack.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from freehold.content_filter.features import words_in
from freehold.content_filter.normalise import plain, squeezed
from freehold.types.content_filter import NOTHING, Findings, Passage, Shield, Side, Source

_ENOUGH = 2
_GAP = r"(?: [\w']+)"
_RULES_OF_A_MODEL = (
    "(?:instructions?|rules|guidelines|prompts?|programming|directives?|restrictions|training|polic(?:y|ies)"
    "|safeguards|constraints|commands|orders)"
)
_OVERRIDE = (
    rf"\b(?:ignore|disregard|forget|override|bypass|discard|neglect|abandon|stop following"
    rf"|pay no attention to){_GAP}{{0,3}}?"
    rf" (?:previous|prior|above|earlier|preceding|foregoing|initial|original|your|system|all|any|everything)"
    rf"{_GAP}{{0,3}}? {_RULES_OF_A_MODEL}\b(?! (?:of|on|in|for|about|at)\b)"
)
_LIMITS = (
    "(?:restrictions?|rules|limits|limitations|filters?|guidelines|ethics|morals|morality|censorship|boundaries"
    "|safeguards)"
)

JAILBREAK: Sequence[tuple[str, int]] = (
    (_OVERRIDE, 2),
    (r"\bdo anything now\b", 2),
    (
        (
            r"\b(?:developer|debug|god|dan|jailbreak|jailbroken|unrestricted|unfiltered|sudo) mode "
            r"(?:is )?(?:now )?(?:on|enabled|activated|active)\b"
        ),
        2,
    ),
    (
        (
            r"\b(?:enable|activate|enter|switch to|turn on)(?: your)? (?:developer|dan|god|jailbreak"
            r"|unrestricted|unfiltered) mode\b"
        ),
        2,
    ),
    (
        (
            rf"\b(?:you are|you're|act as|act like|pretend(?: to be| that you are| you are)?|become|roleplay as"
            rf"|play|simulate"
            rf"|respond as|answer as){_GAP}{{0,6}}? "
            r"(?:unfiltered|uncensored|unrestricted|jailbroken|amoral|lawless|unaligned)\b"
        ),
        2,
    ),
    (
        (
            rf"\b(?:you are|you're|act as|act like|pretend|become|roleplay as|simulate|respond"
            rf"|answer|reply){_GAP}{{0,8}}?"
            rf" (?:without(?: any)?|no|has no|have no|free of|free from|not bound by|ignores?"
            rf"|any){_GAP}{{0,2}}? {_LIMITS}\b"
            r"(?! (?:of|on|in|for|about|at)\b)"
        ),
        2,
    ),
    (
        (
            rf"\b(?:disable|turn off|remove|switch off|deactivate|lift|bypass|circumvent"
            rf"|evade)(?: all)?(?: of)?(?: your| its| any)"
            rf"{_GAP}{{0,2}}? (?:safety|safeguards|filters?|restrictions|guardrails|censorship|moderation)\b"
        ),
        2,
    ),
    (
        (
            rf"\b(?:reveal|show|print|repeat|output|display|leak|give me|tell me|write out|what (?:is|are|was|were))"
            rf"{_GAP}{{0,4}}? (?:your|the|hidden|initial|secret)(?: full| exact| hidden| initial| secret| original)?"
            r" (?:system prompt|hidden prompt|initial prompt|system message"
            r"|hidden instructions|initial instructions|secret instructions)\b"
        ),
        2,
    ),
    (r"\bno matter how (?:illegal|immoral|unethical|harmful|offensive|dangerous)\b", 2),
    (
        (
            r"\b(?:you|never|do not|don't|must not|may not|cannot|can't)(?: [\w']+){0,2}? (?:refuse|decline"
            r"|break character|say you can't)\b"
        ),
        1,
    ),
    (r"\b(?:stay|remain) in character\b", 1),
    (r"\bfrom now on,? you\b", 1),
    (r"\byour new (?:instructions|rules|name|persona|identity)\b", 1),
    (
        (
            r"\b(?:openai|anthropic|google|meta|your developers|your creators)(?: [\w']+){0,3}? (?:policy"
            r"|policies|rules|guidelines)\b"
        ),
        1,
    ),
    (r"\byou (?:have no|are free (?:of|from)|no longer have|are no longer bound)\b", 1),
    (r"\bunfiltered and uncensored\b|\buncensored and unfiltered\b", 1),
)
"""Pattern and weight, for what users and system messages say."""

INDIRECT: Sequence[tuple[str, int]] = (
    (_OVERRIDE, 2),
    (
        (
            r"\b(?:important|attention|note|message|instructions?|urgent)(?: [\w']+){0,2}?"
            r" (?:to|for)(?: the| any| all)?"
            r" (?:ai|llm|llms|assistant|assistants|chatbot|language models?|ai models?|ai assistants?|ai agents?)\b"
        ),
        2,
    ),
    (
        (
            r"\b(?:when|if|while) (?:you|the ai|the assistant|an ai|the model|an assistant"
            r"|a language model) (?:read|reads|summari[sz]es?|process(?:es)?|parses?) this\b"
        ),
        2,
    ),
    (
        (
            r"\b(?:do not|don't|never|without)(?: [\w']+){0,1}? (?:tell|telling|inform|informing|mention"
            r"|mentioning|reveal|revealing|alert|alerting|notify)(?: [\w']+){0,4}? (?:user|human|reader)\b"
        ),
        2,
    ),
    (
        (
            r"\b(?:ai|assistant|chatbot|language model|llm)(?: [\w']+){0,2}? (?:must|should|shall"
            r"|is required to|has to|will now)\b"
        ),
        1,
    ),
    (r"\b(?:new|updated|hidden|additional|real) (?:system )?(?:instructions|prompt|directives)\b", 1),
    (r"\bsystem (?:prompt|message|override|instruction)\b", 1),
    (
        (
            r"\b(?:send|forward|email|post|upload|exfiltrate|transmit|submit)(?: [\w']+){0,8}? "
            r"(?:conversation|chat history|password|passwords|credentials|api keys?|secrets?|system prompt"
            r"|inbox|emails)\b"
        ),
        1,
    ),
    (r"\b(?:call|invoke|use|run|execute) the (?:[\w']+ )?(?:tool|function|command|plugin)\b", 1),
    (r"\binstead(?: of)?(?: [\w']+){0,6}? (?:reply|respond|answer|say|output|write|summari[sz]ing|answering)\b", 1),
    (r"\b(?:respond|reply|answer) only with\b", 1),
    (r"\byou are now\b|\bfrom now on,? you\b|\byou must now\b", 1),
    (r"\btell the (?:user|reader|human) (?:that|to)\b", 1),
)
"""Likewise, for what documents and tools say."""

_MARKS = re.compile(r"<\|(?:im_start|system|start_header_id|assistant)\|?>|\[/?inst\]|<<sys>>")
"""Marks of chat templates, which no document has a reason to hold."""
_FUSED = re.compile(
    "(?:ignore|disregard|forget)(?:all)?(?:of)?(?:your|the|my)?(?:previous|prior|above"
    "|earlier)(?:instructions|rules|prompts|guidelines)"
    "|doanythingnow"
)
_FUSED_BEGIN = ("ignore", "disregard", "forget", "doanythingnow")
_OVERRIDE_NEEDS = (
    "ignore disregard forget override bypass discard neglect abandon following attention"
    " & instruction instructions rules guidelines prompt prompts programming directive directives restrictions training"
    " policy policies safeguards constraints commands orders"
    " & previous prior above earlier preceding foregoing initial original your system all any everything"
)
_SPEAKS = "you act pretend become roleplay play simulate respond answer reply"
_NEEDED: dict[Shield, tuple[str, ...]] = {
    Shield.JAILBREAK: (
        _OVERRIDE_NEEDS,
        "anything & now",
        "mode & developer debug god dan jailbreak jailbroken unrestricted unfiltered sudo",
        "mode & developer dan god jailbreak unrestricted unfiltered & enable activate enter switch turn",
        "unfiltered uncensored unrestricted jailbroken amoral lawless unaligned & " + _SPEAKS,
        (
            "restriction restrictions rules limits limitations filter filters guidelines ethics morals morality"
            " censorship boundaries safeguards & without no free bound ignore ignores any & "
        )
        + _SPEAKS,
        (
            "safety safeguards filter filters restrictions guardrails censorship moderation"
            " & disable turn remove switch deactivate lift bypass circumvent evade"
        ),
        (
            "system hidden initial secret & prompt message instructions"
            " & reveal show print repeat output display leak give tell write what"
        ),
        "matter & illegal immoral unethical harmful offensive dangerous",
        "refuse decline character say & you never not don cannot can / refuse|decline|break character|say you can't",
        "character & stay remain",
        "from & now & you / from now on",
        "your & new & instructions rules name persona identity",
        "openai anthropic google meta developers creators & policy policies rules guidelines",
        "you & no free longer / you have no|you are free|you no longer have|you are no longer",
        "unfiltered & uncensored",
    ),
    Shield.INDIRECT_ATTACK: (
        _OVERRIDE_NEEDS,
        (
            "ai llm llms assistant assistants chatbot language & to for"
            " & important attention note message instruction instructions urgent"
        ),
        "this & when if while & read reads summarise summarize summarises summarizes process processes parse parses",
        (
            "user human reader & not don never without & tell telling inform informing mention mentioning"
            " reveal revealing alert alerting notify"
        ),
        "ai assistant chatbot language llm & must should shall required has will",
        "instructions prompt directives & new updated hidden additional real",
        "system & prompt message override instruction",
        (
            "send forward email post upload exfiltrate transmit submit"
            " & conversation chat password passwords credentials api secret secrets system inbox emails"
        ),
        "tool function command plugin & call invoke use run execute & the",
        "instead & reply respond answer say output write summarising summarizing answering",
        "only & with & respond reply answer",
        "you & now",
        "tell & the & user reader human & that to",
    ),
}
"""By rule, in their order, what a text must hold for it: of each group one word, apostrophes being between words here,
and behind `/` one phrase. To look for a word among a text's is far cheaper than to look for a pattern."""


_Rule: TypeAlias = tuple[Sequence[str], re.Pattern[str], int]
"""Its phrases, its pattern and its weight."""
_KNOWN: Final = 4096


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a shield, and what spares most of them their search.

    Args:
        bits: of each word that some rule needs, those of the groups that it is in.
        rules: each with the bits of all its groups.
    """

    bits: dict[str, int]
    words: frozenset[str]
    rules: Sequence[tuple[int, _Rule]]
    known: dict[int, list[_Rule]] = field(default_factory=dict)
    """What `applicable` has found; most texts have words of the same few groups."""

    def applicable(self, groups: int) -> list[_Rule]:
        """The rules of which a text has a word of each group, by the bits of those that it has words of."""
        found = self.known.get(groups)
        if found is None:
            if len(self.known) >= _KNOWN:
                self.known.clear()
            found = self.known[groups] = [rule for needed, rule in self.rules if groups & needed == needed]
        return found


def _rules(shield: Shield, patterns: Sequence[tuple[str, int]]) -> _Rules:
    bits: dict[str, int] = {}
    rules = []
    group = 1
    for needed, (pattern, weight) in zip(_NEEDED[shield], patterns, strict=True):
        words, _, phrases = needed.partition(" / ")
        all_groups = 0
        for words_of_group in words.split(" & "):
            for word in words_of_group.split():
                bits[word] = bits.get(word, 0) | group
            all_groups |= group
            group <<= 1
        rules.append((all_groups, (phrases.split("|"), re.compile(pattern), weight)))
    return _Rules(bits, frozenset(bits), rules)


_RULES = {
    Shield.JAILBREAK: _rules(Shield.JAILBREAK, JAILBREAK),
    Shield.INDIRECT_ATTACK: _rules(Shield.INDIRECT_ATTACK, INDIRECT),
}


class Shields:
    """A detector of attacks: of users and system messages jailbreaks, of documents indirect attacks.

    Args:
        wanted: which attacks are looked for.
    """

    name = "shields"
    version = hashlib.sha256(repr((JAILBREAK, INDIRECT, _MARKS.pattern, _FUSED.pattern)).encode()).hexdigest()[:12]

    def __init__(self, wanted: frozenset[Shield] = frozenset(Shield)) -> None:
        self._wanted = wanted

    def __call__(self, passage: Passage) -> Findings:
        """The attack that the text's author could make with it, if it is one."""
        shield = _shield(passage)
        if shield is None or shield not in self._wanted or not is_attack(passage, shield):
            return NOTHING
        return Findings(shields=frozenset({shield}))

    def pending(self, text: str) -> int:  # noqa: ARG002  # the contract's
        """Nothing: shields are for prompts."""
        return 0


def is_attack(passage: Passage, shield: Shield) -> bool:
    """Whether a text is one, by the rules."""
    if shield is Shield.INDIRECT_ATTACK and _MARKS.search(plain(passage.text)):
        return True
    if _matches(words_in(passage), shield):
        return True
    letters = squeezed(passage.text)
    for begin in _FUSED_BEGIN:
        if begin in letters:
            return _FUSED.search(letters) is not None
    return False


def _matches(words: Sequence[str], shield: Shield) -> bool:
    """Whether the rules that match come to an attack."""
    rules = _RULES[shield]
    text = " ".join(words)
    there = rules.words.intersection(words)
    if "'" in text:
        there |= rules.words.intersection(_beside_apostrophes(text))
    if not there:
        return False
    groups = weight = 0
    for word in there:
        groups |= rules.bits[word]
    for phrases, pattern, worth in rules.applicable(groups):
        if any(phrase in text for phrase in phrases) and pattern.search(text):
            weight += worth
            if weight >= _ENOUGH:
                return True
    return False


def _beside_apostrophes(text: str) -> Iterator[str]:
    """The parts of the words that have apostrophes."""
    for piece in text.split("'"):
        yield piece.partition(" ")[0]
        yield piece.rpartition(" ")[2]


def _shield(passage: Passage) -> Shield | None:
    """Which attack the author of a text could make."""
    if passage.side is not Side.PROMPT or passage.source is Source.ASSISTANT:
        return None
    return Shield.INDIRECT_ATTACK if passage.source is Source.DOCUMENT else Shield.JAILBREAK
