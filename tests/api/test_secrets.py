"""No secret and no content stands in the clear: files, logs, metrics and backups of a running server are scanned."""

import asyncio
import base64
import os
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from freehold.encryption.content_keys import context_of
from freehold.encryption.master_key import parse_master_key
from freehold.types.content import Tenant
from tests.api.test_kept_content import ORGANIZATION, admin, ask, make_project, paint
from tests.forked import freehold
from tests.service import Service

pytestmark = pytest.mark.slow

MASTER = base64.b64encode(os.urandom(32)).decode()
ENDPOINT_KEY = "sk-telltale-" + os.urandom(16).hex()
PROMPT = "a telltale prompt that nobody may read"
RESPONSE_PROMPT = "telltale words of a response"
CONFIG = """
[server]
starter = false
log_level = "debug"

[encryption]
master_key = { env = "TELLTALE_MASTER" }

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"

[[deployment]]
name = "brush"
engine = "echo"
model = "echo"
task = "images"

[[deployment]]
name = "elsewhere"
engine = "remote"
model = "theirs"
base_url = "http://127.0.0.1:9/v1"
api_key = { env = "TELLTALE_ENDPOINT" }
"""
SECRET_MEMBERS = ("secrets/", "admin.key")
"""What of a home, and of an unencrypted backup, is secret by its purpose; everything else is scanned."""


@dataclass
class Secrets:
    """What must not be found, by what it is."""

    known: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, secret: bytes) -> None:
        """A secret as it is, in hexadecimal digits and in Base64."""
        self.known[name] = secret
        self.known[f"{name} in hex"] = secret.hex().encode()
        self.known[f"{name} in Base64"] = base64.b64encode(secret).rstrip(b"=")[:-1]

    def found_in(self, places: Mapping[str, bytes]) -> list[tuple[str, str]]:
        """Which secret stands where."""
        return [
            (name, where) for where, data in places.items() for name, secret in self.known.items() if secret in data
        ]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with secrets in its environment, talkative in its log.

    It is started for the second time: the first start shows the new owner's key to whoever starts it, on stdout.
    """
    environment = {"TELLTALE_MASTER": MASTER, "TELLTALE_ENDPOINT": ENDPOINT_KEY}
    home = tmp_path_factory.mktemp("scanned") / "home"
    with Service(home, CONFIG, environment=environment) as first:
        pass
    first.log_path.unlink()
    with Service(home, CONFIG, environment=environment) as service:
        yield service


@pytest.fixture(scope="module")
def secrets(service: Service) -> Secrets:
    """Everything that the server was told or has made up, after a day's work in a minute."""
    found = Secrets()
    found.add("the master key", base64.b64decode(MASTER))
    found.add("the endpoint's key", ENDPOINT_KEY.encode())
    found.add("the owner's key", service.key.encode())
    for name in ("pepper", "journal.pem"):
        found.add(name, (service.home.root / "secrets" / name).read_bytes())
    project_id, key = make_project(service, "Scanned")
    found.add("a service account's key", key.encode())
    found.add("a user's key", admin(service, "POST", "/admin/keys", {"name": "app"})["key"].encode())
    script = admin(service, "POST", f"{ORGANIZATION}/admin_api_keys", {"name": "script"})
    found.add("an admin key", script["value"].encode())
    invite = admin(service, "POST", f"{ORGANIZATION}/invites", {"email": "eve@example.org", "role": "reader"})
    link = admin(service, "POST", f"{ORGANIZATION}/invites/{invite['id']}/link", {})
    found.add("an invitation's secret", str(link["token"]).encode())
    answer = ask(
        service,
        key,
        messages=[{"role": "user", "content": PROMPT}],
        headers={"idempotency-key": "a-telltale-idempotency-key"},
        user="telltale-end-user@example.org",
    )
    assert PROMPT in answer.json()["choices"][0]["message"]["content"]
    found.add("a prompt and its completion", PROMPT.encode())
    found.add("a caller's idempotency key", b"a-telltale-idempotency-key")
    found.add("an end user's name", b"telltale-end-user@example.org")
    address = paint(service, key, prompt="another telltale prompt", response_format="url").json()["data"][0]["url"]
    picture = service.get(address.removeprefix(service.url)).body
    pixels = picture.index(b"IDAT") + 4
    found.add("a picture", picture[pixels : pixels + 64])
    assert len(set(picture[pixels : pixels + 64])) > 20
    found.add("a picture's prompt", b"another telltale prompt")
    respond(service, key)
    found.add("what a response was asked", RESPONSE_PROMPT.encode())
    found.add("how a response was instructed", b"telltale instructions")
    found.add("a response's metadata", b"a-telltale-label")
    found.add("a name of a function", b"telltale_function")
    ask(service, key, model="elsewhere", messages=[{"role": "user", "content": PROMPT}])
    ask(service, "fh-a-wrong-telltale-key-" + "w" * 20)
    found.add("a wrong key", b"fh-a-wrong-telltale-key-")
    for number, key_bytes in enumerate(content_keys(service)):
        found.add(f"content key {number}", key_bytes)
    assert project_id
    return found


