"""Settings: what a file may say and how a wrong one is told."""

from pathlib import Path

import pytest

from freehold.config import Settings, load_settings, parse_settings, read_secret
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings, SecretRef
from freehold.types.limits import LimitSettings


def write(folder: Path, text: str) -> Path:
    """A configuration file with this text."""
    path = folder / "freehold.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_gives_the_defaults() -> None:
    """Without a file the server listens on the loopback address, port 8080."""
    settings = load_settings(None)
    assert (settings.server.host, settings.server.port, settings.deployment) == ("127.0.0.1", 8080, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "server.prot: unknown key; did you mean 'port'?"),
        ("[sever]\nport = 1", "sever: unknown key; did you mean 'server'?"),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\nengin = "x"',
            "deployment[0].engin: unknown key; did you mean 'engine'?",
        ),
        ('[[deployment]]\nmodel = "m"', "deployment[0].name: is required"),
        ('[[deployment]]\nname = "a b"\nmodel = "m"', "deployment[0].name: String should match pattern"),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\naliases = ["a"]',
            "deployment[0]: aliases: 'a' is the deployment's own",
        ),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\nfallbacks = ["a"]',
            "deployment[0]: fallbacks: 'a' cannot fall back",
        ),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\n[[deployment]]\nname = "b"\nmodel = "m"\naliases = ["a"]',
            "deployment[1]: 'a' is already used by deployment 'a'",
        ),
        ('[server]\nport = "http"', "server.port: should be a valid integer"),
        ('[[deployment]]\nname = "a"\nmodel = "m"\nprice = { input = "-1" }', "deployment[0].price.input: must not be"),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\nprice = [{ input = "1" }, { output = "x" }]',
            'deployment[0].price[1].output: must be a decimal number such as "0.15"',
        ),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\nprice = [{ input = "1" }, { input = "2" }]',
            "deployment[0].price: two prices are in force from the beginning",
        ),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\nprice = { form = 2026-12-01 }',
            "deployment[0].price.form: unknown key; did you mean 'from'?",
        ),
        (
            '[[limit]]\nscope = "team"\nid = "a"\nrequests_per_minute = 1',
            "limit[0].scope: should be 'organization', 'project', 'key', 'end_user', 'deployment' or 'project_dep",
        ),
        ('[[limit]]\nscope = "key"\nid = "a"\nbudget_per_day = "-1"', "limit[0].budget_per_day: must not be negative"),
        ('[[limit]]\nscope = "key"\nid = "a"\nconcurrent_requests = -1', "limit[0].concurrent_requests: should be"),
        ('[[limit]]\nscope = "key"\nid = "a"', "limit[0]: give at least one of requests_per_minute,"),
        (
            '[[limit]]\nscope = "key"\nid = "a"\nbudget_per_dya = 1',
            "limit[0].budget_per_dya: unknown key; did you mean 'budget_per_day'?",
        ),
        (
            '[[limit]]\nscope = "key"\nid = "a"\nbudget_per_day = 1\n' * 2,
            "limit[1]: there is already a limit of key 'a'",
        ),
        (
            '[[deployment]]\nname = "a"\nmodel = "m"\napi_key = { env = "A", file = "b" }',
            "deployment[0].api_key: give either 'env' or 'file'",
        ),
        ("[server\n", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_with_the_path_of_the_key(tmp_path: Path, text: str, message: str) -> None:
    """A wrong key or value is named by its path, with the key that was likely meant."""
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert message in caught.value.message


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    """A file that is not there is an error of the configuration, not a traceback."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        load_settings(tmp_path / "none.toml")


def test_the_readme_example_is_accepted(tmp_path: Path) -> None:
    """A deployment of another service's endpoint is described by a name, a URL and where its key is kept."""
    text = """
[[deployment]]
name = "partner"
engine = "remote"
model = "their-model"
base_url = "http://127.0.0.1:9001/v1"
api_key = { env = "PARTNER_KEY" }
aliases = ["gpt-4o"]
price = { input = "0.15", output = "0.6" }
"""
    deployment = load_settings(write(tmp_path, text)).deployment[0]
    assert deployment.aliases == ["gpt-4o"]
    (price,) = deployment.price
    assert (price.input, price.output) == (150_000, 600_000)


def test_settings_survive_the_wire() -> None:
    """What `wire` writes is read back as the same settings."""
    raw = {
        "name": "a",
        "model": "m",
        "price": {"input": "0.15", "cached_input": "0.075", "output": 2},
        "defaults": {"temperature": 0.2},
        "options": {"threads": 2},
        "idle_unload_s": 60,
    }
    settings = parse_settings(raw, DeploymentSettings)
    assert DeploymentSettings.model_validate(settings.wire()) == settings
    assert settings.wire()["price"] == {"input": "0.15", "cached_input": "0.075", "output": "2", "image": "0"}


def test_dated_prices_and_limits_are_read_from_a_file(tmp_path: Path) -> None:
    """A list of prices is kept by its dates, and budgets become micro-units; both survive the wire."""
    text = """
[[deployment]]
name = "a"
model = "m"
price = [{ from = 2026-12-01, input = "0.3" }, { input = "0.15", image = "0.02" }]

[[limit]]
scope = "project"
id = "proj-default"
requests_per_minute = 60
budget_per_month = "12.50"
"""
    settings = load_settings(write(tmp_path, text))
    deployment, limit = settings.deployment[0], settings.limit[0]
    assert [(str(price.since), price.input) for price in deployment.price] == [
        ("None", 150_000),
        ("2026-12-01", 300_000),
    ]
    assert (limit.requests_per_minute, limit.budget_per_month, limit.budget_per_day) == (60, 12_500_000, None)
    assert DeploymentSettings.model_validate(deployment.wire()) == deployment
    assert LimitSettings.model_validate(limit.wire()) == limit
    assert limit.wire()["budget_per_month"] == "12.5"


def test_secrets_are_read_from_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret comes from a variable or a file, without its line end; a missing one is named."""
    monkeypatch.setenv("FREEHOLD_TEST_SECRET", "s3cret\n")
    (tmp_path / "key").write_text("other\n", encoding="utf-8")
    assert read_secret(SecretRef(env="FREEHOLD_TEST_SECRET")) == "s3cret"
    assert read_secret(SecretRef(file=str(tmp_path / "key"))) == "other"
    with pytest.raises(ConfigError, match="FREEHOLD_NO_SUCH"):
        read_secret(SecretRef(env="FREEHOLD_NO_SUCH"))


def test_settings_do_not_change() -> None:
    """Settings are values: assigning to one is an error."""
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1
