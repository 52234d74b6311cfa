"""Policies and requests for tests, and strategies that draw them."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from freehold.types.policy import PolicyRequest, PolicySettings
from freehold.types.receipt import Scalar

REQUEST = PolicyRequest(
    organization="org-default",
    project="proj-a",
    roles=frozenset({"user"}),
    member="user-1",
    key="key_1",
    deployment="chat",
    model="smollm2",
    zone="eu",
    content_filter="default",
)


def policy(name: str = "p", **settings: Any) -> PolicySettings:
    """A policy, as a file would have it."""
    return PolicySettings.model_validate({"name": name, **settings})


def asking(**changes: Any) -> PolicyRequest:
    """A request that differs from `REQUEST`."""
    return replace(REQUEST, **changes)


WORDS = ("a", "ab", "b")
_names = st.lists(st.sampled_from((*WORDS, "a*", "?", "[ab]", "*")), min_size=1, max_size=2)
_maybe_names = st.none() | _names


def _some(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A table of the keys that were drawn, none of them None."""
    return st.fixed_dictionaries(strategies).map(
        lambda drawn: {name: value for name, value in drawn.items() if value is not None}
    )


_maybe_numbers = st.none() | st.integers(1, 5)
_policies = _some(
    applies_to=_some(projects=_maybe_names, roles=_maybe_names, keys=_maybe_names, deployments=_maybe_names),
    deployments=_some(allow=_maybe_names, deny=_maybe_names),
    models=_some(allow=_maybe_names, deny=_maybe_names),
    ceilings=_some(
        max_tokens=_maybe_numbers,
        n=_maybe_numbers,
        messages=_maybe_numbers,
        temperature=st.none() | st.sampled_from((0.25, 1.0)),
        size=st.none() | st.sampled_from(("1x1", "2x3")),
    ),
    on_exceed=st.sampled_from(("refuse", "clamp")),
    require_filter=_maybe_names,
    zones=_maybe_names,
).filter(lambda drawn: any(drawn.get(name) for name in drawn if name not in {"applies_to", "on_exceed"}))


@st.composite
def policy_lists(draw: st.DrawFn) -> list[PolicySettings]:
    """A few policies of different names."""
    drawn = draw(st.lists(_policies, max_size=4))
    return [policy(f"p{number}", **settings) for number, settings in enumerate(drawn)]


_word = st.sampled_from((*WORDS, ""))
requests: st.SearchStrategy[PolicyRequest] = st.builds(
    PolicyRequest,
    organization=st.just("a"),
    project=_word,
    roles=st.frozensets(st.sampled_from(WORDS)),
    member=_word,
    key=_word,
    deployment=st.sampled_from(WORDS),
    model=st.sampled_from(WORDS),
    zone=_word,
    content_filter=_word,
)
parameters: st.SearchStrategy[dict[str, Scalar]] = _some(
    max_tokens=_maybe_numbers,
    max_completion_tokens=_maybe_numbers,
    n=_maybe_numbers,
    messages=_maybe_numbers,
    temperature=st.none() | st.sampled_from(("0.25", "0.5", "2.0")),
    size=st.none() | st.sampled_from(("1x1", "2x2", "auto")),
)