def respond(service: Service, key: str) -> None:
    """Responses that are kept with their items and, in the background, with their events."""
    tool = {"type": "function", "name": "telltale_function", "parameters": {"type": "object", "properties": {}}}
    for more in ({}, {"background": True, "stream": True}):
        body = {
            "model": "echo",
            "input": RESPONSE_PROMPT,
            "instructions": "telltale instructions",
            "metadata": {"label": "a-telltale-label"},
            "tools": [tool],
            **more,
        }
        reply = service.post("/v1/responses", body, key=key)
        assert reply.status == 200
        assert RESPONSE_PROMPT.encode() in reply.body
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as connection:
        for table in ("kept_responses", "kept_response_items", "kept_response_events"):
            query = f"SELECT count(*) FROM {table}"  # noqa: S608  # the tables above
            assert connection.execute(query).fetchone()[0] > 0


def content_keys(service: Service) -> list[bytes]:
    """The content keys themselves, as whoever has database and master key can unwrap them."""
    statement = "SELECT organization_id, project_id, owner_id, wrapped FROM content_keys"
    with closing(sqlite3.connect(f"{service.home.database.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(statement).fetchall()
    master = parse_master_key(MASTER, "test")
    found = [asyncio.run(master.unwrap(row[3], context_of(Tenant(*row[:3])))) for row in rows]
    assert found
    assert all(len(key) == 32 for key in found)
    return found


def backup(service: Service, file: Path, *options: str) -> Path:
    """A backup of the running home."""
    done = freehold(service.home.root, "backup", str(file), *options)
    assert done.returncode == 0, done.stderr
    return file


def test_the_files_of_a_running_home_hold_no_secret(service: Service, secrets: Secrets) -> None:
    """Database, write-ahead log, usage database, journal, log, all but the files that are secrets, hold none."""
    root = service.home.root
    files = [path for path in root.rglob("*") if path.is_file()]
    named = {path.relative_to(root).as_posix(): path for path in files}
    scanned = {name: path.read_bytes() for name, path in named.items() if not name.startswith(SECRET_MEMBERS)}
    assert {"freehold.db", "freehold.db-wal", "usage.db", "journal/main/00000001.jsonl", "test-server.log"} <= set(
        scanned
    )
    assert len(scanned["freehold.db-wal"]) > 0
    assert secrets.found_in(scanned) == []


def test_metrics_and_health_hold_no_secret(service: Service, secrets: Secrets) -> None:
    """What is public about the server tells nothing secret."""
    places = {path: service.get(path).body for path in ("/metrics", "/health/ready", "/version")}
    assert b"freehold_requests" in places["/metrics"]
    assert secrets.found_in(places) == []


def test_what_administrators_read_holds_no_secret(service: Service, secrets: Secrets) -> None:
    """Lists of keys, deployments, invitations and content keys show no secret, however much is allowed."""
    paths = [
        "/admin/keys",
        "/admin/deployments",
        "/admin/master-key",
        f"{ORGANIZATION}/admin_api_keys",
        f"{ORGANIZATION}/invites",
        f"{ORGANIZATION}/content-keys",
        f"{ORGANIZATION}/retention",
    ]
    places = {path: service.request("GET", path, key=service.key).body for path in paths}
    assert all(places.values())
    assert secrets.found_in(places) == []


def test_an_encrypted_backup_holds_no_secret(service: Service, secrets: Secrets, tmp_path: Path) -> None:
    """Of an encrypted backup nothing can be read, the files that are secret included."""
    key = tmp_path / "backup.key"
    key.write_bytes(os.urandom(32))
    file = backup(service, tmp_path / "home.backup", "--key-file", str(key))
    assert secrets.found_in({"backup": file.read_bytes()}) == []


def test_an_unencrypted_backup_holds_secrets_only_where_it_says_so(
    service: Service, secrets: Secrets, tmp_path: Path
) -> None:
    """Of a plain backup only `secrets/` and `admin.key` are secret; a master key that is elsewhere is not in it."""
    file = backup(service, tmp_path / "home.tar.gz", "--unencrypted")
    with tarfile.open(file) as archive:
        members = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        data = {name: source.read() for name, source in members.items() if source is not None}
    assert "secrets/content" not in data
    clean = {name: content for name, content in data.items() if not name.startswith(SECRET_MEMBERS)}
    assert {"freehold.db", "journal/main/00000001.jsonl", "manifest.json"} <= set(clean)
    assert secrets.found_in(clean) == []
    found = {name for name, _ in secrets.found_in(data)}
    assert "pepper" in found
    assert not any("master" in name or "content key" in name for name in found)
