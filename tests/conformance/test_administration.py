"""OpenAI's administration API through the official client, every answer judged by the published specification."""

import json
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


def test_projects_are_made_changed_and_archived(client: OpenAI) -> None:
    """A project can be made, found, renamed and archived; then it is left out of lists unless it is asked for."""
    projects = client.admin.organization.projects
    made = projects.create(name="Maps")
    assert (made.name, made.status) == ("Maps", "active")
    assert projects.retrieve(made.id).id == made.id
    assert projects.update(made.id, name="Charts").name == "Charts"
    assert made.id in {project.id for project in projects.list(limit=1)}
    assert projects.archive(made.id).status == "archived"
    assert made.id not in {project.id for project in projects.list()}
    assert made.id in {project.id for project in projects.list(include_archived=True)}
    with pytest.raises(openai.NotFoundError):
        projects.retrieve("proj_nothing")


def test_a_service_account_works_with_its_key(client: OpenAI, service: Service, judge: Judge) -> None:
    """A new service account's key calls deployments, until the account is removed."""
    organization = client.admin.organization
    project = organization.projects.create(name="Bots")
    accounts = organization.projects.service_accounts
    made = accounts.create(project.id, name="crawler")
    assert made.api_key is not None
    with client_for(service, "openai", judge, key=made.api_key.value) as bot:
        assert ask(bot).choices[0].message.content == "one two three"
        with pytest.raises(openai.PermissionDeniedError):
            bot.with_options(admin_api_key=made.api_key.value).admin.organization.projects.list()
        assert [key.id for key in organization.projects.api_keys.list(project_id=project.id)] == [made.api_key.id]
        second = accounts.api_keys.create(made.id, project_id=project.id, name="read only", scopes=["models:read"])
        with client_for(service, "openai", judge, key=second.value) as reader:
            assert [model.id for model in reader.models.list()] == ["echo"]
            with pytest.raises(openai.PermissionDeniedError):
                ask(reader)
        assert accounts.retrieve(made.id, project_id=project.id).role == "member"
        assert accounts.update(made.id, project_id=project.id, name="spider", role="owner").role == "owner"
        assert [account.name for account in accounts.list(project.id)] == ["spider"]
        assert accounts.delete(made.id, project_id=project.id).deleted
        with pytest.raises(openai.AuthenticationError):
            ask(bot)


def test_users_come_by_invitation(client: OpenAI, service: Service) -> None:
    """People are invited, listed, given roles in the organization and in projects, and removed."""
    organization = client.admin.organization
    project = organization.projects.create(name="People")
    invite = organization.invites.create(
        email="ann@example.org", role="reader", projects=[{"id": project.id, "role": "member"}]
    )
    assert invite.status == "pending"
    assert organization.invites.retrieve(invite.id).email == "ann@example.org"
    assert [item.id for item in organization.invites.list()] == [invite.id]
    link = service.post(f"/v1/organization/invites/{invite.id}/link", {}).json()
    assert len(link["token"]) == 43
    assert organization.invites.delete(invite.id).deleted
    with pytest.raises(openai.NotFoundError):
        organization.invites.retrieve(invite.id)
    with pytest.raises(openai.NotFoundError):
        organization.projects.users.create(project.id, role="member", email="nobody@example.org")
    assert list(organization.users.list()) == []


def test_admin_keys_administer_and_no_more(client: OpenAI, service: Service, judge: Judge) -> None:
    """An admin key administers, is listed without its value, calls no deployment, and is revoked."""
    keys = client.admin.organization.admin_api_keys
    made = keys.create(name="script", expires_in_seconds=3600)
    assert made.value.startswith("fh-")
    with client_for(service, "openai", judge, key=made.value) as script:
        admin = script.with_options(admin_api_key=made.value)
        assert list(admin.admin.organization.projects.list())
        with pytest.raises(openai.PermissionDeniedError):
            script.models.list()
        found = keys.retrieve(made.id)
        assert found.expires_at is not None
        assert made.value not in found.to_json()
        assert made.id in {key.id for key in keys.list(order="desc", limit=1)}
        assert keys.delete(made.id).deleted
        with pytest.raises(openai.AuthenticationError):
            admin.admin.organization.projects.list()


def test_wrong_administration_is_told_by_name(client: OpenAI) -> None:
    """An unknown field, role or cursor is a 400 that names it, and an empty project name too."""
    organization = client.admin.organization
    for wrong, named in (
        (lambda: organization.projects.create(name=""), "name"),
        (lambda: organization.projects.create(name="x", external_key_id="key"), "external_key_id"),
        (lambda: organization.projects.list(after="proj_nothing").data, "after"),
        (lambda: organization.projects.list(limit=0).data, "limit"),
        (lambda: organization.projects.create(name="x", extra_body={"colour": "red"}), "colour"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            wrong()
        assert named in json.dumps(caught.value.body)
