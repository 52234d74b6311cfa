"""Where content of a project may be kept: `database.zone` against the zones of policies."""

import asyncio
import json
from pathlib import Path

from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.governance.directory import ORGANIZATION
from freehold.types.identity import Role
from tests.fuzz.walking import bearer, call

SENT = b"text in a file"
FORM = (
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + SENT + b"\r\n--b--\r\n"
)
MULTIPART = (b"content-type", b"multipart/form-data; boundary=b")


def _settings(project_id: str, zone: str | None) -> Settings:
    database = {} if zone is None else {"zone": zone}
    policy = {"name": "stays-in-eu", "applies_to": {"projects": [project_id]}, "zones": ["eu"]}
    return parse_settings({"server": {"starter": False}, "database": database, "policy": [policy]}, Settings)


def test_content_is_kept_only_where_policies_permit(tmp_path: Path) -> None:
    """A project that may be in eu alone keeps nothing in us, which its receipt says; other projects and zones do."""

    async def scenario() -> str:
        starter = parse_settings({"server": {"starter": False}}, Settings)
        async with open_app(tmp_path, starter, engines=False) as app:
            project = (await app.directory.create_project(ORGANIZATION, "european")).id
            member = await app.directory.create_service_account(ORGANIZATION, project, "bot", [Role.USER])
            key = (await app.keys.create("bot", member, project))[1]
            elsewhere = (await app.keys.issue("user", Role.USER))[1]
        for zone, of, status in (
            (None, key, 200),
            ("eu", key, 200),
            ("us", key, 403),
            ("us", elsewhere, 200),
        ):
            async with open_app(tmp_path, _settings(project, zone), engines=False) as app:
                answer = await call(app.asgi, "POST", "/v1/files", bearer(of), MULTIPART, body=FORM)
                assert answer.status == status, (zone, answer.body)
                listed = json.loads((await call(app.asgi, "GET", "/v1/files", bearer(key))).body)["data"]
                assert len(listed) == (1 if zone is None else 2), "what was kept before stays"
        return project

    project = asyncio.run(scenario())
    texts = [file.read_text() for file in tmp_path.glob("journal/main/*.jsonl")]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    receipts = [line["body"] for line in lines if line["kind"] == "receipt"]
    assert [body["project_id"] for body in receipts if body.get("error_code") == "policy_denied"] == [project]


def test_the_refusal_names_zone_and_parameter(tmp_path: Path) -> None:
    """Who may not keep content here is told where it would be, and which parameter asks for it."""

    async def scenario() -> None:
        async with open_app(tmp_path, _settings("proj-default", "us"), engines=False) as app:
            key = (await app.keys.issue("user", Role.USER))[1]
            answer = await call(app.asgi, "POST", "/v1/files", bearer(key), MULTIPART, body=FORM)
            error = json.loads(answer.body)["error"]
            assert (answer.status, error["code"], error["param"]) == (403, "policy_denied", "file")
            assert "the zone 'us'" in error["message"]

    asyncio.run(scenario())
