"""Typed settings from one TOML file and the environment. The only reader of `os.environ`.

A wrong key or value is a `ConfigError` whose message begins with its path in the file, such as
`deployment[1].engin`. What each setting means is in docs/reference/configuration.md; a test holds that
every one stands there.
"""

import glob
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from freehold.errors import ConfigError
from freehold.types.base import SettingsModel
from freehold.types.batches import BatchesSettings
from freehold.types.cluster import ShareSettings
from freehold.types.cluster_settings import ArbiterSettings, ClusterSettings
from freehold.types.content import RetentionSettings
from freehold.types.content_filter import BlocklistSettings, ContentFilterSettings, FilterSettings
from freehold.types.deployment import DeploymentSettings, SecretRef
from freehold.types.encryption import EncryptionSettings
from freehold.types.evaluations import EvaluationsSettings
from freehold.types.files import FilesSettings
from freehold.types.fine_tuning import FineTuningSettings
from freehold.types.gateways import DatabaseSettings, GatewaySettings
from freehold.types.jobs import JobsSettings
from freehold.types.limits import LimitSettings
from freehold.types.mcp import McpServerSettings
from freehold.types.policy import CaseSettings, PolicyFile, PolicySettings
from freehold.types.roles import RoleSettings
from freehold.types.settings_problems import first_problem
from freehold.types.signin import IdentitySettings
from freehold.types.training import TrainingSettings


class ServerSettings(SettingsModel):
    """`[server]`: where to listen and what to bear. Sizes are bytes, times are seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    max_body_bytes: Annotated[int, Field(ge=1024)] = 20 * 1024 * 1024
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 50 * 1024 * 1024
    """The limit of a body with files, such as pictures to edit."""
    public_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] | None = None
    """Where callers reach the server, for addresses in answers; without it, as the request itself says."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """How long running requests may go on after SIGTERM."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """How many processes take requests. With one, it is the server itself."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """How long one request may take in all."""
    starter: bool = True
    """Whether a new home begins with the deployments `chat`, `embed` and `paint` on the starter models."""
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"


class CatalogSettings(SettingsModel):
    """`[catalog]`: where models come from."""

    hf_endpoint: str = "https://huggingface.co"
    hf_token: SecretRef | None = None
    allow_http: bool = False
    """Whether `http://` is accepted beside `https://`; for mirrors inside a network."""


class SupervisorSettings(SettingsModel):
    """`[supervisor]`: how engine processes are watched. Times are seconds."""

    start_timeout_s: Annotated[float, Field(gt=0)] = 300.0
    probe_interval_s: Annotated[float, Field(gt=0)] = 2.0
    probe_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    """A replica that answers no probe for this long counts as hung, is killed and started again."""
    backoff_initial_s: Annotated[float, Field(gt=0)] = 0.5
    backoff_max_s: Annotated[float, Field(gt=0)] = 30.0
    stop_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    fast_engines: tuple[Literal["openvino"], ...] = ()
    """Engines that `engine = "auto"` takes before the one with every feature."""
    full_engine_after_s: Annotated[float, Field(gt=0)] = 3.0
    """With `engine = "auto"`, a request that has waited so long for a faster engine which was never ready yet starts
    the one that has every feature, to be served by that meanwhile."""
    full_engine_unload_s: Annotated[float, Field(gt=0)] = 600.0
    """With `engine = "auto"`, the engine that has every feature beside a faster one is stopped after so long without a
    request, unless the deployment's `idle_unload_s` says otherwise."""
    measure: Literal["when_idle", "on_demand"] = "when_idle"
    """Whether it is measured by itself which options of an engine are best on this machine."""
    measure_after_idle_s: Annotated[float, Field(gt=0)] = 60.0
    """How long the service must have had nothing to do before something is measured by itself."""
    measure_below_load: Annotated[float, Field(gt=0)] = 0.7
    """And how many processes may want to run on each core of the machine at most, on average over a minute."""


class JournalSettings(SettingsModel):
    """`[journal]`: the record of everything that happened. Sizes are bytes, times are seconds."""

    segment_bytes: Annotated[int, Field(ge=64 * 1024)] = 64 * 1024 * 1024
    """A segment that has grown to this size is closed, and a new one begun."""
    checkpoint_records: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """A checkpoint is signed after so many records."""
    checkpoint_s: Annotated[float, Field(gt=0)] = 10.0
    """And at the latest this long after a record that none covers."""
    retention_days: Annotated[int, Field(ge=62)] | None = None
    """Segments whose newest record is older are deleted; without it all are kept. Budgets of a month are rebuilt
    from the journal, so at least two months stay."""
    max_backlog_records: Annotated[int, Field(ge=1000)] = 5_000_000
    """How far the usage database may lag behind before requests are refused."""


