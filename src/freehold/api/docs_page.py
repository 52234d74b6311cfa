"""The pages of `/docs`. Every text of a document is escaped; there is no script."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from freehold.api.docs_schema import Field, Schema, fields_of, kind_of

STYLE: Final = (Path(__file__).parent / "docs.css").read_text(encoding="utf-8")
STYLE_SHA256: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
ACTION: Final = "x-freehold-action"
"""Where a document says which action an operation is."""

_ENVELOPE: Final = escape('{"error": {"message", "type", "param", "code"}}')
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_CODE: Final = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation of a document."""

    method: str
    path: str
    spec: Mapping[str, Any]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.method} {self.path}".lower()).strip("-")

    @property
    def tag(self) -> str:
        """The group that it stands in."""
        return str(next(iter(self.spec.get("tags", ())), "other"))


def key_page(problem: str | None = None) -> str:
    """The page that asks for a key.

    Args:
        problem: why the one before was refused.
    """
    told = f'<p class="problem" role="alert">{_text(problem)}</p>' if problem else ""
    return _page(
        "Administration API",
        f"""<main class="narrow"><h1>Administration API</h1>
<p>The reference of <code>/v1/organization</code> and <code>/admin</code> is for administrators. Give an API key whose
roles allow administration, such as the one in <code>admin.key</code> in the home folder.</p>{told}
<form method="post" action="/docs/reference">
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="off" required maxlength="256" spellcheck="false">
<button>Show the reference</button></form></main>""",
    )


def reference_page(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """The reference.

    Args:
        documents: the path under which an application is mounted → its OpenAPI document.
    """
    parts = [(prefix, document, _groups(prefix, document)) for prefix, document in documents.items()]
    menu = "".join(_menu(prefix, groups) for prefix, _, groups in parts)
    body = "".join(_application(prefix, document, groups) for prefix, document, groups in parts)
    version = escape(str(next(iter(documents.values()))["info"]["version"]))
    intro = f"""<header><h1>Administration API</h1>
<p>Freehold {version}. Send a key as <code>Authorization: Bearer fh-…</code>; bodies and answers are JSON. Errors are
<code>{_ENVELOPE}</code>: 400 for a wrong parameter, which is named, 401 without a valid credential, 403 where no role
of yours allows it, 404 for what does not exist or is another organization's, 409 where something is in the way. Every
change is recorded in the journal before its answer is sent.</p></header>"""
    return _page("Administration API", f'<nav aria-label="Operations">{menu}</nav><main>{intro}{body}</main>')


def _groups(prefix: str, document: Mapping[str, Any]) -> dict[str, list[_Operation]]:
    groups: dict[str, list[_Operation]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = _Operation(method, prefix + path, item[method])
                groups.setdefault(operation.tag, []).append(operation)
    return groups


def _menu(prefix: str, groups: Mapping[str, list[_Operation]]) -> str:
    entries = "".join(f'<li><a href="#{_group_anchor(prefix, tag)}">{escape(tag)}</a></li>' for tag in groups)
    return f"<h2>{escape(prefix)}</h2><ul>{entries}</ul>"


def _application(prefix: str, document: Mapping[str, Any], groups: Mapping[str, list[_Operation]]) -> str:
    schemas = document.get("components", {}).get("schemas", {})
    sections = "".join(
        f'<section><h3 id="{_group_anchor(prefix, tag)}">{escape(tag)}</h3>'
        f"{''.join(_shown(operation, schemas) for operation in operations)}</section>"
        for tag, operations in groups.items()
    )
    return f'<h2 class="application"><code>{escape(prefix)}</code> {escape(document["info"]["title"])}</h2>{sections}'


def _group_anchor(prefix: str, tag: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{prefix} {tag}".lower()).strip("-")


def _shown(operation: _Operation, schemas: Mapping[str, Schema]) -> str:
    """An operation: folded, its method, its path and what it does."""
    first, _, rest = str(operation.spec.get("description", operation.spec.get("summary", ""))).partition("\n\n")
    action = operation.spec.get(ACTION)
    needs = f'<p class="needs">Needs <code>{escape(action)}</code>.</p>' if action else ""
    more = "".join(f"<p>{_text(paragraph)}</p>" for paragraph in rest.split("\n\n") if paragraph.strip())
    method = f'<span class="method {operation.method}">{operation.method.upper()}</span>'
    summary = f"{method} <code>{_path(operation.path)}</code> <span>{_text(first)}</span>"
    inside = f"{more}{needs}{_parameters(operation, schemas)}{_body(operation, schemas)}{_answers(operation)}"
    return f'<details id="{operation.anchor}"><summary>{summary}</summary><div>{inside}</div></details>'


def _parameters(operation: _Operation, schemas: Mapping[str, Schema]) -> str:
    rows = []
    for parameter in operation.spec.get("parameters", ()):
        inner = {"properties": {parameter["name"]: parameter["schema"]}}
        (field,) = [field for field in fields_of(inner, schemas) if field.depth == 0]
        about = parameter.get("description", "") or field.about
        name = f"{field.name} ({parameter['in']})" if parameter["in"] != "query" else field.name
        rows.append(Field(name, 0, field.kind, parameter.get("required", False), about))
    return _table("Parameters", rows)


def _body(operation: _Operation, schemas: Mapping[str, Schema]) -> str:
    content = operation.spec.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return ""
    rows = list(fields_of(content["schema"], schemas))
    about = _object_about(content["schema"], schemas)
    return _table("Body", rows, about) if rows else f"<h4>Body</h4><p>{escape(kind_of(content['schema'], schemas))}</p>"


def _object_about(schema: Schema, schemas: Mapping[str, Schema]) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return _text(str(schemas.get(name, {}).get("description", "")))


def _answers(operation: _Operation) -> str:
    statuses = [status for status in operation.spec.get("responses", {}) if status.startswith("2")]
    return f"<h4>Answer</h4><p>{escape(', '.join(statuses))}: a JSON object.</p>" if statuses else ""


def _table(title: str, rows: Sequence[Field], about: str = "") -> str:
    if not rows:
        return ""
    told = f"<p>{about}</p>" if about else ""
    head = "<tr><th>Name</th><th>Type</th><th></th></tr>"
    return f"<h4>{title}</h4>{told}<table><thead>{head}</thead><tbody>{''.join(map(_line, rows))}</tbody></table>"


def _line(field: Field) -> str:
    must = ' <strong class="required">required</strong>' if field.required else ""
    return (
        f'<tr><td class="depth-{min(field.depth, 5)}"><code>{escape(field.name)}</code>{must}</td>'
        f"<td>{escape(field.kind)}</td><td>{_text(field.about)}</td></tr>"
    )


def _path(path: str) -> str:
    """A path that may break behind its slashes, with its parameters marked."""
    return re.sub(r"\{([^}]*)\}", r"<var>{\1}</var>", escape(path).replace("/", "/<wbr>"))


def _text(text: str) -> str:
    """A text of a document: what stands between back quotes as code."""
    return _CODE.sub(r"<code>\1</code>", escape(" ".join(text.split())))


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Freehold</title><style>{STYLE}</style></head><body>{body}</body></html>"
    )
