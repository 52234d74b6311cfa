"""The objects that the starter painter knows: an emoji each, named by Unicode's CLDR annotations.

The names and keywords are read from CLDR's English annotations (Debian package `unicode-cldr-core`). A keyword is a
synonym where it names one of the objects only. `HELD_OUT` are other names that never stand in a training caption;
the evaluation asks for them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ANNOTATIONS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")
"""Where Debian puts the annotations."""

EMOJI = (
    "🐶🐱🐮🐯🐰🐷🐸🐵🦁🐻🐼🦊🐴🐔🐧🦉🐢🐙🐟🐘🦋🐝🐞🌻🌵🌲🌴🍄🍎🍌🍓🍊🍉🍕🍔🍩🎂☕"
    "🚗🚌🚲🚀✈⛵🏠☀🌙⭐🌈🔥❄⛄☂⚽🎈🎁🎸💡📷⏰🔑👑👟🤖👻👽🎃❤💙💚🔴🔵"
)

NAMES: Mapping[str, str] = {
    "🐟": "fish",
    "🐮": "cow",
    "🦋": "butterfly",
    "🌲": "pine tree",
    "🍊": "orange fruit",
    "🍎": "apple",
    "🎂": "birthday cake",
    "☕": "cup of coffee",
    "🚗": "car",
    "🌙": "moon",
    "⛄": "snowman",
    "🍉": "slice of watermelon",
    "🎈": "balloon",
    "🎁": "gift",
    "👟": "shoe",
    "🎃": "pumpkin",
    "🐞": "ladybug",
    "💡": "light bulb",
    "🐝": "bee",
}
"""Where CLDR's own name is not what a person would write."""

MORE: Mapping[str, str] = {
    "🐶": "hound, doggy, pooch",
    "🐱": "kitten, feline, tomcat",
    "🐮": "dairy cow, calf",
    "🐯": "tiger cub, bengal tiger",
    "🐷": "piglet, swine",
    "🐸": "bullfrog, tree frog",
    "🐵": "chimp, chimpanzee",
    "🦁": "lion cub, male lion",
    "🐻": "brown bear, bear cub",
    "🐼": "giant panda, panda bear",
    "🦊": "red fox, vixen",
    "🐴": "stallion, mare, foal",
    "🐔": "rooster, chick",
    "🐧": "emperor penguin",
    "🦉": "barn owl",
    "🐢": "sea turtle",
    "🐙": "squid, kraken",
    "🐟": "trout, salmon",
    "🐘": "mammoth, elephant calf",
    "🦋": "moth, monarch butterfly",
    "🐝": "bumblebee, wasp",
    "🌻": "daisy",
    "🌵": "succulent, saguaro cactus",
    "🌲": "conifer, spruce",
    "🌴": "coconut palm",
    "🍄": "fungus",
    "🍎": "ripe apple",
    "🍌": "plantain, ripe banana",
    "🍓": "ripe strawberry",
    "🍊": "mandarin, clementine",
    "🍉": "melon",
    "🍕": "pizza slice, pepperoni pizza",
    "🍔": "beef burger",
    "🍩": "glazed donut",
    "🎂": "cake with candles, torte",
    "☕": "cappuccino, latte",
    "🚗": "sedan, motor car, hatchback",
    "🚌": "school bus, minibus",
    "🚲": "cycle, two-wheeler",
    "🚀": "spaceship, spacecraft",
    "✈": "plane, jet, airliner",
    "⛵": "sailing boat, ship",
    "🏠": "bungalow, villa",
    "☀": "bright sun",
    "⭐": "yellow star",
    "🌈": "colourful rainbow",
    "🔥": "bonfire, campfire, blaze",
    "❄": "flake of snow",
    "⛄": "snow figure",
    "☂": "brolly",
    "🎈": "party balloon",
    "🎁": "gift box",
    "🎸": "electric guitar",
    "💡": "lamp",
    "📷": "digital camera",
    "🔑": "door key",
    "👑": "tiara, royal crown",
    "👟": "trainer, boot",
    "🤖": "cyborg, automaton",
    "👻": "spirit, spook, spectre",
    "👽": "space alien",
    "🎃": "squash",
}
"""Further names that captions have: CLDR knows few."""