class UsageSettings(SettingsModel):
    """`[usage]`: the database that bills and reports are read from."""

    database: SecretRef | None = None
    """Where its URL is kept (`postgresql://user:password@host/name`); without it, where `[database]` says, and without
    that SQLite in the home."""


class ProvenanceSettings(SettingsModel):
    """`[provenance]`: who signs pictures. Without a certificate the installation makes its own."""

    certificate: str | None = None
    """A PEM file: the signing certificate and its issuers', up to the root."""
    private_key: SecretRef | None = None
    """The signing certificate's private key in PEM form."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("give 'certificate' and 'private_key' together")
        return self


class Settings(SettingsModel):
    """The whole configuration file."""

    server: ServerSettings = ServerSettings()
    catalog: CatalogSettings = CatalogSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    cluster: ClusterSettings = ClusterSettings()
    arbiter: ArbiterSettings = ArbiterSettings()
    share: list[ShareSettings] = Field(default_factory=list)
    journal: JournalSettings = JournalSettings()
    database: DatabaseSettings = DatabaseSettings()
    gateway: GatewaySettings = GatewaySettings()
    usage: UsageSettings = UsageSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    identity: IdentitySettings = IdentitySettings()
    encryption: EncryptionSettings = EncryptionSettings()
    retention: RetentionSettings = RetentionSettings()
    files: FilesSettings = FilesSettings()
    batches: BatchesSettings = BatchesSettings()
    evaluations: EvaluationsSettings = EvaluationsSettings()
    jobs: JobsSettings = JobsSettings()
    fine_tuning: FineTuningSettings = FineTuningSettings()
    training: TrainingSettings = TrainingSettings()
    filter: ContentFilterSettings = ContentFilterSettings()
    role: list[RoleSettings] = Field(default_factory=list)
    limit: list[LimitSettings] = Field(default_factory=list)
    policies: list[str] = Field(default_factory=list)
    """Files with more policies, cases and limits: paths from the configuration file's folder on, or patterns."""
    policy: list[PolicySettings] = Field(default_factory=list)
    case: list[CaseSettings] = Field(default_factory=list)
    content_filter: list[FilterSettings] = Field(default_factory=list)
    blocklist: list[BlocklistSettings] = Field(default_factory=list)
    mcp_server: list[McpServerSettings] = Field(default_factory=list)
    deployment: list[DeploymentSettings] = Field(default_factory=list)

    @model_validator(mode="after")
    def _unique_policies(self) -> Self:
        seen: set[str] = set()
        for index, policy in enumerate(self.policy):
            if policy.name in seen:
                raise ValueError(f"policy[{index}]: there is already a policy '{policy.name}'")
            seen.add(policy.name)
        return self

    @model_validator(mode="after")
    def _unique_filters_and_servers(self) -> Self:
        for kind, names in (
            ("content_filter", [policy.name for policy in self.content_filter]),
            ("blocklist", [each.name for each in self.blocklist]),
            ("mcp_server", [server.label for server in self.mcp_server]),
        ):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise ValueError(f"{kind}[{index}]: there is already a '{name}'")
        return self

    @model_validator(mode="after")
    def _unique_limits_and_shares(self) -> Self:
        limits = [(limit.scope, limit.id) for limit in self.limit]
        for index, (scope, name) in enumerate(limits):
            if (scope, name) in limits[:index]:
                raise ValueError(f"limit[{index}]: there is already a limit of {scope} '{name}'")
        for index, share in enumerate(self.share):
            if any(each.owner == share.owner for each in self.share[:index]):
                raise ValueError(f"share[{index}]: there is already a share of '{share.project or share.organization}'")
        return self

    @model_validator(mode="after")
    def _unique_roles(self) -> Self:
        for index, name in enumerate(names := [role.name for role in self.role]):
            if name in names[:index]:
                raise ValueError(f"role[{index}]: there is already a role '{name}'")
        return self

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        seen: dict[str, str] = {}
        for index, deployment in enumerate(self.deployment):
            for name in (deployment.name, *deployment.aliases):
                if name in seen:
                    raise ValueError(f"deployment[{index}]: '{name}' is already used by deployment '{seen[name]}'")
                seen[name] = deployment.name
        return self


