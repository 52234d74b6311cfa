"""Settings: what a file may say and how a wrong one is told."""

from pathlib import Path

import pytest

from freehold.config import Settings, load_settings, parse_settings, read_secret
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings, SecretRef


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
    assert (deployment.price.input, deployment.price.output) == (150_000, 600_000)


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
    assert settings.wire()["price"] == {"input": "0.15", "cached_input": "0.075", "output": "2"}


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
