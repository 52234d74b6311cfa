"""OpenAI's data retention through the official client, every answer judged by the published specification."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.conformance.echo import ask
from tests.conformance.recording import Judge, client_for
from tests.service import ECHO_CONFIG, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with the echo engine."""
    with Service(tmp_path_factory.mktemp("home"), ECHO_CONFIG) as service:
        yield service


@pytest.fixture
def client(service: Service, judge: Judge) -> Iterator[OpenAI]:
    """The official client with the owner's key."""
    with client_for(service, "openai", judge) as client:
        yield client.with_options(admin_api_key=service.key)


def test_a_projects_retention_is_set_and_read(client: OpenAI) -> None:
    """Each type that a project can have comes back; those that nothing stands behind are refused by name."""
    organization = client.admin.organization
    project = organization.projects.create(name="Kept")
    retention = organization.projects.data_retention
    assert retention.retrieve(project.id).type == "organization_default"
    assert retention.update(project.id, retention_type="none").type == "none"
    assert retention.update(project.id, retention_type="zero_data_retention").type == "zero_data_retention"
    assert retention.retrieve(project.id).type == "zero_data_retention"
    with pytest.raises(openai.BadRequestError) as refused:
        retention.update(project.id, retention_type="enhanced_zero_data_retention")
    assert refused.value.param == "retention_type"
    with pytest.raises(openai.NotFoundError):
        retention.retrieve("proj_nothing")


def test_an_organizations_zero_retention_holds_for_its_projects(client: OpenAI) -> None:
    """While it is in force `store` is refused with its own code, whatever the project has; then all is as before."""
    organization = client.admin.organization
    assert organization.data_retention.retrieve().type == "modified_abuse_monitoring"
    organization.projects.data_retention.update("proj-default", retention_type="none")
    try:
        assert organization.data_retention.update(retention_type="zero_data_retention").type == "zero_data_retention"
        with pytest.raises(openai.BadRequestError) as refused:
            ask(client, store=True)
        assert (refused.value.code, refused.value.param) == ("zero_data_retention", "store")
        assert ask(client).choices[0].message.content == "one two three"
    finally:
        updated = organization.data_retention.update(retention_type="modified_abuse_monitoring")
    assert updated.type == "modified_abuse_monitoring"
