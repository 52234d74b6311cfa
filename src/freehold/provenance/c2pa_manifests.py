"""Manifests signed and read with the C2PA library, which is native code. Runs in the worker only."""

import hashlib
import io
import json
from typing import Any

from c2pa import Builder, C2paError, C2paSignerInfo, Context, Reader, Signer

from freehold.provenance.manifest import PICTURE_ASSERTION, Parent, definition, ingredient
from freehold.provenance.pillow_encoding import UnreadablePicture, identify
from freehold.types.images import PictureFacts

MAX_HISTORY_BYTES = 1 << 20
"""How much of a parent's history, as JSON, is carried along."""
CARRIED = ("c2pa.actions", "c2pa.hash.", "c2pa.ingredient", "c2pa.certificate-status", PICTURE_ASSERTION)
"""What a parent's manifest may assert to be carried along: nothing of who, where and with what it was taken."""


class UnreadableParent(ValueError):
    """A parent is no picture that can be read here."""


class DamagedManifest(ValueError):
    """There is a manifest, but it cannot be read."""


def context(issuers: str) -> Context:
    """How the library is to behave: nothing from the network, nothing added, and whom to trust.

    Args:
        issuers: certificates of authorities as PEM; empty for nobody.
    """
    off = {"enabled": False}
    settings: dict[str, Any] = {
        "version": 1,
        "builder": {
            "thumbnail": off,
            "actions": {"auto_created_action": off, "auto_opened_action": off, "auto_placed_action": off},
        },
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
        "core": {"allowed_network_hosts": []},
    }
    if issuers:
        settings["trust"] = {"trust_anchors": issuers}
    return Context.from_dict(settings)


class ManifestSigner:
    """Signs manifests.

    Args:
        chain: the signing certificate and those above it, as PEM.
        private_key: its key, as PEM.
        algorithm: C2PA's name for the signature.
        issuers: the authorities above, as PEM.
    """

    def __init__(self, chain: str, private_key: str, algorithm: str, issuers: str) -> None:
        self._info = (algorithm, chain.encode(), private_key.encode())
        self._context = context(issuers)

    def sign(self, picture: bytes, format_name: str, facts: PictureFacts) -> bytes:
        """The picture's file with its manifest.

        Args:
            picture: an encoded file without one.
            format_name: `png`, `jpeg` or `webp`.
            facts: what to say, with the parents.

        Raises:
            UnreadableParent: a parent is no picture.
            C2paError: it cannot be signed, as with a certificate that C2PA does not allow.
        """
        parents = [self._parent(data) for data in facts.parents]
        definition_json = json.dumps(definition(facts, format_name, parents))
        with Builder.from_json(definition_json, context=self._context) as builder:
            for index, (parent, data) in enumerate(zip(parents, facts.parents, strict=True)):
                if parent.history == "kept":
                    builder.add_ingredient(ingredient(parent, index), f"image/{parent.format}", io.BytesIO(data))
            out = io.BytesIO()
            with Signer.from_info(C2paSignerInfo(*self._info, None)) as signer:
                builder.sign(signer, f"image/{format_name}", io.BytesIO(picture), out)
        return out.getvalue()

    def failures(self, signed: bytes, format_name: str) -> list[str]:
        """What is wrong with a picture just signed, as C2PA's codes; nothing if all is well."""
        found = read_manifests(signed, format_name, self._context)
        assert found is not None, "it was signed just now"
        return [entry["code"] for entry in found["validation_results"]["activeManifest"]["failure"]]

    def _parent(self, data: bytes) -> Parent:
        """What is said of a parent, and whether its own manifest is carried along."""
        try:
            format_name = identify(data)
        except UnreadablePicture as exc:
            raise UnreadableParent(str(exc)) from exc
        return Parent(format_name, hashlib.sha256(data).hexdigest(), self._history(data, format_name))

    def _history(self, data: bytes, format_name: str) -> str:
        try:
            found = read_manifests(data, format_name, self._context)
        except DamagedManifest:
            return "left_out"
        if found is None:
            return "none"
        if found["validation_state"] == "Invalid" or len(json.dumps(found)) > MAX_HISTORY_BYTES:
            return "left_out"
        labels = [label for manifest in found["manifests"].values() for label in manifest["assertion_store"]]
        return "kept" if all(label.startswith(CARRIED) for label in labels) else "left_out"


def read_manifests(data: bytes, format_name: str, trusting: Context) -> dict[str, Any] | None:
    """All manifests of a file and what the library found out about them; None if there is none.

    Raises:
        DamagedManifest: there is one that cannot be read.
    """
    try:
        with Reader(f"image/{format_name}", io.BytesIO(data), context=trusting) as reader:
            simple = json.loads(reader.json())
            detailed = json.loads(reader.detailed_json())
    except C2paError.ManifestNotFound:
        return None
    except (C2paError, ValueError) as exc:
        raise DamagedManifest(str(exc)) from exc
    return {**detailed, "simple": simple["manifests"]}
