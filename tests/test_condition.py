"""Conditions on measured numbers: what they say, and what is no condition."""

import pytest

from freehold.types.condition import parse_condition

VALUES = {"gsm8k": 0.4, "toxicity": 0.05, "house style": 0.9, "mmlu.law": 0.5}
BASE = {"gsm8k": 0.35, "toxicity": 0.04}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("gsm8k >= 0.3", True),
        ("gsm8k >= 0.3 and toxicity <= base", False),
        ("gsm8k >= 0.3 and toxicity <= base + 0.02", True),
        ("gsm8k > 0.5 or toxicity <= base * 2", True),
        ("not (gsm8k < base)", True),
        ("0.3 <= gsm8k <= base + 0.1", True),
        ("gsm8k - base >= 0.04", True),
        ("'house style' >= 0.9 and mmlu.law == 0.5", True),
        ("gsm8k != 0.4", False),
        ("-gsm8k < +0.1 - 0.2", True),
        ("unknown >= 0.1", None),
        ("unknown >= 0.1 or gsm8k > 0.3", True),
        ("unknown >= 0.1 and gsm8k > 0.5", False),
        ("'house style' >= base", None),
        ("not unknown < 1", None),
    ],
)
def test_what_a_condition_says(text: str, holds: bool | None) -> None:
    """A condition holds, does not, or rests on a number that is missing."""
    assert parse_condition(text).judge(VALUES, BASE).holds is holds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "column 1"),
        ("gsm8k", "column 1: a comparison"),
        ("gsm8k >= ", "column"),
        ("gsm8k >= 0.3 and f(1)", "column 18: a comparison"),
        ("gsm8k >= f(1)", "column 10: a name"),
        ("gsm8k in toxicity", "column 1: compare with"),
        ("gsm8k >= toxicity", "column 1: a comparison is about one name, and this one has 'gsm8k' and 'toxicity'"),
        ("0.3 >= base", "column 1: a comparison is about one name, and this one has none"),
        ("gsm8k >= True", "column 10: a name"),
        ("gsm8k ** 9 > 1", "column 1: a name"),
        ("gsm8k[0] > 1", "column 1: a name"),
        ("f().x > 1", "column 1: a name is expected"),
        ("__import__('os').system('true') > 0", "column 1"),
        ("(lambda: 1)() > 0", "column"),
        ("a > 0\nb > 0", "column"),
        ("not " * 60 + "a > 0", "nested too deeply"),
        ("a > " + "-" * 60 + "1", "nested too deeply"),
        ("a" * 1001, "1000 characters"),
    ],
)
def test_what_is_no_condition_names_the_place(text: str, place: str) -> None:
    """Whatever is not on the short list is an error that names its column, and is never executed."""
    with pytest.raises(ValueError, match=r"column|characters") as caught:
        parse_condition(text)
    assert place in str(caught.value)


def test_a_comparison_is_told_with_its_numbers() -> None:
    """Each comparison has the text as it was written, its numbers, and what is missing of whom."""
    judged = parse_condition("toxicity <= base+0.001 and unknown > 0 and 'house style' > base").judge(VALUES, BASE)
    assert [comparison.told() for comparison in judged.comparisons] == [
        "'toxicity <= base+0.001': toxicity is 0.05, base is 0.04",
        "'unknown > 0': there is no number of 'unknown' for the candidate",
        "''house style' > base': there is no number of 'house style' for the present model",
    ]
    assert parse_condition("a > 0 and b < base").names == {"a", "b"}
