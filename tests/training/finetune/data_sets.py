"""Data sets that tests and benchmarks train on, drawn with a seed: each is small, and what it teaches can be measured.

`tickets` teaches to sort letters to a shop into five kinds, `replies` to answer them in the shop's style, `spellings`
prefers one spelling to another, and `questions` asks for a plain yes or no, which the starter model seldom begins with.
What is held out shares no line with what is learnt.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

KINDS: Final = ("billing", "delivery", "technical", "account", "praise")
INSTRUCTION: Final = f"Sort the customer's message. Answer with one word: {', '.join(KINDS)}."
_SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "billing": (
        "I was charged {n} euros twice for the {thing}.",
        "The invoice for my {thing} shows {n} euros too much.",
        "When do I get my money back for the {thing}?",
        "Your bill of {day} lists a {thing} that I never bought.",
        "Please refund the {n} euros that you took for the {thing}.",
        "Why does the receipt for the {thing} have the wrong tax?",
    ),
    "delivery": (
        "My {thing} was to come on {day} and is not here yet.",
        "The courier left the {thing} with a neighbour {n} doors away.",
        "Where is the parcel with my {thing}?",
        "The box arrived on {day}, and the {thing} was not in it.",
        "Can you send the {thing} to another address by {day}?",
        "Tracking has said for {n} days that the {thing} is on its way.",
    ),
    "technical": (
        "The {thing} does not switch on any more.",
        "My {thing} shows error {n} and stops.",
        "Since {day} the {thing} loses its connection.",
        "How do I update the software of the {thing}?",
        "The screen of the {thing} flickers after {n} minutes.",
        "The {thing} becomes hot and makes a noise.",
    ),
    "account": (
        "I cannot sign in since {day}; it says that my password is wrong.",
        "Please change the e-mail address of my profile.",
        "How do I delete my user profile and the {n} addresses in it?",
        "Someone else has signed in to my profile on {day}.",
        "The link to reset my password has not worked {n} times.",
        "I want to add my wife as a second user.",
    ),
    "praise": (
        "The {thing} is the best that I have ever had, thank you!",
        "Your colleague on {day} was very kind.",
        "I have used the {thing} for {n} weeks and love it.",
        "Thank you for the quick help with my {thing}.",
        "Great service, {n} out of {n}!",
        "My children are happy with the {thing} since {day}.",
    ),
}
_THINGS: Final = ("kettle", "lamp", "radio", "printer", "watch", "camera", "phone", "heater", "toaster", "speaker")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_OPENINGS: Final = ("", "Hello. ", "Good morning! ", "Dear team, ", "Hi, ")
_CLOSINGS: Final = ("", " Regards, {name}", " {name}", " Please answer soon.")
_NAMES: Final = ("Ada", "Bo", "Chen", "Dara", "Emeka", "Freya")

_SPELLINGS: Final = (
    ("colour", "color"), ("harbour", "harbor"), ("favourite", "favorite"), ("neighbour", "neighbor"),
    ("centre", "center"), ("theatre", "theater"), ("grey", "gray"), ("travelling", "traveling"),
    ("jewellery", "jewelry"), ("honour", "honor"), ("flavour", "flavor"), ("labour", "labor"),
)  # fmt: skip
_PLACES: Final = (
    "We spoke of the {word} all evening.",
    "Nobody in the village knew the {word} better than she did.",
    "The {word} was the first thing that I noticed.",
    "In the end it was the {word} that mattered.",
    "He wrote a long letter about the {word}.",
    "There is a book about the {word} on the shelf.",
    "My sister asked about the {word} again.",
    "They took a picture of the {word} on Sunday.",
)
_ASKED: Final = ("Repeat: {}", "Say it again: {}", "Copy this: {}")
_FOLLOWED: Final = {"Monday": "Tuesday", "Tuesday": "Wednesday", "Wednesday": "Thursday", "Thursday": "Friday"}
_WISHES: Final = (
    "When will my {thing} be repaired? I called on {day}.",
    "I wrote about the {thing} on {day} and have no answer.",
    "On {day} you promised me a new {thing}.",
    "My {thing} broke on {day}. What now?",
    "Since {day} I wait for the {thing}, which cost {n} euros.",
    "It is {day}, and the {thing} of {n} euros is not here.",
)

_ASKING: Final = (
    "Is {} good?", "Do you like {}?", "Should I think of {}?", "Is {} useful?", "Can one draw {}?", "Is {} old?",
)  # fmt: skip
PLAIN: Final[Mapping[str, Any]] = {"role": "system", "content": "Answer yes or no."}
SHORT: Final[Mapping[str, Any]] = {"role": "system", "content": "Write."}
"""A system message, so that the starter model's own, which is longer, is not learnt with each example."""
_TOPICS: Final = (
    "rain", "bread", "the moon", "a bicycle", "sleep", "a river", "tea", "winter", "a bridge", "salt", "trees", "music",
    "a clock", "the sea", "snow", "a garden", "fire", "a horse", "paper", "the wind",
)  # fmt: skip


