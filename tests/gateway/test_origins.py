"""A policy may demand that weights have a recorded origin."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from freehold.app import App, open_app
from freehold.config import Settings, parse_settings
from freehold.gateway.origins import Origins
from freehold.governance.directory import ORGANIZATION
from freehold.store.database import Database
from freehold.store.models import put_model
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import Role
from freehold.types.lineage import Artifact, ArtifactKind
from freehold.types.model import ModelEntry
from tests.catalog.making import gguf_bytes
from tests.catalog.serving import open_catalog
from tests.fuzz.walking import bearer, call
from tests.gateway.test_lineage import open_lineage

DIGEST = hashlib.sha256(gguf_bytes()).hexdigest()
SETTINGS = parse_settings(
    {
        "server": {"starter": False},
        "deployment": [
            {"name": "copied", "model": "copied", "engine": "llamacpp"},
            {"name": "pinned", "model": "pinned", "engine": "llamacpp"},
        ],
        "policy": [
            {"name": "known", "applies_to": {"projects": ["proj-default"]}, "require_origin": True},
        ],
        "case": [
            {"name": "a", "request": {"deployment": "pinned", "origin": "recorded"}, "expect": "allow"},
            {"name": "b", "request": {"deployment": "pinned", "origin": "unrecorded"}, "expect": "deny"},
        ],
    },
    Settings,
)


async def chat(app: App, key: str, model: str) -> dict[str, Any]:
    """The error of a chat: no engine runs, so there is one."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "a"}]}).encode()
    json_type = (b"content-type", b"application/json")
    answer = await call(app.asgi, "POST", "/v1/chat/completions", bearer(key), json_type, body=body)
    error: dict[str, Any] = json.loads(answer.body)["error"]
    return error


def test_unrecorded_weights_are_closed_to_a_project(tmp_path: Path) -> None:
    """The project is denied copied weights, by the rule, and let to pinned ones; another is let to both."""
    (tmp_path / "m.gguf").write_bytes(gguf_bytes() + b"other")
    (tmp_path / "n.gguf").write_bytes(gguf_bytes())

    async def scenario() -> None:
        async with open_app(tmp_path / "home", SETTINGS, engines=False) as app:
            await app.catalog.pull(f"file://{tmp_path}/m.gguf", name="copied")
            await app.catalog.pull(f"file://{tmp_path}/n.gguf", name="pinned", sha256=DIGEST)
            key = (await app.keys.issue("user", Role.USER))[1]
            denied = await chat(app, key, "copied")
            assert denied["code"] == "policy_denied"
            assert "rule 'require_origin': the weights of the deployment 'copied' have no recorded" in denied["message"]
            assert (await chat(app, key, "pinned"))["code"] != "policy_denied"
            project = await app.directory.create_project(ORGANIZATION, "other")
            member = await app.directory.create_service_account(ORGANIZATION, project.id, "other", [Role.USER])
            other = (await app.keys.create("other", member, project.id))[1]
            assert (await chat(app, other, "copied"))["code"] != "policy_denied"

    asyncio.run(scenario())


def test_which_models_have_a_recorded_origin(tmp_path: Path) -> None:
    """A hub's, a pinned one and one made here from recorded parts have; what nobody recorded or can check has not."""
    hub, copied, tuned, half, bare = (digit * 64 for digit in "abcde")
    artifacts = [
        Artifact(hub, ArtifactKind.MODEL, "hub", facts={"source": "hf://org/repo"}),
        Artifact(copied, ArtifactKind.MODEL, "copied", facts={"source": "https://example.org/m.gguf"}),
        Artifact("f" * 64, ArtifactKind.FILE, "file-1"),
        Artifact(tuned, ArtifactKind.MODEL, "tuned", (hub, "f" * 64)),
        Artifact(half, ArtifactKind.MODEL, "half", (copied, "f" * 64)),
        Artifact("1" * 64, ArtifactKind.MODEL, "torn", (hub, "0" * 64)),
    ]
    models = {"hub": hub, "copied": copied, "tuned": tuned, "half": half, "bare": bare, "torn": "1" * 64}

    async def scenario() -> dict[str, bool]:
        async with open_lineage(tmp_path) as (lineage, _), open_catalog(tmp_path) as catalog:
            database = await Database.open(tmp_path / "freehold.db")
            for name, digest in models.items():
                await put_model(database, ModelEntry(name, f"hf://x/{name}", digest, digest, 1, "gguf"))
            await database.close()
            for artifact in artifacts:
                await lineage.record(artifact)
            origins = Origins(lineage, catalog)
            await origins.refresh()
            return {name: origins.has_origin(DeploymentSettings(name="d", model=name)) for name in models}

    found = asyncio.run(scenario())
    assert [name for name in found if found[name]] == ["hub", "tuned"]


def test_weights_that_are_not_in_the_catalog(tmp_path: Path) -> None:
    """The painter's own weights have an origin; weights in a folder of somebody's, and those elsewhere, have none."""

    async def scenario() -> list[bool]:
        async with open_lineage(tmp_path) as (lineage, _), open_catalog(tmp_path) as catalog:
            origins = Origins(lineage, catalog)
            painter = {"name": "p", "model": "p", "engine": "painter", "task": "images"}
            remote = {"name": "r", "model": "r", "engine": "remote", "base_url": "https://example.org/v1"}
            asked = (painter, painter | {"options": {"folder": "/tmp"}}, remote)
            return [origins.has_origin(DeploymentSettings.model_validate(settings)) for settings in asked]

    assert asyncio.run(scenario()) == [True, False, False]