def load_settings(path: Path | None) -> Settings:
    """Read the settings from a TOML file, and from the policy files that it names; without a file, the defaults.

    Raises:
        ConfigError: a file cannot be read, is not TOML, or has a wrong key or value.
    """
    if path is None:
        return Settings()
    settings = parse_settings(_decoded(path), Settings)
    return _with_policy_files(settings, path.parent) if settings.policies else settings


def _decoded(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not valid TOML: {exc}") from exc


def _with_policy_files(settings: Settings, folder: Path) -> Settings:
    """The settings with what the policy files have."""
    found: dict[str, list[Any]] = {name: list(getattr(settings, name)) for name in PolicyFile.model_fields}
    for index, pattern in enumerate(settings.policies):
        names = sorted(glob.glob(str(folder / pattern), recursive=True))  # noqa: PTH207  # the pattern may be absolute
        if not names:
            raise ConfigError(f"policies[{index}]: there is no file '{pattern}'", param=f"policies[{index}]")
        for name in names:
            try:
                file = parse_settings(_decoded(Path(name)), PolicyFile)
            except ConfigError as exc:
                message = exc.message if exc.message.startswith(name) else f"{name}: {exc.message}"
                raise ConfigError(message, param=exc.param) from exc
            for key, values in found.items():
                values.extend(getattr(file, key))
    given = {key: getattr(settings, key) for key in settings.model_fields_set}
    return parse_settings({**given, **found}, Settings)


SettingsT = TypeVar("SettingsT", bound=SettingsModel)


def parse_settings(raw: Mapping[str, Any], model: type[SettingsT]) -> SettingsT:
    """Validate decoded settings.

    Raises:
        ConfigError: names the path of the first offending key, and the likeliest meant one.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as exc:
        path, message = first_problem(exc, raw, model, Settings)
        raise ConfigError(f"{path}: {message}" if path else message, param=path or None) from exc


def read_secret(ref: SecretRef) -> str:
    """The secret that a reference points to, without surrounding white space.

    Raises:
        ConfigError: the variable is not set, or the file cannot be read.
    """
    if ref.env is not None:
        value = os.environ.get(ref.env)
        if not value:
            raise ConfigError(f"the environment variable {ref.env} is not set", param=ref.env)
        return value.strip()
    try:
        return Path(str(ref.file)).expanduser().read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(f"the secret file {ref.file} cannot be read: {exc.strerror}") from exc


def home_from_environment() -> Path:
    """`FREEHOLD_HOME`, or `~/.freehold`."""
    return Path(os.environ.get("FREEHOLD_HOME") or "~/.freehold").expanduser().absolute()


def key_from_environment() -> str | None:
    """`FREEHOLD_API_KEY`: the key with which the command line calls, instead of `HOME/admin.key`."""
    return os.environ.get("FREEHOLD_API_KEY") or None


def url_from_environment() -> str | None:
    """`FREEHOLD_URL`: the server that the command line talks to, instead of this home's."""
    return os.environ.get("FREEHOLD_URL") or None


_GANG: Final = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def gang_from_environment() -> dict[str, str]:
    """What whoever started this process said of its place among those of a job, under torchrun's names."""
    return {name: value for name in _GANG if (value := os.environ.get(name))}


def leave_gang() -> None:
    """Have this process, and the libraries in it, not look for others of a job: it is the only one."""
    for name in _GANG:
        os.environ.pop(name, None)


def terminal_from_environment() -> dict[str, str]:
    """What the environment says of the terminal, by the variables in which those that show pictures tell so."""
    names = ("TERM", "TERM_PROGRAM", "LC_TERMINAL", "KITTY_WINDOW_ID", "TMUX")
    return {name: value for name in names if (value := os.environ.get(name))}


def downloading_environment(temporary: Path) -> dict[str, str]:
    """The environment of a program that downloads with its own configuration; its temporary files go to a folder."""
    return {**os.environ, "TMPDIR": str(temporary)}


def cluster_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that speaks Ray: as an engine's, with what is said to Ray by its own variables."""
    return engine_environment(
        {**{name: value for name, value in os.environ.items() if name.startswith("RAY_")}, **extra}
    )


def engine_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of an engine process: this process's, less what looks like a secret, plus `extra`."""
    hidden = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
    kept = {name: value for name, value in os.environ.items() if not any(h in name.upper() for h in hidden)}
    return {**kept, **extra}
