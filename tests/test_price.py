"""What use costs, and from when."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from freehold.types.deployment import DeploymentSettings
from freehold.types.money import MAX_MICRO, MICRO, decimal_from_micro, micro_from_decimal
from freehold.types.price import FREE, Price, price_at

COUNTS = st.integers(0, 10**7)
AMOUNTS = st.integers(0, MAX_MICRO)


def at(text: str) -> float:
    """A moment of UTC as seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def price(**amounts: str) -> Price:
    """A price of amounts in whole units."""
    return Price.model_validate(amounts)


def priced(*prices: dict[str, str]) -> DeploymentSettings:
    """A deployment with these prices."""
    return DeploymentSettings.model_validate({"name": "a", "model": "m", "price": prices})


def test_usage_costs_by_the_million_tokens() -> None:
    """Prompt, cached prompt, completion and pictures have each their price; cached tokens are part of the prompt."""
    dear = price(input="2.50", cached_input="1.25", output="10", image="0.04")
    cost = dear.cost_micro(prompt_tokens=1000, cached_tokens=400, completion_tokens=200, images=2)
    assert cost == 600 * 2.5 + 400 * 1.25 + 200 * 10 + 2 * 40_000


def test_cached_tokens_cost_as_others_where_no_price_is_given_for_them() -> None:
    """Without `cached_input` a cached token costs what `input` says; with one of nothing it costs nothing."""
    assert price(input="1").cost_micro(prompt_tokens=10, cached_tokens=10) == 10
    assert price(input="1", cached_input="0").cost_micro(prompt_tokens=10, cached_tokens=10) == 0


def test_a_fraction_of_a_micro_unit_is_charged_as_a_whole_one() -> None:
    """A cost is rounded up once, over all tokens together."""
    cheap = price(input="0.000001", output="0.000001")
    assert cheap.cost_micro(prompt_tokens=1) == 1
    assert cheap.cost_micro(prompt_tokens=500_000, completion_tokens=500_000) == 1
    assert FREE.cost_micro(prompt_tokens=10**9, completion_tokens=10**9, images=5) == 0


@given(AMOUNTS, st.none() | AMOUNTS, AMOUNTS, AMOUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 10))
def test_no_request_costs_more_than_its_bound(
    input_micro: int,
    cached_micro: int | None,
    output: int,
    image: int,
    prompt: int,
    cached: int,
    completion: int,
    images: int,
) -> None:
    """However much of a prompt is cached, what is reserved for its tokens covers it."""
    cached_input = None if cached_micro is None else decimal_from_micro(cached_micro)
    any_price = Price.model_validate(
        {
            "input": decimal_from_micro(input_micro),
            "cached_input": cached_input,
            "output": decimal_from_micro(output),
            "image": decimal_from_micro(image),
        }
    )
    cost = any_price.cost_micro(
        prompt_tokens=prompt, cached_tokens=min(cached, prompt), completion_tokens=completion, images=images
    )
    assert cost <= any_price.bound_micro(prompt_tokens=prompt, completion_tokens=completion, images=images)


@given(AMOUNTS)
def test_an_amount_survives_being_written(micro: int) -> None:
    """What an amount is written as reads back to the same amount."""
    assert micro_from_decimal(decimal_from_micro(micro)) == micro


@pytest.mark.parametrize("amount", ["-0.1", "1e999999", "nan", "0.0000001", "1000000001", "ten", None, [], True, {}])
def test_what_is_no_amount_is_refused(amount: object) -> None:
    """An amount is a decimal number from 0 to a billion with at most six decimals."""
    with pytest.raises(ValueError, match="must"):
        micro_from_decimal(amount)


def test_the_price_of_the_day_is_in_force() -> None:
    """A dated price is in force from its first day, 00:00 UTC, until the next one's; before the first nothing costs."""
    prices = priced({"from": "2026-12-01", "input": "2"}, {"from": "2026-11-01", "input": "1"}).price
    found = [
        price_at(prices, at(moment)).input
        for moment in ("2026-10-31T23:59:59", "2026-11-01T00:00:00", "2026-11-30T23:59:59", "2026-12-01T00:00:00")
    ]
    assert found == [0, 1_000_000, 1_000_000, 2_000_000]
    assert price_at((), at("2026-11-01T00:00:00")) is FREE


def test_an_undated_price_is_in_force_until_the_first_dated_one() -> None:
    """The price without a day holds from the beginning."""
    deployment = priced({"from": "2026-12-01", "input": "2"}, {"input": "1"})
    assert deployment.price_at(at("1999-01-01T00:00:00")).input == 1_000_000
    assert deployment.price_at(at("2027-01-01T00:00:00")).input == 2_000_000


def test_two_prices_of_one_day_are_refused() -> None:
    """Which of two prices is meant cannot be told."""
    with pytest.raises(ValidationError, match="two prices are in force from 2026-12-01"):
        priced({"from": "2026-12-01", "input": "2"}, {"from": "2026-12-01", "input": "1"})


def test_a_price_is_named_by_its_day_and_its_amounts() -> None:
    """Receipts tell prices apart: another amount or another day is another version, the same price the same."""
    versions = {
        price(**amounts).version for amounts in ({"input": "1"}, {"input": "2"}, {"input": "1", "from": "2026-12-01"})
    }
    assert len(versions) == 3
    assert price(input="1.0").version == price(input="1").version
    assert price(**{"from": "2026-12-01"}).version.startswith("2026-12-01/")
    assert price(input="1").version.startswith("always/")


def test_prices_survive_the_wire() -> None:
    """One price is written as a table, several as a list, and both read back to the same deployment."""
    one = priced({"input": "0.15", "cached_input": "0"})
    several = priced({"input": "0.15"}, {"from": "2026-12-01", "output": "0.6"})
    assert isinstance(one.wire()["price"], dict)
    assert [entry.get("from") for entry in several.wire()["price"]] == [None, "2026-12-01"]
    for deployment in (one, several):
        assert DeploymentSettings.model_validate(deployment.wire()) == deployment


@given(
    amount=st.integers(0, 10**12),
    factor=st.integers(0, MICRO),
    cached=st.none() | st.integers(0, 10**12),
)
def test_a_factor_is_exact(amount: int, factor: int, cached: int | None) -> None:
    """Each amount is the product, rounded up by less than a micro-unit; the name is that of the amounts charged."""
    price = Price.model_construct(since=None, input=amount, cached_input=cached, output=7, image=3)
    assert price.version
    scaled = price.times(factor)
    assert 0 <= scaled.input * MICRO - amount * factor < MICRO
    if cached is None:
        assert scaled.cached_input is None
    else:
        assert scaled.cached_input is not None
        assert 0 <= scaled.cached_input * MICRO - cached * factor < MICRO
    assert (scaled.version == price.version) == (scaled == price)
    assert price.times(MICRO) is price
