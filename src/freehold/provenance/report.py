"""What a picture's file says of its origin, and whether that can be believed; made from what the C2PA library found."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from freehold.provenance.manifest import PICTURE_ASSERTION

State: TypeAlias = Literal["intact", "changed", "lapsed", "damaged", "none"]
"""`intact`: signed, and every byte as it was signed. `changed`: the picture or its manifest is not what was signed.
`lapsed`: nothing is changed, but the certificate is not valid, mostly because its time is over. `damaged`: there is a
manifest that cannot be read. `none`: there is no manifest."""

MAX_DEPTH = 16
"""How far back the history of a picture is told."""
MAX_TEXT = 300
MAX_ACTIONS = 100
_CONTENT = {"assertion.dataHash.mismatch", "assertion.dataHash.malformed", "assertion.dataHash.additionalExclusions"}
_UNTRUSTED = "signingCredential.untrusted"
_CERTIFICATE = "signingCredential."
_SIGNATURE = ("claimSignature.", _CERTIFICATE, "algorithm.")


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A certificate's holder, as the certificate says.

    Args:
        organization, name: of the certificate's subject.
        serial: its number.
        expected: whether it is one of the expected authority's; None where none was expected.
    """

    organization: str | None
    name: str | None
    serial: str | None
    expected: bool | None


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done to a picture, and by what."""

    action: str
    when: str | None
    agent: str | None
    agent_version: str | None
    digital_source_type: str | None


@dataclass(frozen=True, slots=True)
class Origin:
    """One manifest: what was claimed of a picture when it was signed.

    Args:
        generator: the program that signed.
        title: of the picture.
        signed_by: whose certificate it is signed with.
        actions: what was done.
        picture: Freehold's own facts: request, deployment, model, weights, seed, parents; None from other programs.
        made_from: the pictures that it was made from.
    """

    generator: str
    title: str | None
    signed_by: SignedBy
    actions: tuple[Action, ...]
    picture: Mapping[str, Any] | None
    made_from: tuple["MadeFrom", ...]


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """A picture that another was made from, and its own history where it is carried along.

    Args:
        relationship: `parentOf`, `inputTo` or `componentOf`.
        holds: whether its own manifest was in order; None where it had none that was kept.
        origin: that manifest.
    """

    relationship: str
    title: str | None
    format: str | None
    holds: bool | None
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: the C2PA specification's code, and what it means."""

    code: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ProvenanceReport:
    """The whole finding.

    Args:
        format: `png`, `jpeg` or `webp`.
        state: in one word.
        signature_valid: whether the signature is the certificate's; None without a manifest that can be read.
        unchanged: whether the bytes are those that were signed; likewise.
        origin: the newest manifest.
        iptc_digital_source_type: the mark in the XMP packet; can be written by anybody.
        problems: what was found wrong.
    """

    format: str
    state: State
    signature_valid: bool | None
    unchanged: bool | None
    origin: Origin | None
    iptc_digital_source_type: str | None
    problems: tuple[Problem, ...]

    @property
    def convincing(self) -> bool:
        """Whether the picture is what its manifest says, signed by whom it was expected of."""
        expected = self.origin is not None and self.origin.signed_by.expected is not False
        return self.state == "intact" and expected

    def wire(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"object": "provenance", **asdict(self), "convincing": self.convincing}


def report_of(
    format_name: str, found: Mapping[str, Any] | None, iptc: str | None, *, expecting: bool
) -> ProvenanceReport:
    """The report of a file whose manifests were read.

    Args:
        format_name: the file's format.
        found: the library's finding; None if there is no manifest.
        iptc: the mark in the XMP packet.
        expecting: whether the library was told whose signature to expect.
    """
    if found is None:
        return ProvenanceReport(format_name, "none", None, None, None, iptc, ())
    active = found["validation_results"]["activeManifest"]
    failures = [entry for entry in active["failure"] if entry["code"] != _UNTRUSTED]
    for delta in found["validation_results"].get("ingredientDeltas") or ():
        failures += [e for e in delta["validationDeltas"]["failure"] if e["code"] != _UNTRUSTED]
    codes = {entry["code"] for entry in failures}
    trusted = not any(entry["code"] == _UNTRUSTED for entry in active["failure"]) if expecting else None
    signature = not any(code.startswith(_SIGNATURE) for code in codes)
    return ProvenanceReport(
        format=format_name,
        state=_state(codes),
        signature_valid=signature,
        unchanged=not codes & _CONTENT,
        origin=_origin(found["simple"], found["active_manifest"], trusted and signature, MAX_DEPTH),
        iptc_digital_source_type=iptc,
        problems=tuple(Problem(e["code"], _text(e.get("explanation")) or "") for e in failures),
    )


