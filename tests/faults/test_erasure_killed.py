"""The server is killed with SIGKILL while it erases or exchanges the master key; done again, all is as it must be."""

import random
import signal
import threading
import urllib.error
from http.client import HTTPException
from pathlib import Path

import pytest

from freehold.journal.erasure_certificate import verify_certificate
from tests.api.test_kept_content import CONFIG, ORGANIZATION, admin, ask, make_project
from tests.faults.books import check_verified
from tests.service import Service

pytestmark = pytest.mark.slow

ROUNDS, SHORT_ROUNDS = 4, 2
LONGEST_S = 0.06
"""A server lives up to so long once it was asked."""


def killed_while(service: Service, path: str, choice: random.Random) -> None:
    """Ask for something, and kill the server before, while or after it is done."""

    def request() -> None:
        try:
            service.request("POST", path, {}, key=key)
        except (urllib.error.URLError, HTTPException, OSError):
            return

    key = service.key
    asking = threading.Thread(target=request)
    asking.start()
    asking.join(choice.uniform(0, LONGEST_S))
    service.process.send_signal(signal.SIGKILL)
    service.stop()
    asking.join()


def test_an_erasure_that_was_cut_off_is_finished_by_the_next_call(tmp_path: Path, full_size: bool) -> None:
    """Whenever the server dies, the content is whole afterwards or its key gone, and the next call proves it gone."""
    choice = random.Random(20261127)
    for _ in range(ROUNDS if full_size else SHORT_ROUNDS):
        with Service(tmp_path / "home", CONFIG) as service:
            project_id, key = make_project(service, "Erased")
            assert ask(service, key, headers={"idempotency-key": "one"}).status == 200
            path = f"{ORGANIZATION}/projects/{project_id}/erase"
            killed_while(service, path, choice)
        with Service(tmp_path / "home", CONFIG) as service:
            reply = ask(service, key, headers={"idempotency-key": "one"})
            assert (reply.status, reply.headers.get("idempotent-replayed")) in {(200, "true"), (401, None), (403, None)}
            certificate = service.request("POST", path, key=service.key)
            said = verify_certificate(certificate.body, journal=service.home.journal / "main").said
            assert len(said["content_keys_destroyed"]) == 1
            assert ask(service, key).status == 401
            listed = admin(service, "GET", f"{ORGANIZATION}/content-keys")["data"]
            assert {row["state"] for row in listed if row["project_id"] == project_id} == {"destroyed"}
    check_verified(tmp_path / "home")


def test_a_rotation_that_was_cut_off_loses_nothing(tmp_path: Path, full_size: bool) -> None:
    """Whenever the server dies, what was kept can be read, and the next rotation leaves one master key."""
    choice = random.Random(20261128)
    keys = []
    with Service(tmp_path / "home", CONFIG) as service:
        for number in range(5):
            _, key = make_project(service, f"Rotated {number}")
            keys.append(key)
            assert ask(service, key, headers={"idempotency-key": "one"}).status == 200
    for _ in range(ROUNDS if full_size else SHORT_ROUNDS):
        with Service(tmp_path / "home", CONFIG) as service:
            killed_while(service, "/admin/master-key/rotate", choice)
        with Service(tmp_path / "home", CONFIG) as service:
            for key in keys:
                again = ask(service, key, headers={"idempotency-key": "one"})
                assert again.headers["idempotent-replayed"] == "true"
    with Service(tmp_path / "home", CONFIG) as service:
        answer = admin(service, "POST", "/admin/master-key/rotate", {})
        assert list(answer["content_keys"].items()) == [(answer["name"], 5)]
    assert sorted(path.name for path in (tmp_path / "home" / "secrets").glob("content*")) == ["content"]
    check_verified(tmp_path / "home")
