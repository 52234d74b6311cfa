"""The content filter of a home: its policies and blocklists, its classifier, and the models that it may ask."""

from functools import partial
from pathlib import Path

from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.content_filter.detectors import detectors_for
from freehold.content_filter.embedding import SHIPPED as SHIPPED_HEAD
from freehold.content_filter.embedding import head_for
from freehold.content_filter.ngrams import SHIPPED, load_classifier
from freehold.content_filter.registry import FilterRegistry, Parts
from freehold.content_filter.stages import stages_for
from freehold.gateway.filter_models import FilterModels
from freehold.serving.lender import Lender
from freehold.store.database import Database


async def open_filters(
    database: Database,
    settings: Settings,
    deployments: DeploymentRegistry,
    supervisor: Lender,
    parts: Parts | None = None,
) -> FilterRegistry:
    """Read the policies and lists: stored ones, those of the file, and the built-in policy.

    Args:
        database: where they are stored.
        settings: the configuration.
        deployments: those there are.
        supervisor: lends their replicas.
        parts: what filters are made of instead of Freehold's own detectors.

    Raises:
        ConfigError: a policy or a list of the file is not consistent, or the weights cannot be read.
    """
    found = parts or _parts(settings, deployments, supervisor)
    filters = FilterRegistry(found, database, lambda: [deployment.settings for deployment in deployments.all()])
    await filters.load(settings.content_filter, settings.blocklist)
    return filters


def _parts(settings: Settings, deployments: DeploymentRegistry, supervisor: Lender) -> Parts:
    """Freehold's own detectors and stages.

    Raises:
        ConfigError: the weights cannot be read.
    """
    weights = SHIPPED if settings.filter.weights is None else Path(settings.filter.weights).expanduser()
    classifier = load_classifier(weights)
    head = head_for(classifier.version, weights.with_name(SHIPPED_HEAD.name))
    models = FilterModels(deployments, supervisor, embedding_model=head.header["model"] if head else "")
    return Parts(
        detectors=partial(detectors_for, classifier=classifier),
        stages=partial(stages_for, head=head, embed=models.embed, ask=models.ask),
    )