def _state(codes: set[str]) -> State:
    """What the codes of all failures come to."""
    if not codes:
        return "intact"
    return "lapsed" if all(code.startswith(_CERTIFICATE) for code in codes) else "changed"


def damaged_report(format_name: str, reason: str, iptc: str | None) -> ProvenanceReport:
    """The report of a file whose manifest cannot be read."""
    problem = Problem("manifest.unreadable", _text(reason) or "")
    return ProvenanceReport(format_name, "damaged", None, None, None, iptc, (problem,))


def _origin(manifests: Mapping[str, Any], label: str, expected: bool | None, depth: int) -> Origin | None:
    manifest = manifests.get(label)
    if manifest is None or depth == 0:
        return None
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{}]
    assertions = {entry.get("label"): entry.get("data") for entry in manifest.get("assertions") or ()}
    picture = assertions.get(PICTURE_ASSERTION)
    return Origin(
        generator=" ".join(filter(None, (_text(generators[0].get(key)) for key in ("name", "version")))),
        title=_text(manifest.get("title")),
        signed_by=SignedBy(
            _text(signature.get("issuer")),
            _text(signature.get("common_name")),
            _text(signature.get("cert_serial_number")),
            expected,
        ),
        actions=tuple(_actions(assertions)),
        picture=_flat(picture) if isinstance(picture, Mapping) else None,
        made_from=tuple(_made_from(manifests, entry, depth) for entry in _parents_first(manifest)),
    )


def _parents_first(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ingredients, the picture that was changed before what was only input."""
    return sorted(manifest.get("ingredients") or (), key=lambda entry: entry.get("relationship") != "parentOf")


def _actions(assertions: Mapping[str, Any]) -> Sequence[Action]:
    data = assertions.get("c2pa.actions.v2") or assertions.get("c2pa.actions")
    entries = data.get("actions") if isinstance(data, Mapping) else None
    found = []
    for entry in entries[:MAX_ACTIONS] if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping):
            continue
        agent = entry.get("softwareAgent")
        name, version = (agent.get("name"), agent.get("version")) if isinstance(agent, Mapping) else (agent, None)
        found.append(
            Action(
                _text(entry.get("action")) or "",
                _text(entry.get("when")),
                _text(name),
                _text(version),
                _text(entry.get("digitalSourceType")),
            )
        )
    return found


def _made_from(manifests: Mapping[str, Any], entry: Mapping[str, Any], depth: int) -> MadeFrom:
    label = entry.get("active_manifest")
    origin, holds = None, None
    if label is not None:
        active = (entry.get("validation_results") or {}).get("activeManifest") or {}
        codes = {failure["code"] for failure in active.get("failure") or ()}
        holds = not codes - {_UNTRUSTED}
        trusted = any(success["code"] == "signingCredential.trusted" for success in active.get("success") or ())
        origin = _origin(manifests, label, True if trusted and holds else None, depth - 1)
    return MadeFrom(
        relationship=_text(entry.get("relationship")) or "",
        title=_text(entry.get("title")),
        format=_text(entry.get("format")),
        holds=holds,
        origin=origin,
    )


def _flat(picture: Mapping[str, Any]) -> dict[str, Any]:
    """Freehold's own facts, bounded: anybody can sign such an assertion with a certificate of their own."""
    facts: dict[str, Any] = {}
    for name, value in list(picture.items())[:32]:
        if isinstance(value, str | int | float | bool | None):
            facts[name[:64]] = value[:MAX_TEXT] if isinstance(value, str) else value
        elif name == "parents" and isinstance(value, list):
            kept = [entry for entry in value[:MAX_DEPTH] if isinstance(entry, Mapping)]
            facts[name] = [{key: _text(entry.get(key)) for key in ("sha256", "history")} for entry in kept]
    return facts


def _text(value: Any) -> str | None:
    """A text of bounded length; None for anything else."""
    return value[:MAX_TEXT] if isinstance(value, str) else None
