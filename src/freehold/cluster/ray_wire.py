"""What a gateway and the process that speaks Ray for it (`freehold.cluster.ray_link`) say to each other.

Lines of JSON. Its one argument: `address` of the cluster's head, `node_address` of this machine or null, `namespace` of
the home's actors, `prefix` of the names of those of this gateway's jobs, `gateway`: this one's name, and
`orphan_grace_s`: after how long without any gateway an engine ends.

The first line that it reads is `{"authority": {"key", "certificate"}}`, in PEM form.

It says first `{"ready": nodes, "cluster": name}`, the name being the cluster's own, or `{"refused": text}`; then
`{"nodes": nodes}` whenever they have changed, and of each order by its number `n` any number of `{"n", "event": [kind,
…]}` and one `{"n", "ok"}` or `{"n", "error", "message"}`. Events go on after the answer until `["exit", code, why]`,
`why` being empty where the process has ended by itself; the others are `["line", text]` and `["report", text]`. A node
is `[id, name, zone, address, alive, [cores, memory, devices, kind], the same of what is free]`.

Orders have `n` and `do`:

- `nodes`
- `place`: `name`, `epoch`, `timeout_s`, `files` (path → digest), `san`, `socket`, the `record` by which it is found
  later, and `members` with `node`, `needs`, `argv`, `env` and `host` (its address), the one that is spoken to first;
  answered with `pids`, `port` and the `group` of their room, empty for one. The process of rank r is known as `n` + r,
  so as many numbers are used
- `hosted`: answered with the records of the home's engines that this process does not have in hands
- `attach`: `name` and `group` of such a record, `count` of its processes, `workload`, `epoch`; answered with `pids`,
  and known as of `place`
- `lead`: `hosts` are in the name of `epoch` from now on
- `release`: `host`, to be left to whoever takes it
- `gang`: `name`, `timeout_s`, `master`, and `members` with `node`, `needs` and `order`; the process of rank r is known
  as `n` + r, so as many numbers are used
- `call`: `host` (the number by which it was placed), `method`, `arguments`
- `end`: `host`; is not answered
- `let_go`: `host`, as `release`, with the order by which it was to be attached; is not answered
- `close`: end all that was placed or attached and not released, and this process; is not answered
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from freehold import errors
from freehold.errors import EngineFailed, FreeholdError
from freehold.types.cluster import Resources

NAMESPACE: Final = "freehold"
ZONE_LABEL: Final = "freehold-zone"
KIND_LABEL: Final = "freehold-device-kind"
NODE_LABEL: Final = "ray.io/node-id"
LOST_CODE: Final = -9
"""The exit code of what was on a lost node."""


def wire_of_needs(needs: Resources) -> dict[str, Any]:
    """What a process needs."""
    return {"cores": needs.cores, "memory_bytes": needs.memory_bytes, "devices": needs.devices}


def resources_of(wire: Sequence[Any]) -> Resources:
    """What a node has."""
    cores, memory_bytes, devices, kind = wire
    return Resources(float(cores), int(memory_bytes), int(devices), kind if devices else None)


def error_of(message: Mapping[str, Any]) -> FreeholdError:
    """The error that an order was answered with."""
    kind: Any = getattr(errors, message["error"], EngineFailed)
    error: FreeholdError = kind(message["message"])
    return error