HELD_OUT: Mapping[str, str] = {
    "🐶": "puppy",
    "🐱": "kitty",
    "🐰": "hare",
    "🐷": "hog",
    "🐸": "toad",
    "🐻": "grizzly",
    "🐔": "hen",
    "🐢": "tortoise",
    "🐴": "pony",
    "🐵": "ape",
    "🦁": "lioness",
    "🐮": "cattle",
    "🌲": "fir tree",
    "🍔": "cheeseburger",
    "🎂": "gateau",
    "☕": "espresso",
    "🚗": "automobile",
    "🚌": "coach",
    "🚲": "bike",
    "✈": "aeroplane",
    "⛵": "yacht",
    "🏠": "cottage",
    "☀": "sunshine",
    "☂": "parasol",
    "🔥": "flame",
    "⚽": "football",
    "🎁": "present",
    "💡": "lightbulb",
    "👟": "sneaker",
    "🤖": "android",
    "👻": "phantom",
    "👽": "martian",
    "❄": "snow crystal",
}
"""Names that no caption of the training has."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object.

    Args:
        emoji: its character.
        name: what captions mostly call it.
        synonyms: what they call it now and then.
    """

    emoji: str
    name: str
    synonyms: tuple[str, ...]


def load_things(annotations: Path = ANNOTATIONS) -> tuple[Thing, ...]:
    """The objects in the order of `EMOJI`.

    Raises:
        FileNotFoundError: the annotations are not installed.
    """
    named: dict[str, str] = {}
    keywords: dict[str, list[str]] = {}
    for entry in ET.parse(annotations).iter("annotation"):  # noqa: S314  # a file of the system
        emoji = entry.attrib["cp"]
        if entry.get("type") == "tts":
            named[emoji] = (entry.text or "").lower()
        else:
            keywords[emoji] = [word.strip().lower() for word in (entry.text or "").split("|")]
    names = {emoji: NAMES.get(emoji) or named[emoji].removesuffix(" face") for emoji in EMOJI}
    seen = Counter(word for emoji in EMOJI for word in {*keywords[emoji], names[emoji], *names[emoji].split()})
    held = set(HELD_OUT.values())
    return tuple(
        Thing(
            emoji,
            names[emoji],
            tuple(
                word
                for word in sorted({*keywords[emoji], named[emoji], *MORE.get(emoji, emoji).split(", ")} - {emoji})
                if seen[word] <= 1 and word != names[emoji] and word not in held and word not in _VAGUE
            ),
        )
        for emoji in EMOJI
    )


_VAGUE_WORDS = (
    "animal athletic bar beverage big birthday black blue body box break breakfast bright bug cancer",
    "celebration cell cheese clothing cold comic communication cool cream creature cutting danger death",
    "dessert direct drink drop ear electric evil extraterrestrial eye face fairy fall falling fantasy",
    "flipper food french fruit game geometric green halloween heavy hoop hot ice icon idea insect",
    "instrument jack king lantern leo light lock love mark marsupial maze mobile monster morning movie",
    "mug music nature open orange party passenger password photo pisces plant pretty queen rain rays red",
    "resort restaurant science sea sign sit sky sleep soft space sport spouting spring steaming sunny",
    "sweet tale tennis tool top travel tropical ufo vehicle video water weather white wild wise wrapped",
    "yellow zap",
)
_VAGUE_PHRASES = ("fairy tale", "hot beverage", "snowman without snow")
_VAGUE = frozenset((*(word for line in _VAGUE_WORDS for word in line.split()), *_VAGUE_PHRASES))
"""Keywords that say something about an object without naming it."""
