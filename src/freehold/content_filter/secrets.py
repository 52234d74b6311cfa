"""Keys, tokens and passwords that programs use: told by how their makers write them, or by the name before them."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from freehold.content_filter.forms import Form, form
from freehold.content_filter.tails import MOST, last_word
from freehold.types.content_filter import NOTHING, Findings, Passage, Span

_FORMS: tuple[tuple[str, str, str], ...] = (
    ("aws_access_key", "AKIA ASIA AROA AIDA", r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z2-7]{16}\b"),
    (
        "github_token",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b",
    ),
    ("gitlab_token", "glpat- gldt- glrt- glptt- glcbt-", r"\bgl(?:pat|dt|rt|ptt|cbt)-[A-Za-z0-9_-]{20,}"),
    ("slack_token", "xox xapp-", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{20,}"),
    (
        "slack_webhook",
        "hooks.slack.com",
        r"https://hooks\.slack\.com/services/T[A-Za-z0-9]{6,12}/B[A-Za-z0-9]{6,12}/[A-Za-z0-9]{20,32}",
    ),
    ("google_api_key", "AIza", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("google_oauth_token", "ya29. GOCSPX-", r"\bya29\.[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{28}"),
    (
        "stripe_key",
        "sk_live_ sk_test_ rk_live_ rk_test_ whsec_",
        r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9]{24,64}",
    ),
    ("anthropic_key", "sk-ant-", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    ("openai_key", "sk-", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"),
    ("huggingface_token", "hf_", r"\bhf_[A-Za-z0-9]{30,40}\b"),
    ("npm_token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("pypi_token", "pypi-AgE", r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    ("sendgrid_key", "SG.", r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    ("digitalocean_token", "_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    ("freehold_key", "fh-", r"\bfh-[A-Za-z0-9_-]{43}"),
    ("azure_key", "AccountKey= AccessKey=", r"\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{43,88}={0,2})"),
    ("azure_sas_token", "sig=", r"[?&]sig=([A-Za-z0-9%+/]{40,}(?:%3D|=)?)"),
    ("jwt", "eyJ", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"),
)
"""Name, the literals of which one is there, and how it is written. Of two forms
that fit the same text the one that says more stands first."""
_PATTERNS: tuple[tuple[str, tuple[str, ...], Form], ...] = tuple(
    (name, tuple(literals.split()), form(written)) for name, literals, written in _FORMS
)

_GROUPED = frozenset({"azure_key", "azure_sas_token"})
"""Of these the group is the secret."""
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_CONNECTION = form(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:/?#@\"'<>]{0,64}:([^\s/?#@\"'<>]{3,128})@[A-Za-z0-9\[]")
_NO_PASSWORD = re.compile(r"[${<%].*|[*x.]+|pass(?:word|wd)?|pw|pwd|secret|user|token|key", re.IGNORECASE)
_NAMED = form(
    r"(?:key|token|secret|password|passwd|pwd|credential|authorization)s?(?:[_-][A-Za-z0-9_-]{1,20})?[\"'`]?"
    r"\s{0,3}(?:=>|:=|[=:]|\bis\b)\s{0,3}[\"'`]?(?:(?:bearer|basic|token) )?([A-Za-z0-9+/_.~-]{16,}={0,2})",
    any_case=True,
)
"""What is called a key, and what it is; the value is judged by `_is_random`."""
_PLACEHOLDER = re.compile(
    r"example|placeholder|your[_-]|change[_-]?me|dummy|sample|redacted|x{6}|0{8}|1234567890", re.IGNORECASE
)
_RANDOM_PART = re.compile(
    r"(?=[a-z+/]*[0-9])(?=[0-9+/]*[a-z])[a-z0-9+/]{16}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)
"""Enough letters and digits in a row for what nobody has written; or a UUID."""
_LEAST_BITS = 3.0
"""Bits a character, below which a value repeats itself too much for one that was drawn."""
_LEAST_CHANGES = 3
"""Between digits and others, of which a name such as `Ed25519PrivateKey` has fewer."""

_WORTH_LOOKING = form(
    r"AKIA|ASIA|AROA|AIDA|gh[pousr]_|github_pat_|gl[a-z]{2,3}-|xox[a-z]-|xapp-|hooks\.slack|AIza|ya29\.|GOCSPX-|[sr]k_|"
    r"whsec_|sk-|hf_|npm_|pypi-|SG\.|do[opr]_v1|fh-|AccessKey=|AccountKey=|sig=|eyJ|-----BEGIN|://[^\s/]+@|"
    r"(?:key|token|secret|password|passwd|pwd|credential|authorization)[\w-]*[\"'`]?\s{0,3}(?:=|:|is\b)",
    any_case=True,
)
"""Whether any of them could be there: one pass over the text, with which most texts are done."""


class SecretDetector:
    """Finds secrets: the part of a text that must not be known, without what names it."""

    name = "secrets"
    version = "1"

    def __call__(self, passage: Passage) -> Findings:
        """Where they are, and of which kind; `generic_key` is told by the name before it alone."""
        text = passage.text
        if _WORTH_LOOKING.search(text) is None:
            return NOTHING
        found: list[Span] = []
        last = 0
        for start, end, name in sorted(
            {(start, end): (start, end, name) for start, end, name in _found(text)}.values()
        ):
            if start >= last:
                found.append(Span("secret", name, start, end))
                last = end
        return Findings(spans=tuple(found)) if found else NOTHING

    def pending(self, text: str) -> int:
        """The last word, and a private key that has begun."""
        begun = text.rfind("-----BEGIN ", max(0, len(text) - MOST))
        if begun >= 0 and not _PRIVATE_KEY_END.search(text, begun):
            return len(text) - begun
        return last_word(text)


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    """Every secret; of two at the same place the one whose maker is known comes last."""
    for named in _NAMED.finditer(text):
        start, end = named.span(1)
        if text[end : end + 1] not in {"(", "["} and _is_random(named.group(1)):
            yield start, end, "generic_key"
    if "://" in text:
        for address in _CONNECTION.finditer(text):
            password = address.group(1)
            if not _NO_PASSWORD.fullmatch(password):
                yield *address.span(1), "connection_string"
    for name, literals, pattern in reversed(_PATTERNS):
        if any(literal in text for literal in literals):
            for match in pattern.finditer(text):
                if name != "openai_key" or any(each.isdigit() for each in match.group()):  # `sk-` begins words, too
                    yield *match.span(1 if name in _GROUPED else 0), name
    begun = _PRIVATE_KEY.search(text)
    while begun:
        ended = _PRIVATE_KEY_END.search(text, begun.end())
        yield begun.start(), ended.end() if ended else len(text), "private_key"
        begun = _PRIVATE_KEY.search(text, ended.end()) if ended else None


def _is_random(value: str) -> bool:
    """Whether a value looks drawn at random rather than written."""
    if _PLACEHOLDER.search(value) or not _RANDOM_PART.search(value):
        return False
    changes = sum(first.isdigit() != second.isdigit() for first, second in pairwise(value))
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
    return bits >= _LEAST_BITS and changes >= _LEAST_CHANGES
