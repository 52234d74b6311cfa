"""Somebody else's endpoint: OpenAI, Azure OpenAI, a vLLM server, another Freehold, whatever speaks the API."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from freehold.engines.base import Engine, EngineSpec, Launch, check_options
from freehold.engines.openai_http import OpenAIConnection
from freehold.engines.openai_transport import ConnectionLimits
from freehold.engines.remote_pictures import paint_remotely
from freehold.errors import ConfigError, EngineTimeout, EngineUnavailable, FreeholdError
from freehold.types.address import Address
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits, features_for
from freehold.types.images import PaintEvent, PaintRequest

FEATURES = frozenset(Feature) - {Feature.SUFFIX, Feature.REASONING}
"""What an endpoint is taken to do, as far as it matters to the deployment's task, unless the option `features` says
otherwise."""
AZURE_API_VERSION = "2024-10-21"
TIMEOUT_S = 600.0
CHECK_TIMEOUT_S = 10.0
KEEPALIVE_S = 15.0

OPTIONS: Mapping[str, type | tuple[type, ...]] = {
    "dialect": str,
    "api_version": str,
    "deployment": str,
    "features": list,
    "timeout_s": (int, float),
    "headers": dict,
}
_OWN_HEADERS = frozenset({"authorization", "api-key", "content-length", "content-type", "host", "transfer-encoding"})


class RemoteConnection(OpenAIConnection):
    """Talks to an endpoint on the network.

    It has no counters (`counters` gives None): an endpoint serves others as well, and most tell nothing of it.

    Args:
        settings: the deployment's; validated.
        api_key: the endpoint's credential, if it wants one.
    """

    limit_field: ClassVar[str | None] = None
    """Newer models take only `max_completion_tokens`, older servers only `max_tokens`; the caller knows which."""

    def __init__(self, settings: DeploymentSettings, api_key: str | None) -> None:
        options = settings.options
        limits = ConnectionLimits(read_s=float(options.get("timeout_s", TIMEOUT_S)), keepalive_s=KEEPALIVE_S)
        self._azure = options.get("dialect", "openai") == "azure"
        base_url = (settings.base_url or "").rstrip("/")
        if self._azure:
            base_url = base_url.removesuffix("/openai")
        super().__init__(model=settings.model, base_url=base_url, limits=limits)
        self._deployment = str(options.get("deployment", settings.model))
        self._api_version = str(options.get("api_version", AZURE_API_VERSION))
        self._headers = _headers(options.get("headers", {}), api_key, azure=self._azure)
        self._traits = Traits(
            features=frozenset(
                Feature(name) for name in options.get("features", features_for(settings.task, FEATURES))
            ),
            context_length=settings.context_length,
            parallel=settings.parallel,
        )

    def url(self, operation: str) -> str:
        """See `OpenAIConnection.url`; Azure has the deployment in the path and the API's version in the query."""
        if not self._azure:
            return super().url(operation)
        where = "" if operation == "models" else f"/deployments/{quote(self._deployment, safe='')}"
        return f"{self._base_url}/openai{where}/{operation}?api-version={quote(self._api_version, safe='')}"

    def headers(self) -> Mapping[str, str]:
        """See `OpenAIConnection.headers`."""
        return self._headers

    def paint(self, request: PaintRequest) -> AsyncGenerator[PaintEvent]:
        """See `Connection.paint`."""
        return paint_remotely(self, request, self._model)

    async def open(self) -> Traits:
        """See `Connection.open`. Asks nobody: an endpoint that is down must not keep Freehold from starting."""
        return self._traits

    async def check(self) -> None:
        """See `Connection.check`. Any answer will do: an endpoint that lists no models can still work."""
        try:
            await self.fetch("GET", self.url("models"), timeout_s=CHECK_TIMEOUT_S)
        except EngineTimeout as exc:
            raise EngineUnavailable("the endpoint does not answer") from exc
        except EngineUnavailable as exc:
            if self._closed or exc.__cause__ is not None:
                raise  # an HTTP answer has no cause
        except FreeholdError:
            return


class RemoteEngine(Engine):
    """Starts nothing; forwards to an endpoint."""

    name: ClassVar[str] = "remote"
    needs_weights: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        _validate_url(settings.base_url)
        if options.get("dialect", "openai") not in {"openai", "azure"}:
            raise ConfigError("options.dialect: must be 'openai' or 'azure'", param="options.dialect")
        for name in ("api_version", "deployment"):
            if name in options and options.get("dialect") != "azure":
                raise ConfigError(f"options.{name}: is only for the dialect 'azure'", param=f"options.{name}")
        for feature in options.get("features", ()):
            if not isinstance(feature, str) or feature not in set(Feature):
                known = ", ".join(sorted(Feature))
                message = f"options.features: there is no feature '{feature}'; there are: {known}"
                raise ConfigError(message, param="options.features")
        if not 0 < options.get("timeout_s", TIMEOUT_S) <= 86_400:
            raise ConfigError("options.timeout_s: must be above 0 and at most 86400", param="options.timeout_s")
        _validate_headers(options.get("headers", {}))

    def launch(self, spec: EngineSpec, socket: Path) -> Launch | None:  # noqa: ARG002  # the contract's
        """See `Engine.launch`; there is nothing to start."""
        return None

    def connect(self, spec: EngineSpec, socket: Address) -> RemoteConnection:  # noqa: ARG002  # the contract's
        """See `Engine.connect`."""
        return RemoteConnection(spec.settings, spec.api_key)


def _validate_url(url: str | None) -> None:
    """Hold that there is a URL, with a host and without what would be lost or leak.

    Raises:
        ConfigError: otherwise.
    """
    if not url:
        raise ConfigError("base_url: the engine 'remote' needs one", param="base_url")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError("base_url: is not a URL", param="base_url") from exc
    if not host:
        raise ConfigError("base_url: names no host", param="base_url")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("base_url: must not hold a credential; use 'api_key'", param="base_url")
    if parts.query or parts.fragment:
        raise ConfigError("base_url: must not have a query or a fragment", param="base_url")


def _validate_headers(headers: Mapping[Any, Any]) -> None:
    """Hold that the headers can be sent and are the operator's to choose.

    Raises:
        ConfigError: otherwise.
    """
    for name, value in headers.items():
        where = f"options.headers.{name}"
        if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{where}: must be printable ASCII text", param=where)
        if not isinstance(name, str) or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ConfigError(f"{where}: is not the name of a header", param=where)
        if name.lower() in _OWN_HEADERS:
            raise ConfigError(f"{where}: is set by Freehold; a credential belongs into 'api_key'", param=where)


def _headers(own: Mapping[str, str], api_key: str | None, *, azure: bool) -> Mapping[str, str]:
    """The operator's headers and the credential."""
    if api_key is None:
        return dict(own)
    return {**own, "api-key": api_key} if azure else {**own, "authorization": f"Bearer {api_key}"}
