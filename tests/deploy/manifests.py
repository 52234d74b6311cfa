"""The rendered manifests of the chart, as tests look at them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.render_chart import RENDERED

CUSTOM = ("monitoring.coreos.com/v1", "ray.io/v1")
"""The kinds that are not Kubernetes' own."""


def manifests(case: str) -> list[dict[str, Any]]:
    """What the chart makes of one values file, as it stands in deploy/rendered."""
    text = (RENDERED / f"{case}.yaml").read_text(encoding="utf-8")
    return [each for each in yaml.safe_load_all(text) if each is not None]


def of_kind(case: str, kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in manifests(case) if each["kind"] == kind]


def pods(case: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod templates, each with the name of what makes it."""
    for each in manifests(case):
        match each["kind"]:
            case "StatefulSet":
                yield each["metadata"]["name"], each["spec"]["template"]
            case "RayCluster":
                yield "head", each["spec"]["headGroupSpec"]["template"]
                for group in each["spec"]["workerGroupSpecs"]:
                    yield group["groupName"], group["template"]


def folder(name: str) -> Path:
    """A folder of deploy/."""
    return RENDERED.parent / name
