"""The settings of the cluster that a server's engines and jobs run on."""

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from freehold.types.base import SettingsModel
from freehold.types.deployment import NAME_PATTERN, SecretRef


class ClusterSettings(SettingsModel):
    """`[cluster]`: where engines and jobs run. Without an address, on this machine."""

    address: str | None = None
    """Of a Ray cluster: `HOST:PORT` of its head, as `freehold cluster up --head` tells it."""
    token: SecretRef | None = None
    """The cluster's token; without one, that in `HOME/cluster/token`, which `freehold cluster up` makes."""
    node_address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")] | None = None
    """This machine's own address in the cluster; found out where it is not given."""
    zone: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    """Where this machine stands, as the organization calls it; for a server without a Ray cluster."""
    cores: Annotated[float, Field(gt=0, le=4096)] | None = None
    """Processor cores of this machine for engines and jobs; nothing is counted where neither these nor memory nor
    devices are given."""
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    """Main memory of this machine for engines and jobs; all of it where it is not given."""
    devices: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Accelerators of this machine for engines and jobs; none where it is not given."""
    device_kind: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Of which kind these are."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """How long a node may take to take a replica or a job, the copying of weights not counted. Seconds."""
    orphan_grace: Annotated[float, Field(ge=10, le=86400)] = 120.0
    """How long an engine on a Ray cluster goes on when no gateway of its home is heard any more, so that one that comes
    back finds it. Seconds."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}", value):
            raise ValueError("must be HOST:PORT, as 'freehold cluster up --head' tells it")
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        stated = {"zone", "cores", "memory_bytes", "devices", "device_kind"} & self.model_fields_set
        if self.address is not None and stated:
            raise ValueError(f"'{min(stated)}' is said by each node of a Ray cluster itself; leave it or 'address' out")
        return self

    @property
    def counted(self) -> bool:
        """Whether it is counted what this machine's engines and jobs need."""
        return any(value is not None for value in (self.cores, self.memory_bytes, self.devices))


class ArbiterSettings(SettingsModel):
    """`[arbiter]`: who gets room where a cluster's is counted."""

    overdue_s: Annotated[float, Field(gt=0)] = 3600.0
    """Who has waited so long for room, in seconds, is next in its class now and then, whatever its share."""
