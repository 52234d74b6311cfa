"""`freehold database move`: a laptop's home grows to a gateway of a cluster."""

from pathlib import Path

import pytest

from tests.cluster.gateways import CONFIG, gateway
from tests.forked import freehold
from tests.postgres import PostgreSQL
from tests.service import Service, eventually

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}

pytestmark = pytest.mark.slow


def test_a_home_moves_with_all_that_it_has(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """Keys, settings, kept answers and usage are there afterwards, the journal goes on, and a second gateway joins."""
    home, url = tmp_path / "a", postgres_server.new_database()
    with Service(home) as alone:
        made = alone.post("/admin/keys", {"name": "caller", "role": "user"}).json()
        assert alone.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200
        kept = alone.post("/v1/responses", {"model": "echo", "input": "hello"}, key=alone.key).json()
        eventually(lambda: _requests(alone) >= 2, "all is counted")
        before = _requests(alone)
    moved = freehold(home, "database", "move", "--to", url)
    assert moved.returncode == 0, moved.stderr
    assert "moved and compared" in moved.stdout
    assert not (home / "freehold.db").exists()
    assert (home / "freehold.db.moved").exists()
    listed = freehold(home, "keys", "list")
    assert "caller" in listed.stdout, "a command without settings and server finds the database"
    with gateway(tmp_path, "a", url) as first:
        assert first.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200
        assert first.get(f"/v1/responses/{kept['id']}", key=first.key).json()["output"] == kept["output"]
        eventually(lambda: _requests(first) >= before + 1, "usage goes on")
        with gateway(tmp_path, "b", url, master=home) as second:
            assert second.post("/v1/chat/completions", CHAT, key=made["key"]).status == 200
            assert second.get(f"/v1/responses/{kept['id']}", key=first.key).json()["output"] == kept["output"]


def _requests(service: Service) -> int:
    answer = service.get("/admin/usage?by=deployment", key=service.key).json()
    return sum(int(line["requests"]) for line in answer["data"])


@pytest.mark.long
def test_a_move_to_what_is_not_empty_changes_nothing(postgres_server: PostgreSQL, tmp_path: Path) -> None:
    """It is refused with what to do; the home serves as before, and cannot be started on the other database."""
    url = postgres_server.new_home()
    with gateway(tmp_path, "a", url):
        pass
    home = tmp_path / "alone"
    with Service(home):
        pass
    files = {path.name for path in home.iterdir()}
    refused = freehold(home, "database", "move", "--to", url)
    assert refused.returncode != 0
    assert "is not empty" in refused.stderr
    assert {path.name for path in home.iterdir()} == files
    config = home / "other.toml"
    place = f'{{ file = "{home}/url" }}'
    config.write_text(CONFIG.format(name="c", more="").replace('{ env = "FREEHOLD_TEST_DATABASE" }', place))
    (home / "url").write_text(url)
    wrong = freehold(home, "serve", "--port", "0", "--config", str(config))
    assert wrong.returncode != 0
    assert "freehold database move" in wrong.stderr
    with Service(home) as again:
        assert again.post("/v1/chat/completions", CHAT).status == 200
