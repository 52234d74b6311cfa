"""How commands find out which cluster is meant."""

from freehold.cluster.ray_node import running_node
from freehold.config import Settings, parse_settings
from freehold.store.home import Home
from freehold.types.cluster_settings import ClusterSettings


def on_cluster(settings: Settings, address: str) -> Settings:
    """The settings with the address of a cluster's head.

    Raises:
        ConfigError: it is none, or the file says of this machine what only one without a cluster says.
    """
    said = settings.cluster.model_dump(exclude_unset=True)
    cluster = parse_settings({"cluster": {**said, "address": address}}, Settings).cluster
    return settings.model_copy(update={"cluster": cluster})


def as_started(settings: Settings, home: Home) -> Settings:
    """The settings with the cluster whose node this machine is, where the file names none."""
    node = running_node(home.cluster)
    if settings.cluster.address is not None or node is None:
        return settings
    known = {"token", "node_address", "start_timeout_s"} & settings.cluster.model_fields_set
    said = {name: getattr(settings.cluster, name) for name in known}
    return settings.model_copy(update={"cluster": ClusterSettings(address=node.head, **said)})
