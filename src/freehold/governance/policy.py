"""Whether a request is allowed: the policies, compiled, as a pure function.

Every policy that applies must allow, and within a policy a denial wins; so one more policy never allows more. What is
not known of a request (as of one in an old journal) is not guessed: a decision that depends on it says so.
"""

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Any, Final

from freehold.types.images import size_pixels
from freehold.types.policy import (
    CLAMPABLE,
    Number,
    OnExceed,
    PolicyDecision,
    PolicyRequest,
    PolicySettings,
    scalar,
)
from freehold.types.receipt import Scalar

_REMEMBERED: Final = 10_000
"""So many callers of deployments are kept with what applies to them."""
_PATTERN: Final = re.compile(r"[*?\[]")


class _Names:
    """Names and patterns, one of which must fit."""

    __slots__ = ("_exact", "_patterns")

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._exact = frozenset(name for name in names if not _PATTERN.search(name))
        self._patterns = tuple(re.compile(translate(name)) for name in names if _PATTERN.search(name))

    def fits(self, name: str | None) -> bool | None:
        """Whether one fits; None if the name is not known. Nothing fits an empty name."""
        if name is None:
            return None
        return name != "" and (name in self._exact or any(pattern.match(name) for pattern in self._patterns))

    def fits_one(self, names: Iterable[str] | None) -> bool | None:
        """Whether one fits one of several."""
        return None if names is None else any(self.fits(name) for name in names)


