"""Prometheus' metrics of several processes as those of one: what each counted, added up."""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_CREATED: Final = "_created"
"""The end of the names of samples that say since when something is counted; of several the earliest counts."""


class _Sum(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See `Collector.collect`."""
        return self._families


def summed(expositions: Sequence[bytes]) -> bytes:
    """The sum of several expositions in the text format, in that format."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in expositions:
        for found in text_string_to_metric_families(text.decode()):
            families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            of = values.setdefault(found.name, {})
            for sample in found.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                known = of.get(key)
                if known is None:
                    of[key] = sample.value
                else:
                    of[key] = min(known, sample.value) if sample.name.endswith(_CREATED) else known + sample.value
    for name, family in families.items():
        for (sample_name, labels), value in values[name].items():
            family.add_sample(sample_name, dict(labels), value)
    return generate_latest(_Sum(families.values()))


def counted(exposition: bytes) -> bytes:
    """Of an exposition what only grows: what is to be counted on when the process that counted it is gone."""
    kept = [
        family
        for family in text_string_to_metric_families(exposition.decode())
        if family.type in {"counter", "histogram"} or family.name.endswith(_CREATED)
    ]
    return generate_latest(_Sum(kept))
