"""Where the master key of kept content is: the settings of `[encryption]`."""

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from freehold.types.base import SettingsModel
from freehold.types.deployment import SecretRef


class KeyServiceSettings(SettingsModel):
    """`[encryption.key_service]`: an external service that has the master key; see docs/reference/encryption.md."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    """Where the transit engine is mounted."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    """The name of the key there."""
    token: SecretRef
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        host = urlsplit(self.url).hostname
        if self.url.startswith("http://") and host not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("url: must begin with https:// unless the service is on this machine")
        return self


class EncryptionSettings(SettingsModel):
    """`[encryption]`: where the master key of kept content is; without any of it, in the home."""

    master_key: SecretRef | None = None
    """32 bytes in Base64 or hexadecimal digits."""
    key_service: KeyServiceSettings | None = None
    previous_master_keys: list[SecretRef] = Field(default_factory=list)
    """Those that keys may still be wrapped by until `freehold master-key rotate` has been run."""
    cache_s: Annotated[float, Field(ge=0, le=3600)] = 300.0
    """How long an unwrapped content key stays in memory."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.master_key is not None and self.key_service is not None:
            raise ValueError("give either 'master_key' or 'key_service'")
        return self
