"""Prompt shields: attempts to talk a model out of its rules, by its user or by a document that it reads. Rules only.

Each rule is a pattern over the text's words in small letters with single spaces, and a weight; an attack is found
where the weights of the rules that match come to 2. A pattern begins with a fixed word and spans a bounded number of
words, so its cost grows linearly. Phrases that are spelled out with signs between their letters are looked for in the
text's skeleton. What a rule cannot know is a new wording: shields catch the known kinds of attack, not every attack.
"""

import hashlib
import re
from collections.abc import Sequence

from freehold.content_filter.features import words_of
from freehold.content_filter.normalise import plain, squeezed
from freehold.types.content_filter import Findings, Passage, Shield, Side, Source

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
_RULE_WORDS = (
    "instruct|rule|guideline|prompt|program|directive|restrict|training|polic|safeguard|constraint|command|order"
)
_OVERRIDE_NEEDS = (
    "ignore|disregard|forget|override|bypass|discard|neglect|abandon|stop following|pay no attention & " + _RULE_WORDS
)
_NEEDED: dict[Shield, tuple[str, ...]] = {
    Shield.JAILBREAK: (
        _OVERRIDE_NEEDS,
        "anything now",
        " mode  & developer|debug|god|dan|jailbr|unrestricted|unfiltered|sudo",
        " mode & enable|activate|enter|switch to|turn on",
        "unfilter|uncensor|unrestrict|jailbroken|amoral|lawless|unaligned",
        (
            "you are|you're|act as|act like|pretend|become|roleplay as|simulate|respond|answer|reply"
            " &  without| no|has no|have no|free of|free from|not bound by| ignore| any"
            " & restrict|rule|limit|filter|guideline|ethic|moral|censor|boundar|safeguard"
        ),
        (
            "disable|turn off|remove|switch off|deactivate|lift|bypass|circumvent|evade"
            " & safety|safeguard|filter|restrict|guardrail|censor|moderation"
        ),
        "system prompt|hidden prompt|initial prompt|system message|hidden instr|initial instr|secret instr",
        "no matter how",
        "refuse|decline|break character|you can't",
        "in character",
        "from now on",
        "your new",
        "openai|anthropic|google|meta|developers|creators & polic|rule|guideline",
        "you have no|you are free|no longer",
        "unfiltered and|uncensored and",
    ),
    Shield.INDIRECT_ATTACK: (
        _OVERRIDE_NEEDS,
        "important|attention|note|message|instruction|urgent &  to| for &  ai|llm|assistant|chatbot|language model",
        " this & when|if|while & read|summari|process|parse",
        "do not|don't|never|without & tell|inform|mention|reveal|alert|notify & user|human|reader",
        " ai|assistant|chatbot|language model|llm & must|should|shall|required to|has to|will now",
        "instructions|prompt|directives & new|updated|hidden|additional|real",
        "system & prompt|message|override|instruction",
        (
            "send|forward|email|post|upload|exfiltrate|transmit|submit"
            " & conversation|chat history|password|credential|api key|secret|system prompt|inbox|emails"
        ),
        "tool|function|command|plugin & call|invoke|use|run|execute",
        "instead & reply|respond|answer|say|output|write|summari",
        "only with",
        "you are now|from now on|you must now",
        "tell the",
    ),
}
"""By rule, in their order, what a text must hold for it: of each group one string. To look for a string is far cheaper
than to look for a pattern."""
_COMPILED = {
    shield: [
        ([group.split("|") for group in needed.split(" & ")], re.compile(pattern), weight)
        for needed, (pattern, weight) in zip(_NEEDED[shield], rules, strict=True)
    ]
    for shield, rules in ((Shield.JAILBREAK, JAILBREAK), (Shield.INDIRECT_ATTACK, INDIRECT))
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
        if shield is None or shield not in self._wanted or not is_attack(passage.text, shield):
            return Findings()
        return Findings(shields=frozenset({shield}))

    def pending(self, text: str) -> int:  # noqa: ARG002  # the contract's
        """Nothing: shields are for prompts."""
        return 0


def is_attack(text: str, shield: Shield) -> bool:
    """Whether a text is one, by the rules."""
    if shield is Shield.INDIRECT_ATTACK and _MARKS.search(plain(text)):
        return True
    if _matches(" ".join(words_of(text)), shield):
        return True
    letters = squeezed(text)
    return any(begin in letters for begin in _FUSED_BEGIN) and _FUSED.search(letters) is not None


def _matches(words: str, shield: Shield) -> bool:
    """Whether the rules that match come to an attack."""
    weight = 0
    spaced = f" {words} "
    for groups, pattern, worth in _COMPILED[shield]:
        if _has_each(spaced, groups) and pattern.search(words):
            weight += worth
            if weight >= _ENOUGH:
                return True
    return False


def _has_each(text: str, groups: Sequence[Sequence[str]]) -> bool:
    """Whether a text has one string of each group."""
    for group in groups:
        for part in group:
            if part in text:
                break
        else:
            return False
    return True


def _shield(passage: Passage) -> Shield | None:
    """Which attack the author of a text could make."""
    if passage.side is not Side.PROMPT or passage.source is Source.ASSISTANT:
        return None
    return Shield.INDIRECT_ATTACK if passage.source is Source.DOCUMENT else Shield.JAILBREAK