@dataclass(frozen=True, slots=True)
class _Ceiling:
    """The ceiling of one policy on one quantity; `most` is comparable, `value` as it was written."""

    policy: str
    name: str
    value: Any
    most: Number
    clamps: bool


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds for one caller of one deployment: a denial, or the ceilings."""

    denial: PolicyDecision | None
    allowed: PolicyDecision
    ceilings: tuple[_Ceiling, ...]
    doubtful: PolicyDecision | None
    """A denial that rests on what is not known."""
    doubtful_ceilings: tuple[_Ceiling, ...]
    """Those of policies that may apply or not."""


class _Policy:
    """One policy, compiled."""

    def __init__(self, settings: PolicySettings) -> None:
        self.name = settings.name
        self.ceilings = tuple(
            _Ceiling(
                settings.name,
                name,
                value,
                _pixels(value) if name == "size" else value,
                clamps=settings.on_exceed is OnExceed.CLAMP and name in CLAMPABLE,
            )
            for name, value in settings.ceilings.given().items()
        )
        self._applies_to = {
            name: _Names(names) for name, names in settings.applies_to.model_dump(exclude_none=True).items()
        }
        lists = {"deployments": settings.deployments, "models": settings.models}
        self._lists = {
            f"{kind}.{which}": _Names(names)
            for kind, allow_deny in lists.items()
            for which, names in (("deny", allow_deny.deny), ("allow", allow_deny.allow))
            if names is not None
        }
        self._filters = None if settings.require_filter is None else _Names(settings.require_filter)
        self._zones = None if settings.zones is None else _Names(settings.zones)
        self._needs_origin = settings.require_origin

    def applies(self, request: PolicyRequest) -> bool | None:
        """Whether it is for this caller; None if that is not known."""
        unknown = False
        for name, names in self._applies_to.items():
            if name == "roles":
                fits = names.fits_one(request.roles)
            else:
                fits = names.fits(getattr(request, name.removesuffix("s")))
            if fits is False:
                return False
            unknown = unknown or fits is None
        return None if unknown else True

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        """Whether work of a whole organization or project may be in a zone; what is for some callers says nothing."""
        of = {"organizations": organization_id, "projects": project_id}
        if self._zones is None or not self._applies_to.keys() <= of.keys():
            return True
        if not all(names.fits(of[name]) for name, names in self._applies_to.items()):
            return True
        return bool(self._zones.fits(zone))

    def denials(self, request: PolicyRequest) -> Iterator[PolicyDecision]:
        """Each rule that does not allow the deployment."""
        deployment = f"the deployment '{request.deployment}'"
        for rule, names in self._lists.items():
            of_model = rule.startswith("models.")
            fits = names.fits(request.model if of_model else request.deployment)
            if fits is None or fits is rule.endswith(".deny"):
                what = f"the model of {deployment}" if of_model else deployment
                yield self._denial(rule, f"{what} is not allowed", known=fits is not None)
        if self._filters is not None and not (fits := self._filters.fits(request.content_filter)):
            reason = f"{deployment} does not have a required content filter"
            yield self._denial("require_filter", reason, known=fits is not None)
        if self._zones is not None and not (fits := self._zones.fits(request.zone)):
            yield self._denial("zones", f"{deployment} is not in an allowed zone", known=fits is not None)
        if self._needs_origin and not request.origin:
            reason = f"the weights of {deployment} have no recorded origin"
            yield self._denial("require_origin", reason, known=request.origin is not None)

    def _denial(self, rule: str, reason: str, *, known: bool) -> PolicyDecision:
        return PolicyDecision(
            allowed=False, policies=(self.name,), rule=rule, reason=reason, param="model", known=known
        )


class PolicySet:
    """All policies that are in force.

    Args:
        policies: in any order; their names differ.
    """

    def __init__(self, policies: Iterable[PolicySettings] = ()) -> None:
        self.policies = tuple(sorted(policies, key=lambda policy: policy.name))
        wire = [policy.wire() for policy in self.policies]
        canonical = json.dumps(wire, sort_keys=True, separators=(",", ":"))
        self.sha256 = hashlib.sha256(canonical.encode()).hexdigest()
        """Digest of all policies as canonical JSON, sorted by name: two receipts with the same were decided alike."""
        self._compiled = tuple(_Policy(policy) for policy in self.policies)
        self._rules: dict[PolicyRequest, _Rules] = {}

    def __bool__(self) -> bool:
        return bool(self.policies)

    def decide(self, request: PolicyRequest, parameters: Mapping[str, Scalar]) -> PolicyDecision:
        """Whether a request is allowed.

        Args:
            request: who asks for which deployment.
            parameters: what is asked for, as in the receipt's `parameters`, and `prompt_bytes`. What a request leaves
                out is no excess: see `PolicyDecision.ceilings` for what it may come to.
        """
        rules = self._rules.get(request) or self._remember(request)
        if rules.denial is not None:
            return rules.denial
        clamped: dict[str, Number] = {}
        for ceiling in rules.ceilings:
            asked = quantity(ceiling.name, parameters)
            if asked is None or asked <= ceiling.most:
                continue
            if not ceiling.clamps:
                return _over(ceiling, parameters)
            clamped[ceiling.name] = ceiling.most
        if rules.doubtful is not None:
            return rules.doubtful
        for ceiling in rules.doubtful_ceilings:
            asked = quantity(ceiling.name, parameters)
            if asked is not None and asked > ceiling.most and not ceiling.clamps:
                return _over(ceiling, parameters, known=False)
        if not clamped:
            return rules.allowed
        return replace(rules.allowed, reason=f"{rules.allowed.reason}; {_told(clamped)}", clamped=clamped)

    def admits(self, request: PolicyRequest) -> bool:
        """Whether a deployment is open to a caller at all, whatever is asked of it."""
        rules = self._rules.get(request) or self._remember(request)
        return rules.denial is None and rules.doubtful is None

    def permits_zone(self, organization_id: str, project_id: str | None, zone: str | None) -> bool:
        """Whether an organization's or a project's work may run in a zone, whoever asks for it."""
        return all(policy.permits_zone(organization_id, project_id, zone) for policy in self._compiled)

    def ceilings(self, request: PolicyRequest) -> Mapping[str, Any]:
        """The lowest ceilings for a caller of a deployment, by name."""
        return (self._rules.get(request) or self._remember(request)).allowed.ceilings

    def _remember(self, request: PolicyRequest) -> _Rules:
        if len(self._rules) >= _REMEMBERED:
            self._rules.clear()
        rules = self._rules[request] = self._rules_of(request)
        return rules

    def _rules_of(self, request: PolicyRequest) -> _Rules:
        denial = doubtful = None
        applied: list[str] = []
        certain: list[_Ceiling] = []
        uncertain: list[_Ceiling] = []
        for policy in self._compiled:
            applies = policy.applies(request)
            if applies is False:
                continue
            applied.append(policy.name)
            (certain if applies else uncertain).extend(policy.ceilings)
            for found in policy.denials(request):
                if applies and found.known:
                    denial = denial or found
                else:
                    doubtful = doubtful or _doubted(found)
        allowed = PolicyDecision(
            allowed=True,
            policies=tuple(applied),
            reason=_allowing(applied),
            ceilings={ceiling.name: ceiling.value for ceiling in _lowest(certain, lambda ceiling: ceiling.name)},
        )
        binding = _lowest(certain, lambda ceiling: (ceiling.name, ceiling.clamps))
        return _Rules(denial, allowed, binding, doubtful, tuple(uncertain))


def quantity(name: str, parameters: Mapping[str, Scalar]) -> Number | None:
    """What a request asks of what a ceiling is on; None if it leaves it out. A size counts in pixels."""
    match name:
        case "max_tokens":
            value = parameters.get("max_completion_tokens", parameters.get("max_tokens"))
        case "images":
            value = parameters.get("images", parameters.get("n", 1) if "size" in parameters else None)
        case "top_logprobs":
            value = parameters.get("top_logprobs", parameters.get("logprobs"))
        case "size":
            size = parameters.get("size")
            return _pixels(size) if isinstance(size, str) else None
        case _:
            value = parameters.get(name)
    if isinstance(value, str):
        return float(value)
    return None if isinstance(value, bool) else value


def _pixels(size: str) -> Number:
    """The area of a size; one that only the engine knows may be any."""
    if size == "auto":
        return float("inf")
    width, height = size_pixels(size)
    return width * height


def _over(ceiling: _Ceiling, parameters: Mapping[str, Scalar], *, known: bool = True) -> PolicyDecision:
    """The denial of a request that asks for more than a ceiling."""
    asked: Any = parameters.get("size") if ceiling.name == "size" else quantity(ceiling.name, parameters)
    return PolicyDecision(
        allowed=False,
        policies=(ceiling.policy,),
        rule=f"ceilings.{ceiling.name}",
        reason=f"'{ceiling.name}' is {_shown(asked)} and may be at most {_shown(ceiling.value)}",
        param=_param(ceiling.name, parameters),
        known=known,
    )


def _param(name: str, parameters: Mapping[str, Scalar]) -> str | None:
    """What the caller calls it."""
    if name == "max_tokens" and "max_completion_tokens" in parameters:
        return "max_completion_tokens"
    return {"images": "n", "prompt_bytes": None, "prompts": "prompt", "inputs": "input"}.get(name, name)


def _shown(value: Any) -> str:
    return str(scalar(value)) if isinstance(value, int | float) else str(value)


def _doubted(found: PolicyDecision) -> PolicyDecision:
    """A denial that may be none: by a policy that may not apply, or by a rule about what is not known."""
    what = "whether the policy applies" if found.known else "what the rule needs"
    return replace(found, reason=f"{found.reason}, as far as can be told: {what} is not known", known=False)


def _lowest(ceilings: Iterable[_Ceiling], kind: Callable[[_Ceiling], Hashable]) -> tuple[_Ceiling, ...]:
    """Of each kind the lowest."""
    found: dict[Hashable, _Ceiling] = {}
    for ceiling in ceilings:
        known = found.get(kind(ceiling))
        if known is None or ceiling.most < known.most:
            found[kind(ceiling)] = ceiling
    return tuple(found.values())


def _allowing(applied: list[str]) -> str:
    if not applied:
        return "no policy applies"
    names = ", ".join(f"'{name}'" for name in applied)
    return f"allowed by {'policy' if len(applied) == 1 else 'policies'} {names}"


def _told(clamped: Mapping[str, Number]) -> str:
    return ", ".join(f"'{name}' is cut to {_shown(value)}" for name, value in clamped.items())