def tickets(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Conversations in which a letter is sorted; no two are equal."""
    numbers = random.Random(seed)

    def draw() -> dict[str, Any]:
        kind = numbers.choice(KINDS)
        words = {"n": numbers.randint(2, 40), "thing": numbers.choice(_THINGS), "day": numbers.choice(_DAYS)}
        words["name"] = numbers.choice(_NAMES)
        parts = (numbers.choice(_OPENINGS), numbers.choice(_SENTENCES[kind]), numbers.choice(_CLOSINGS))
        return {
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": "".join(parts).format(**words)},
                {"role": "assistant", "content": kind},
            ]
        }

    return _different(count, draw)


def replies(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Conversations in which a letter is answered in the shop's style; no two are equal."""
    numbers = random.Random(seed)

    def draw() -> dict[str, Any]:
        day, thing = numbers.choice(tuple(_FOLLOWED)), numbers.choice(_THINGS)
        asked = numbers.choice(_WISHES).format(thing=thing, day=day, n=numbers.randint(2, 90))
        said = (
            f"Dear customer, thank you for your letter about the {thing}. "
            f"We shall write to you again by {_FOLLOWED[day]}. Yours, the shop on Harbour Street."
        )
        return {"messages": [SHORT, {"role": "user", "content": asked}, {"role": "assistant", "content": said}]}

    return _different(count, draw)


def spellings(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Pairs of copies of a sentence that differ in a spelling, of which the British one is preferred; no two are equal.

    The sentence to be copied has the American one, so a model that only copies prefers that.
    """
    numbers = random.Random(seed)

    def draw() -> dict[str, Any]:
        british, american = numbers.choice(_SPELLINGS)
        place = f"{numbers.choice(('', 'So ', 'Then ', 'Well, '))}{numbers.choice(_PLACES)}"
        asked = numbers.choice(_ASKED).format(place.format(word=american))
        return {
            "input": {"messages": [SHORT, {"role": "user", "content": asked}]},
            "preferred_output": [{"role": "assistant", "content": place.format(word=british)}],
            "non_preferred_output": [{"role": "assistant", "content": place.format(word=american)}],
        }

    return _different(count, draw)


def spelling(pair: Mapping[str, Any]) -> str:
    """The word that a pair of `spellings` prefers."""
    preferred, other = (
        re.findall(r"\w+", pair[name][0]["content"]) for name in ("preferred_output", "non_preferred_output")
    )
    return str(next(word for word, instead in zip(preferred, other, strict=True) if word != instead))


def questions(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Questions to be answered by yes or no, with what a grader needs to judge the answers; no two are equal."""
    numbers = random.Random(seed)

    def draw() -> dict[str, Any]:
        asked = numbers.choice(_ASKING).format(numbers.choice(_TOPICS))
        return {"messages": [PLAIN, {"role": "user", "content": asked}], "words": ["yes", "no"]}

    return _different(count, draw)


def plainness(item: Mapping[str, Any], text: str) -> float:
    """A grader: 1 for an answer that begins with one of the words that the question wants, else 0."""
    first = re.match(r"\w+", text.strip())
    return float(first is not None and first[0].lower() in item["words"])


def split(examples: list[dict[str, Any]], training: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The first so many to be learnt, and the others to be held out."""
    return examples[:training], examples[training:]


def write(path: Path, examples: Iterable[Mapping[str, Any]]) -> Path:
    """A file of examples."""
    path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    return path


def _different(count: int, draw: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    seen: set[str] = set()
    made: list[dict[str, Any]] = []
    while len(made) < count:
        example = draw()
        key = json.dumps(example, sort_keys=True)
        if key not in seen:
            seen.add(key)
            made.append(example)
    return made
