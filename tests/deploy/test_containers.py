"""The container file and the compose file."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from freehold.config import load_settings
from tests.deploy.manifests import folder

CONTAINERFILE = folder("Containerfile")
COMPOSE = folder("compose")


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_the_container_file_is_as_hadolint_wants_it() -> None:
    """Hadolint finds nothing in the container file, information included."""
    program = Path(sys.prefix) / "bin" / "hadolint"
    argv = [str(program), "--failure-threshold", "info", "--no-color", str(CONTAINERFILE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_is_made_of_what_is_locked() -> None:
    """Every installation is by hashes or without an index, and the container runs as nobody in particular."""
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip install[^&\n]*", text)
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    final = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 65532:65532$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    assert "pip" not in final


def test_nothing_but_the_sources_goes_into_the_build() -> None:
    """The build sees what it names and nothing else: no home, no key, no environment of this folder."""
    lines = folder("Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name.rstrip("/") for each in copied for name in each.split()}
    allowed = {line[1:].removesuffix("/*.txt") for line in lines if line.startswith("!")}
    assert named == allowed


def test_the_compose_file_is_one() -> None:
    """The schema of the compose specification takes it."""
    assert _compose()["services"].keys() == {"gateway-1", "gateway-2", "database", "proxy"}
    jsonschema.validate(_compose(), get_builtin_schema("vendor.compose-spec"))


def test_no_service_of_the_compose_file_may_more_than_it_must() -> None:
    """Every service drops its capabilities and gains none; gateways write to their home and /tmp alone."""
    services = _compose()["services"]
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for name in ("gateway-1", "gateway-2"):
        assert services[name]["read_only"] is True
        writable = [volume for volume in services[name]["volumes"] if not volume.endswith(":ro")]
        assert writable == [f"{name}:/var/lib/freehold"]
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
    assert services["database"]["networks"] == ["inside"]
    assert _compose()["networks"]["inside"] == {"internal": True}
    assert "ports" not in services["database"]


def test_the_gateways_configuration_is_one() -> None:
    """Freehold takes the configuration that the compose file mounts, and its secrets stand in the files of its own."""
    settings = load_settings(COMPOSE / "freehold.toml")
    assert settings.server.public_url == "https://localhost:8443"
    wanted = tomllib.loads((COMPOSE / "freehold.toml").read_text(encoding="utf-8"))
    named = {wanted["database"]["url"]["file"], wanted["encryption"]["master_key"]["file"]}
    given = set(_compose()["services"]["gateway-1"]["secrets"])
    assert {Path(each).name for each in named} == given
    assert given < _compose()["secrets"].keys()


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """The script makes the three secrets, nobody else's to read, and leaves alone what is there."""
    script = tmp_path / "secrets.sh"
    script.write_bytes((COMPOSE / "secrets.sh").read_bytes())
    subprocess.run(["sh", str(script)], check=True, timeout=60)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == {"database_password", "database_url", "master_key"}
    assert re.fullmatch(r"[0-9a-f]{64}", made["master_key"])
    assert made["database_url"] == f"postgresql://freehold:{made['database_password']}@database/freehold"
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    subprocess.run(["sh", str(script)], check=True, timeout=60)
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
