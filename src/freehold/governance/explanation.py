"""Why somebody may do something, or may not: every step of the decision, each with its reason.

The steps are those of a request: the credential, the member, its project, the roles, the key's scope, the deployment
and the policies. All are told, also after one that denies.
"""

import difflib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from freehold.errors import DeploymentNotFound, InvalidRequest, NotFound
from freehold.governance.directory import WHOLE, Directory, absent
from freehold.governance.keys import KeyRing
from freehold.governance.policies import PolicyRegistry, policy_request
from freehold.governance.policy_cases import told
from freehold.store.directory import AssignmentRow, MemberRow
from freehold.store.keys import KeyRow
from freehold.types.deployment import DeploymentSettings
from freehold.types.identity import DATA_PLANE, Action

_CALLING = frozenset({Action.INFER, Action.READ_MODELS})
"""What a key's scope of models is about."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a decision."""

    name: str
    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with all its steps; it is allowed if every step is. `project_id` is empty for the organization."""

    member_id: str
    key_id: str
    project_id: str
    action: Action
    resource: str
    steps: tuple[Step, ...]

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return all(step.allowed for step in self.steps)


@dataclass(frozen=True, slots=True)
class _Question:
    """Who asks, where it acts, and what it wants to do to what."""

    member: MemberRow
    key: KeyRow | None
    project_id: str
    action: Action
    resource: str
    deployment: DeploymentSettings | None
    """The one that the resource names, if it is one and exists."""


class Explainer:
    """Explains decisions.

    Args:
        directory: who there is.
        keys: their API keys.
        policies: which requests are allowed.
        deployment: gives a deployment's settings by its name or alias; raises DeploymentNotFound.
        list_project: gives the project whose own a blocklist is, by the list's name, if it is one's.
    """

    def __init__(
        self,
        directory: Directory,
        keys: KeyRing,
        policies: PolicyRegistry,
        deployment: Callable[[str], DeploymentSettings],
        list_project: Callable[[str], str | None],
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._policies = policies
        self._deployment = deployment
        self._list_project = list_project

    def explain(
        self, organization_id: str, who: str, action: str, resource: str, project_id: str | None = None
    ) -> Explanation:
        """Whether a member of an organization may do something, and why.

        Args:
            organization_id: whose member it must be.
            who: a key's id, or a user's or service account's, or a user's e-mail address.
            action: the name of an action.
            resource: such as `deployments/chat` or `projects/proj-default`.
            project_id: in which project it acts; without it, the key's or the first that the member belongs to.

        Raises:
            NotFound: the organization has no such member, key or project.
            InvalidRequest: there is no such action, or it is none that can be done to the resource.
        """
        wanted = action_named(action)
        kind, _, name = resource.partition("/")
        if wanted is Action.INFER and (kind != "deployments" or not name):
            raise InvalidRequest(f"'{wanted}' is done to a deployment, such as 'deployments/chat'.", param="resource")
        key, member = self._found(organization_id, who)
        if key is not None and project_id not in {None, key.project_id}:
            raise InvalidRequest(f"The key '{key.id}' acts in the project '{key.project_id}' only.", param="project")
        if key is not None:
            project_id = key.project_id
        elif project_id is None:
            project_id = self._directory.first_project(member)
        else:
            self._directory.project(organization_id, project_id)
        deployment = self._named(name) if kind == "deployments" else None
        question = _Question(member, key, project_id, wanted, resource, deployment)
        steps = tuple(self._steps(question))
        return Explanation(member.id, key.id if key else "", project_id, wanted, resource, steps)

    def _found(self, organization_id: str, who: str) -> tuple[KeyRow | None, MemberRow]:
        """The key, if it is one, and the member."""
        key = None
        if who.startswith("key_"):
            key = self._keys.row(who)
        member = (
            self._directory.user_by_email(who) if "@" in who else self._directory.member(key.owner_id if key else who)
        )
        if key is not None and key.organization_id == organization_id and member is None:
            raise NotFound(f"The owner of the key '{who[:64]}' was removed, so the key allows nothing.")
        if member is None or organization_id != member.organization_id:
            raise absent("key, user or service account", who)
        return key, member

    def _named(self, name: str) -> DeploymentSettings | None:
        try:
            return self._deployment(name)
        except DeploymentNotFound:
            return None

    def _steps(self, asked: _Question) -> Iterator[Step]:
        if asked.key is not None:
            yield _credential(asked.key)
        yield _member(asked.member)
        if asked.project_id != WHOLE:
            yield self._project(asked)
        yield self._roles(asked)
        if asked.key is not None:
            yield self._scope(asked, asked.key)
        if asked.resource.startswith("deployments/"):
            yield _exists(asked)
        if asked.action is Action.INFER and asked.deployment is not None:
            yield self._policy(asked, asked.deployment)

    def _project(self, asked: _Question) -> Step:
        row = self._directory.project(asked.member.organization_id, asked.project_id)
        if row.archived_at is not None:
            return Step("project", allowed=False, reason=f"the project '{row.id}' was archived")
        return Step("project", allowed=True, reason=f"it acts in the project '{row.id}' ({row.name})")

    def _roles(self, asked: _Question) -> Step:
        """Whether a role that counts for the resource gives the action."""
        place = self._place(asked)
        rows = self._directory.assignments(asked.member.id, WHOLE)
        if place != WHOLE:
            rows = rows + self._directory.assignments(asked.member.id, place)
        giving = set(self._directory.roles.giving(asked.action))
        held = [row for row in rows if row.role in giving]
        if held:
            named = ", ".join(_held(row) for row in held)
            return Step("roles", allowed=True, reason=f"'{asked.action}' is given by {named}")
        others = ", ".join(_held(row) for row in rows) or "none"
        where = f"in the project '{place}' or the organization" if place != WHOLE else "in the organization"
        reason = (
            f"'{asked.action}' needs a role that gives it {where}: {', '.join(sorted(giving))}; "
            f"the roles held there: {others}"
        )
        return Step("roles", allowed=False, reason=reason)

    def _place(self, asked: _Question) -> str:
        """The project whose roles count besides those of the organization, if one's do.

        What callers of deployments do counts in the project in which they act, and that one reads content-filter
        policies; what is done to a project, or to a deployment or a blocklist of its own, in that project; all else in
        the organization. A key of a project reaches no other one.
        """
        if asked.action in DATA_PLANE:
            return asked.project_id
        kind, _, name = asked.resource.partition("/")
        place = WHOLE
        if kind == "projects" and name:
            place = name.partition("/")[0]
            self._directory.project(asked.member.organization_id, place)
        elif asked.deployment is not None and asked.deployment.project is not None:
            place = asked.deployment.project
        elif kind == "blocklists":
            place = self._list_project(name) or WHOLE
        elif kind == "content_filters" and asked.action is Action.READ_FILTERS:
            place = asked.project_id
        reached = asked.key is None or asked.key.project_id in {WHOLE, place}
        return place if reached else WHOLE

    def _scope(self, asked: _Question, key: KeyRow) -> Step:
        """Whether the key may be used for it."""
        if asked.action not in self._keys.cut(key.id):
            limits = ", ".join(key.scope["operations"]) if "operations" in key.scope else "what is no call of a model"
            return Step("key scope", allowed=False, reason=f"the key may only be used for {limits}")
        patterns = key.scope.get("models")
        name = asked.resource.partition("/")[2]
        if patterns is not None and asked.action in _CALLING and asked.resource.startswith("deployments/"):
            names = (name, asked.deployment.name) if asked.deployment else (name,)
            if not any(fnmatchcase(each, pattern) for each in names for pattern in patterns):
                listed = ", ".join(f"'{pattern}'" for pattern in patterns)
                return Step(
                    "key scope", allowed=False, reason=f"the key may only be used for {listed}, not for '{name}'"
                )
        told_of = "the key's scope does not exclude it" if key.scope else "the key has no scope"
        if "ip_ranges" in key.scope:
            told_of += f"; from the networks {', '.join(key.scope['ip_ranges'])} only"
        return Step("key scope", allowed=True, reason=told_of)

    def _policy(self, asked: _Question, deployment: DeploymentSettings) -> Step:
        """What the policies decide of a request that asks for nothing special."""
        roles = self._directory.held(asked.member.id, asked.project_id)
        request = policy_request(
            organization_id=asked.member.organization_id,
            project_id=asked.project_id,
            roles=roles,
            member_id=asked.member.id,
            key_id=asked.key.id if asked.key else "",
            deployment=deployment,
            origin=self._policies.has_origin(deployment),
        )
        decision = self._policies.current.decide(request, {})
        ceilings = ", ".join(f"{name} at most {value}" for name, value in decision.ceilings.items())
        return Step("policies", decision.allowed, told(decision) + (f"; {ceilings}" if ceilings else ""))


def action_named(name: str) -> Action:
    """The action of that name.

    Raises:
        InvalidRequest: there is none; the message has the likeliest meant one.
    """
    try:
        return Action(name)
    except ValueError:
        near = difflib.get_close_matches(name, [action.value for action in Action], n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(Action)}."
        raise InvalidRequest(f"There is no action '{name[:64]}'; {hint}", param="action") from None


def _credential(key: KeyRow) -> Step:
    shown = f"the key '{key.name}' (…{key.last4})"
    if key.revoked_at is not None:
        return Step("key", allowed=False, reason=f"{shown} was revoked")
    if key.expires_at is not None and key.expires_at <= time.time():
        return Step("key", allowed=False, reason=f"{shown} has expired")
    return Step("key", allowed=True, reason=f"{shown} is valid")


def _member(member: MemberRow) -> Step:
    kind = member.kind.replace("_", " ")
    shown = f"the {kind} '{member.id}' ({member.email or member.name})"
    if member.disabled_at is not None:
        return Step("member", allowed=False, reason=f"{shown} is disabled")
    return Step("member", allowed=True, reason=f"{shown} is a member of '{member.organization_id}'")


def _held(row: AssignmentRow) -> str:
    where = f"the project '{row.project_id}'" if row.project_id != WHOLE else "the organization"
    return f"the role '{row.role}' in {where} (from {row.source})"


def _exists(asked: _Question) -> Step:
    """Whether the deployment exists for the caller."""
    name, deployment = asked.resource.partition("/")[2], asked.deployment
    if deployment is None:
        return Step("deployment", allowed=False, reason=f"there is no deployment '{name}'")
    own = deployment.project
    if asked.action in DATA_PLANE and own not in {None, asked.project_id}:
        return Step("deployment", allowed=False, reason=f"the deployment '{name}' is another project's own")
    whose = f"the project '{own}' has for its own" if own else "all projects may use"
    return Step("deployment", allowed=True, reason=f"'{name}' is a deployment that {whose}")
