"""The pages of sign-in. They need no script, and their policy allows none."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from freehold.api.signin.words import Words
from freehold.identity.passwords import MIN_LENGTH

_STYLE = """
:root { color-scheme: light dark; --paper: light-dark(#fbfaf6, #161916); --raised: light-dark(#ffffff, #1f231f);
  --ink: light-dark(#1e211d, #e8ebe4); --soft: light-dark(#51574f, #b3bab0); --line: light-dark(#87897d, #71796e);
  --accent: light-dark(#1f6f5c, #7dc9b2); --on-accent: light-dark(#ffffff, #0c1f19);
  --danger: light-dark(#a3271c, #f2a097); --warning: light-dark(#7c5200, #e6bd6a); }
* { box-sizing: border-box; }
body { background: var(--paper); color: var(--ink); font: 16px/1.55 Inter, system-ui, sans-serif; margin: 0;
  padding: min(14vh, 8rem) 1.25rem 2.5rem; }
main { max-width: 23rem; margin: 0 auto; }
.wordmark { color: var(--accent); font: 500 1.125rem/1.2 'Source Serif 4', Georgia, serif; margin: 0 0 2rem; }
h1 { font: 500 1.875rem/1.25 'Source Serif 4', Georgia, serif; letter-spacing: -.01em; margin: 0 0 .25rem; }
p { margin: .5rem 0; }
.lead { color: var(--soft); margin-bottom: 1.5rem; overflow-wrap: anywhere; }
form { margin: 0 0 .75rem; }
label { display: block; font-size: .875rem; font-weight: 500; margin: 1rem 0 .3rem; }
input { width: 100%; font: inherit; padding: .5rem .7rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--raised); color: inherit; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); }
button { width: 100%; font: inherit; font-weight: 500; padding: .5rem .9rem; border-radius: 6px; cursor: pointer;
  border: 1px solid var(--line); background: var(--raised); color: inherit; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); margin-top: 1.5rem; }
.hint { color: var(--soft); font-size: .875rem; margin: .3rem 0 0; }
.message { border-left: 3px solid var(--danger); margin: 0 0 1.25rem; padding: .2rem 0 .2rem .9rem; }
.message.note { border-left-color: var(--warning); }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.25rem 0; color: var(--soft); font-size: .875rem; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }
dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1rem; margin: 1rem 0 1.5rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With `no-referrer` browsers would send the forms with `Origin: null`.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


def signin_page(
    words: Words,
    *,
    providers: Iterable[tuple[str, str]],
    local: bool,
    return_to: str,
    message: str | None = None,
    email: str = "",
    insecure: bool = False,
) -> str:
    """The page on which people choose how to sign in.

    Args:
        words: of the reader's language.
        providers: name and title of each identity provider.
        local: whether there is a form for address and password.
        return_to: where to go afterwards.
        message: what went wrong.
        email: what stood in the form.
        insecure: whether the browser will not keep the session, because the page did not come over TLS.
    """
    hidden = _hidden("return_to", return_to)
    parts = [_message(message)]
    if insecure:
        parts.append(f'<p class="message note">{words("insecure")}</p>')
    buttons = [
        f'<form method="post" action="/signin/with/{escape(name)}">{hidden}'
        f"<button>{words('sign_in_with', title=title)}</button></form>"
        for name, title in providers
    ]
    parts += buttons
    if buttons and local:
        parts.append(f'<p class="or">{words("or_password")}</p>')
    if local:
        focus = "" if email or message or buttons else " autofocus"
        parts.append(
            f'<form method="post" action="/signin">{hidden}<label for="email">{words("address")}</label>'
            '<input id="email" name="email" type="email" autocomplete="username" required '
            f'value="{escape(email)}"{focus}>'
            f'<label for="password">{words("password")}</label>'
            '<input id="password" name="password" type="password" autocomplete="current-password" required>'
            f'<button class="main">{words("sign_in")}</button></form><p class="hint">{words("lost")}</p>'
        )
    if not buttons and not local:
        parts.append(f'<p class="message note">{words("nobody")}</p>')
    return _page(words, words("sign_in"), words("lead"), parts)


def signed_in_page(words: Words, *, name: str, email: str, project: str, return_to: str) -> str:
    """What somebody sees on the sign-in page who is signed in already."""
    facts = (("name", name), ("address", email), ("project", project))
    return _page(
        words,
        words("signed_in"),
        words("lead"),
        [
            f"<dl>{''.join(f'<dt>{words(key)}</dt><dd>{escape(value)}</dd>' for key, value in facts)}</dl>",
            f'<p><a href="{escape(return_to)}">{words("go_on")}</a></p>',
            f'<form method="post" action="/signout"><button class="main">{words("sign_out")}</button></form>',
            (
                f'<form method="post" action="/signout">{_hidden("everywhere", "true")}'
                f"<button>{words('everywhere')}</button></form>"
            ),
        ],
    )


def leaving_page(words: Words, *, title: str, url: str) -> str:
    """The page that sends the browser to an identity provider.

    Not a redirect: browsers hold a form's redirects to the policy for forms, which names this server alone.
    """
    return _page(
        words,
        words("signing_in"),
        words("leaving", title=title),
        [f'<p><a href="{escape(url)}" rel="noreferrer">{words("go_on_to", title=title)}</a></p>'],
        head=f'<meta http-equiv="refresh" content="0; url={escape(url)}">',
    )


def password_page(words: Words, *, email: str, new: bool, message: str | None = None, name: str = "") -> str:
    """The page behind a link: set a password and, as somebody invited, say one's name; as the first, one's address."""
    asked = (
        f'<label for="name">{words("your_name")}</label><input id="name" name="name" autocomplete="name" '
        f'maxlength="256" required value="{escape(name)}">'
        if new
        else ""
    )
    account = (
        f'<input type="hidden" name="username" autocomplete="username" value="{escape(email)}">'
        if email
        else f'<label for="email">{words("your_address")}</label>'
        '<input id="email" name="email" type="email" autocomplete="username" required>'
    )
    form = (
        f'<form method="post">{asked}{account}<label for="password">{words("choose")}</label>'
        f'<input id="password" name="password" type="password" autocomplete="new-password" minlength="{MIN_LENGTH}" '
        'maxlength="256" required aria-describedby="rule">'
        f'<p class="hint" id="rule">{words("at_least", least=MIN_LENGTH)}</p>'
        f'<button class="main">{words("accept" if new and email else "set")}</button></form>'
    )
    lead = words("first") if not email else words("invited" if new else "for", email=email)
    return _page(words, words("welcome" if new else "set_title"), lead, [_message(message), form])


def message_page(words: Words, *, message: str) -> str:
    """A page that only says what went wrong, and leads back to sign-in."""
    return _page(words, words("failed"), "", [_message(message), f'<p><a href="/signin">{words("back")}</a></p>'])


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def _message(text: str | None) -> str:
    return "" if text is None else f'<p class="message" role="alert">{escape(text)}</p>'


def _page(words: Words, title: str, lead: str, parts: Iterable[str], head: str = "") -> str:
    """A page; title and lead are HTML already."""
    said = f'<p class="lead">{lead}</p>' if lead else ""
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · Freehold</title>\n{head}<style>{_STYLE}</style>\n</head>\n"
        f'<body>\n<main>\n<p class="wordmark">Freehold</p>\n<h1>{title}</h1>\n{said}\n{body}\n'
        "</main>\n</body>\n</html>\n"
    )
