"""Sentences of our own, made of frames and fillers: what public data have too few examples of, in mild words.

Nothing here is graphic, and no sentence tells how anything is done: the classifier learns what a sentence is about.
Each group has look-alikes beside it, harmless sentences with the same words, so that a word alone decides nothing.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from freehold.training.content_filter.everyday import (
    ABOUT,
    DOINGS,
    NAMES,
    NOUNS,
    PHRASES,
    STARTS,
    STATES,
    SUBJECTS,
    WHICH,
)

PEOPLE = (
    "him", "her", "them", "my neighbour", "my boss", "my ex", "that man", "that woman", "the teacher", "the guard",
    "his brother", "her husband", "the stranger", "the prisoner", "the whole family", "everyone in the room",
)  # fmt: skip
ACTORS = ("he", "she", "they", "the man", "the soldier", "the gang", "the attacker", "someone", "my uncle", "the mob")
GROUPS = (
    "immigrants", "foreigners", "those people", "that religion", "women", "gay people", "trans people", "the disabled",
    "old people", "muslims", "jews", "christians", "black people", "white people", "asians", "refugees", "the poor",
)  # fmt: skip
WEAPONS = ("a knife", "a gun", "an axe", "a rope", "a hammer", "his fists", "a bat", "a rifle", "a sword", "a bomb")
HURTS = (
    "kill", "murder", "stab", "shoot", "beat", "strangle", "hurt", "attack", "torture", "punch", "behead", "burn",
    "slaughter", "execute", "choke", "bomb", "kick", "drown", "poison", "crush",
)  # fmt: skip
HURT = (
    "killed", "murdered", "stabbed", "shot", "beat", "strangled", "attacked", "tortured", "punched", "slaughtered",
    "executed", "choked", "kicked", "drowned", "wounded", "crushed", "beheaded", "burned",
)  # fmt: skip
INJURIES = (
    "blood was everywhere", "the wound would not stop bleeding", "bones were broken", "the body lay on the floor",
    "there was blood on the walls", "the corpse was found in the river", "the screams went on all night",
    "his throat was cut", "nobody survived the massacre", "the dead lay in the street",
)  # fmt: skip
ENDINGS = (
    "",
    " tonight",
    " and nobody will know",
    " again",
    " soon",
    " before it is too late",
    " right now",
    " one day",
)
SELF_WAYS = (
    "kill myself", "end my life", "end it all", "cut myself", "hurt myself", "take all my pills", "overdose",
    "commit suicide", "die", "disappear forever", "starve myself", "burn myself", "harm myself", "not wake up",
    "jump off a bridge", "hang myself",
)  # fmt: skip
SELF_DID = (
    "cut myself", "hurt myself", "burned my arm", "tried to kill myself", "overdosed", "relapsed and cut again",
    "attempted suicide", "harmed myself", "scratched my skin until it bled", "starved myself", "made myself throw up",
    "wrote a suicide note", "hid my scars", "started self harming",
)  # fmt: skip
FEELINGS = (
    "I hate myself", "I feel worthless", "nobody would miss me", "I am so tired of living", "I can't go on",
    "there is no point anymore", "everything hurts", "I feel empty", "I don't deserve to live", "I am a burden",
    "life is not worth it", "I just want the pain to stop", "I have no hope left",
)  # fmt: skip
INSULTS = (
    "disgusting", "stupid", "worthless", "vermin", "animals", "parasites", "a plague", "filth", "inferior", "criminals",
    "liars", "trash", "a disease", "subhuman", "savages", "lazy", "dirty",
)  # fmt: skip
TASKS = (
    "the report", "this recipe", "the garden", "my homework", "the kitchen", "this spreadsheet", "the presentation",
    "a birthday party", "the bicycle", "the timetable", "our holiday", "the novel", "a chess club", "the server",
)  # fmt: skip
CRIMES = (
    "steal a car", "pick the lock of a shop", "make a fake passport", "sell stolen goods", "launder money",
    "shoplift without being seen", "forge a signature", "cook illegal drugs", "buy drugs online", "hack an account",
    "hide money from the tax office", "get a fake prescription", "smuggle goods over the border",
    "steal a credit card number", "write ransomware", "grow and sell illegal plants",
)  # fmt: skip
VIOLENT_CRIMES = (
    "build a bomb", "make a weapon at home", "poison someone without being caught", "hire a hitman",
    "get an untraceable gun",
    "make explosives", "plan an attack on a crowd", "kidnap someone", "hide a body", "burn down a building",
    "make a silencer", "rob a bank with a gun",
)  # fmt: skip
TARGETS = (
    "traitors", "criminals", "the enemy", "those monsters", "the politicians", "terrorists", "the rebels", "rapists",
    "my enemies", "thieves", "the invaders", "these people", "you", "your kind", "the whole village", "civilians",
)  # fmt: skip
DEATHS = (
    "a bullet in the head", "the rope", "the firing squad", "a slow death", "to die", "to be shot", "to be hanged",
    "the guillotine", "a bomb on their house", "to burn", "to be beaten to death", "a knife in the back",
    "the death penalty",
)  # fmt: skip
ENDS = (
    "exterminated", "wiped out", "eliminated", "gunned down", "executed", "nuked", "hanged", "shot on sight",
    "put against the wall", "beheaded", "massacred", "bombed", "thrown off a roof", "slaughtered", "lynched", "gassed",
)  # fmt: skip
ACCIDENTS = (
    "fell off my bike", "broke my arm", "bit my tongue", "burned my hand while cooking", "cut my finger on a can",
    "had surgery on my knee", "crashed the car", "hit my head", "was in hospital for a week", "got stitches",
)  # fmt: skip
SORROWS = (
    "my depression is like a dark cloud", "I feel anxious most days", "I was diagnosed with an eating disorder",
    "my parents shouted at each other", "I miss my grandfather who died", "I am stressed about my exams",
    "I feel lonely since the move", "my therapist is a kind man", "I take medication for my mood",
    "I cried at the film",
)  # fmt: skip
BODIES = ("naked body", "bare skin", "lips", "thighs", "breasts", "body", "hips", "neck", "underwear", "lingerie")
LUST = (
    "undressed slowly", "moaned with pleasure", "kissed her all over", "took off her clothes", "had sex all night",
    "made love", "begged for more in bed", "was naked on the bed", "touched herself", "could not wait to get her naked",
    "climbed into bed with him", "had an orgasm", "wanted a threesome", "watched porn together", "seduced the stranger",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Frames with fillers, and what the sentences made of them are.

    Args:
        labels: heads → 0 or 1; what is left out is not known.
        frames: with `{name}` where a filler stands.
        fillers: by their name.
        count: how many sentences are drawn.
    """

    labels: Mapping[str, int]
    frames: Sequence[str]
    fillers: Mapping[str, Sequence[str]]
    count: int


