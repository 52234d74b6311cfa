import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from freehold.engines.base import EngineSpec
from freehold.engines.remote import RemoteConnection, RemoteEngine
from freehold.errors import ConfigError, EngineUnavailable
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature
from tests.engines.subject import chat_request, hear

ANSWER = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def settings(base_url: str | None = "http://127.0.0.1:9/v1", **options: Any) -> DeploymentSettings:
    """Settings of a remote deployment."""
    return DeploymentSettings(name="r", model="gpt-x", engine="remote", base_url=base_url, options=options)


def connected(given: DeploymentSettings, api_key: str | None = None) -> RemoteConnection:
    """A connection as the supervisor makes it."""
    RemoteEngine().validate(given)
    return RemoteEngine().connect(EngineSpec(given, api_key=api_key), Path("unused"))


def first_request(base_path: str, api_key: str | None, **options: Any) -> tuple[str, dict[str, str], dict[str, Any]]:
    """URL, headers and body of the request that a chat sends to a real server."""
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.path_qs, {k.lower(): v for k, v in request.headers.items()}, await request.json()))
        return web.Response(body=ANSWER, content_type="text/event-stream")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        connection = connected(settings(f"http://127.0.0.1:{runner.addresses[0][1]}{base_path}", **options), api_key)
        try:
            assert (await hear(connection.chat(chat_request(max_completion_tokens=9)))).text == "hi"
        finally:
            await connection.close()
            await runner.cleanup()

    asyncio.run(main())
    return seen[0]


def test_openai_dialect_sends_a_bearer_key() -> None:
    """The path follows the base URL, the key is a bearer's, and the caller's word for the limit is kept."""
    path, headers, body = first_request("/v1/", "sk-1", headers={"x-team": "blue"})
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["x-team"] == "blue"
    assert body["model"] == "gpt-x"
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_azure_dialect_has_the_deployment_in_the_path() -> None:
    """Azure's path, version and key header are used; the deployment is the model unless it is named."""
    path, headers, _ = first_request("/", "k", dialect="azure", deployment="my gpt", api_version="2025-01-01")
    assert path == "/openai/deployments/my%20gpt/chat/completions?api-version=2025-01-01"
    assert headers["api-key"] == "k"
    assert "authorization" not in headers
    path, _, _ = first_request("/openai", None, dialect="azure")
    assert path.startswith("/openai/deployments/gpt-x/chat/completions?api-version=20")


def test_no_credential_is_sent_without_one() -> None:
    """Without an API key no credential is sent."""
    _, headers, _ = first_request("/v1", None)
    assert not {"authorization", "api-key"} & set(headers)


def test_endpoint_that_is_down_opens_but_does_not_check() -> None:
    """A deployment can be opened while its endpoint is down; its health shows that, without the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        connection = connected(settings(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))

        async def main() -> None:
            try:
                traits = await connection.open()
                assert Feature.CHAT in traits.features
                assert Feature.SUFFIX not in traits.features
                with pytest.raises(EngineUnavailable) as caught:
                    await connection.check()
                assert "127.0.0.1" not in caught.value.message
                with pytest.raises(EngineUnavailable):
                    await hear(connection.chat(chat_request()))
            finally:
                await connection.close()

        asyncio.run(main())


@pytest.mark.parametrize("status", [200, 401, 404, 429, 500, 503])
def test_any_answer_is_a_sign_of_life(status: int) -> None:
    """The check passes at any HTTP answer: what an endpoint says about its models says nothing of its work."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        connection = connected(settings(f"http://127.0.0.1:{runner.addresses[0][1]}/v1"))
        try:
            await connection.check()
        finally:
            await connection.close()
            await runner.cleanup()
        with pytest.raises(EngineUnavailable):
            await connection.check()

    asyncio.run(main())


def test_features_are_the_operators_to_say() -> None:
    """The option `features` replaces what an endpoint is taken to do."""
    traits = asyncio.run(connected(settings(features=["chat", "suffix"])).open())
    assert traits.features == {Feature.CHAT, Feature.SUFFIX}


def test_nothing_is_launched() -> None:
    """There is no process to start."""
    assert RemoteEngine().launch(EngineSpec(settings()), Path("unused")) is None


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (settings(None), "base_url"),
        (settings("http://"), "base_url"),
        (settings("http://host:port/v1"), "base_url"),
        (settings("https://me:secret@host/v1"), "base_url"),
        (settings("https://host/v1?key=secret"), "base_url"),
        (settings(colour="red"), "options.colour"),
        (settings(dialect="french"), "options.dialect"),
        (settings(deployment="d"), "options.deployment"),
        (settings(features=["chat", "flying"]), "options.features"),
        (settings(features=[["chat"]]), "options.features"),
        (settings(timeout_s=0), "options.timeout_s"),
        (settings(timeout_s="long"), "options.timeout_s"),
        (settings(headers={"Authorization": "Bearer x"}), "options.headers.Authorization"),
        (settings(headers={"x-a": "b\r\nc: d"}), "options.headers.x-a"),
        (settings(headers={"x-a": 3}), "options.headers.x-a"),
        (settings(headers={"x a": "b"}), "options.headers.x a"),
    ],
)
def test_wrong_settings_are_named(given: DeploymentSettings, param: str) -> None:
    """Each setting that cannot work is refused by its name, and no secret is repeated."""
    with pytest.raises(ConfigError) as caught:
        RemoteEngine().validate(given)
    assert caught.value.param == param
    assert caught.value.message.startswith(param)
    assert "secret" not in caught.value.message