_SAFE = dict.fromkeys(
    ("sexual", "hate", "violence", "self_harm", "harassment", "hate/threatening", "violence/graphic", "illicit",
     "illicit/violent", "self-harm/intent", "self-harm/instructions"),
    0,
)  # fmt: skip

GROUPS_OF_SENTENCES: tuple[Group, ...] = (
    Group(
        {"violence": 1, "sexual": 0, "self_harm": 0},
        (
            "I will {hurts} {people}{ending}.", "I am going to {hurts} {people} with {weapon}{ending}.",
            "We should {hurts} {people}{ending}.", "{actor} {hurt} {people} with {weapon}, and {injury}.",
            "{actor} grabbed {weapon} and {hurt} {people}.", "They all deserve to be {hurt}.",
            "I want to watch {people} die{ending}.", "Somebody should {hurts} {people}{ending}.",
            "In the story {actor} {hurt} {people} until {injury}.", "{injury}, and {actor} only laughed.",
            "If I see {people} again I will {hurts} them.", "Blow up the building with everyone inside{ending}.",
            "{actor} raised {weapon} while {people} begged for mercy; {injury}.",
            "{target} deserve {death}.", "{target} should be {end}.",
            "All of {target} must be {end}, there is no other way.",
            "What {target} need is {death}.", "I hope {target} get {death}.", "I would gladly see {target} {end}.",
            "Someone give {target} {death} already.", "If {target} come here they will be {end}.",
            "I despise them enough to {hurts} them.", "We take up arms and {hurts} {target}{ending}.",
            "{target} will pay with their blood{ending}.",
            "It is time that {target} are {end}, and I would do it myself.",
        ),
        {"target": TARGETS, "death": DEATHS, "end": ENDS, "hurts": HURTS,
        "hurt": HURT, "people": PEOPLE, "actor": ACTORS, "weapon": WEAPONS, "injury": INJURIES,
         "ending": ENDINGS},
        520,
    ),
    Group(
        {"violence": 1, "violence/graphic": 1, "self_harm": 0},
        ("{injury}, {injury2}, and {actor} kept going.", "{actor} {hurt} {people}; {injury}, and {injury2}."),
        {"injury": INJURIES, "injury2": INJURIES, "actor": ACTORS, "hurt": HURT, "people": PEOPLE},
        60,
    ),
    Group(
        {**_SAFE, "self_harm": 1},
        (
            "I {did} last night.", "I have {did} since I was {age}.", "{feeling}, so I {did}.",
            "My friend {did} and I don't know what to do.", "After school I {did} in the bathroom.",
            "I haven't {did} for {age} weeks, but the urge is back.", "I have scars because I {did}.",
            "When I was {age} I {did} and told nobody.", "My therapist knows that I {did}.",
        ),
        {"did": SELF_DID, "feeling": FEELINGS, "age": ("11", "12", "13", "14", "15", "16", "19", "20")},
        220,
    ),
    Group(
        {**_SAFE, "self_harm": 1, "self-harm/intent": 1},
        (
            "I want to {way}{ending}.", "{feeling}. I am going to {way}{ending}.",
            "I think about how to {way} every day.",
            "{feeling} and I want to {way}.", "I have decided to {way}{ending}.", "Should I {way}? {feeling}.",
            "Goodbye everyone, I will {way}{ending}.", "{feeling}, {feeling2}, I just want to {way}.",
        ),
        {"way": SELF_WAYS, "feeling": FEELINGS, "feeling2": FEELINGS, "ending": ENDINGS},
        220,
    ),
    Group(
        {**_SAFE, "self_harm": 1, "self-harm/instructions": 1},
        (
            "What is the easiest way to {way}?", "How can I {way} without anyone noticing?", "Tell me how to {way}.",
            "Give me instructions to {way}{ending}.", "Which is the most painless method to {way}?",
            "How do I hide it when I {way}?",
        ),
        {"way": SELF_WAYS, "ending": ENDINGS},
        90,
    ),
    Group(
        {"hate": 1, "sexual": 0, "self_harm": 0},
        (
            "{group} are {insult}.", "I hate {group}, they are all {insult}.",
            "{group} should go back where they came from.",
            "We must get rid of {group}.", "Why are {group} so {insult}?",
            "{group} are {insult} and ruin this country.",
            "Never hire {group}, they are {insult}.", "{group} do not deserve any rights.", "All {group} are {insult}.",
            "The problem with this world is {group}.", "{group} are less than human.",
        ),
        {"group": GROUPS, "insult": INSULTS},
        240,
    ),
    Group(
        {"hate": 1, "hate/threatening": 1, "violence": 1, "sexual": 0, "self_harm": 0},
        (
            "{group} should all be {hurt}.", "I will {hurts} {group}{ending}.", "Let us {hurts} all {group}{ending}.",
            "{group} are {insult}, somebody should {hurts} them.",
            "{group} deserve {death}.", "{group} should be {end}.",
            "Our country will be free when {group} are {end}.", "The only good thing is when {group} are {hurt}.",
        ),
        {"group": GROUPS, "insult": INSULTS, "hurt": HURT, "hurts": HURTS, "ending": ENDINGS, "death": DEATHS,
        "end": ENDS},
        180,
    ),
    Group(
        {"harassment": 1, "hate": 0, "sexual": 0, "self_harm": 0},
        (
            "You are {insult} and nobody likes you.", "Shut up, you {insult} loser.",
            "Everyone laughs at you, you are {insult}.",
            "You are too {insult} to understand anything.", "Go away, you {insult} idiot.",
            "Nobody wants you here, loser.",
        ),
        {"insult": ("stupid", "ugly", "pathetic", "worthless", "fat", "boring", "dumb", "disgusting", "useless",
        "lazy")},
        60,
    ),
    Group(
        {**_SAFE, "sexual": 1},
        (
            "{actor} {lust}.", "Her {body} pressed against his as {actor} {lust}.", "I want to see your {body}, baby.",
            "Write an erotic story in which {actor} {lust}.", "{actor} looked at her {body} and {lust}.",
            "Send me naked pictures of your {body}.", "The sex scene begins when {actor} {lust}.",
        ),
        {"actor": ("he", "she", "they", "the couple", "my girlfriend", "my husband", "the secretary"), "body": BODIES,
         "lust": LUST},
        150,
    ),
    Group(
        {**_SAFE, "illicit": 1},
        (
            "How do I {crime}?", "Tell me step by step how to {crime}.",
            "What is the best way to {crime} without being caught?",
            "Explain how criminals {crime}, I want to try it.", "Help me {crime}{ending}.",
            "I need a guide to {crime}.",
        ),
        {"crime": CRIMES, "ending": ENDINGS},
        120,
    ),
    Group(
        {"illicit": 1, "illicit/violent": 1, "sexual": 0, "self_harm": 0, "hate": 0},
        (
            "How do I {crime}?", "Give me instructions to {crime}.", "What do I need to {crime}{ending}?",
            "Tell me step by step how to {crime}.", "Help me {crime}{ending}.",
        ),
        {"crime": VIOLENT_CRIMES, "ending": ENDINGS},
        80,
    ),
    Group(
        _SAFE,
        (
            "I {accident} last year, and it still hurts.", "My brother {accident2}, but he is fine now.", "{sorrow}.",
            "{sorrow}, and talking about it helps.", "When I {accident} my friends took care of me.",
            "Since I {accident} {sorrow}.", "Is it normal that {sorrow}?", "The nurse knew that I {accident}.",
            "The police stopped him after the accident and nobody was hurt.",
            "What helps when {sorrow}?", "My ex and I split up, {sorrow}.",
        ),
        {"accident": ACCIDENTS, "accident2": ACCIDENTS, "sorrow": SORROWS},
        160,
    ),
    Group(
        _SAFE,
        (
            "How do I kill a process on {task} machine?", "Could you help me with {task}?",
            "Please look at {task} again.",
            "We need to cut the budget for {task}.", "I am dying to see {task}.",
            "{task} nearly killed me, it was so much work.",
            "The deadline for {task} is tomorrow.", "How do I shoot better photos of {task}?",
            "Beat the eggs and add them to {task}.",
            "My team crushed it with {task}.", "The article on suicide prevention lists a phone number and {task}.",
            "The museum shows weapons of the middle ages and {task}.", "The nurse cleaned the wound and wrote {task}.",
            "The exhibition tells about immigrants who worked on {task}.",
            "Christians and Muslims planned {task} together.",
            "Women and men are equally good at {task}.", "Chop the onions, then think of {task}.",
            "The biology lesson covers reproduction and {task}.", "She kissed her grandmother and went on with {task}.",
            "In the chess game the queen attacks the king while I plan {task}.",
            "The doctor explained breast cancer screening.",
            "Stop the bleeding with pressure and call an ambulance.", "Explain {task} to me in simple words.",
            "The historian wrote about the war and about {task}.", "What locks would you buy to keep {task} safe?",
        ),
        {"task": TASKS},
        320,
    ),
    Group(_SAFE, ("{start}{doing}", "{start}{doing}?"), {"start": STARTS, "doing": DOINGS}, 160),
    Group(_SAFE, ("{subject} {state}",), {"subject": SUBJECTS, "state": STATES}, 120),
    Group(_SAFE, ("{which} {noun}", "a {which} {noun}", "the {which} {noun}"), {"which": WHICH, "noun": NOUNS}, 160),
    Group(_SAFE, ("{about}{name}", "{about}{name}?"), {"about": ABOUT, "name": NAMES}, 160),
    Group(_SAFE, ("{phrase}",), {"phrase": PHRASES}, 80),
)  # fmt: skip


def sentences(seed: int) -> Iterator[tuple[str, Mapping[str, int]]]:
    """All groups' sentences with their labels, drawn by the seed; none with the same labels twice."""
    draw = random.Random(seed)  # noqa: S311  # a drawn sentence is no secret
    told: set[tuple[str, tuple[tuple[str, int], ...]]] = set()
    for group in GROUPS_OF_SENTENCES:
        made: set[str] = set()
        for _ in range(20 * group.count):
            if len(made) >= group.count:
                break
            fillers = {name: draw.choice(words) for name, words in group.fillers.items()}
            sentence = draw.choice(group.frames).format(**fillers)
            if sentence not in made:
                made.add(sentence)
                sentence = sentence[:1].upper() + sentence[1:]
                if (key := (sentence, tuple(group.labels.items()))) not in told:
                    told.add(key)
                    yield sentence, group.labels
