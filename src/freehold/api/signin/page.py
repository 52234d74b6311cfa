"""The pages of sign-in. They need no script, and their policy allows none."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape

from freehold.identity.passwords import MIN_LENGTH

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); --accent: #1f6f5c; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; padding: 2.5rem 1.25rem; }
main { max-width: 23rem; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
p { margin: .5rem 0; }
.lead { opacity: .75; margin-bottom: 1.5rem; }
form { margin: 0 0 .75rem; }
label { display: block; font-weight: 600; margin: .9rem 0 .3rem; }
input { width: 100%; font: inherit; padding: .55rem .7rem; border: 1px solid var(--line); border-radius: 8px;
  background: transparent; color: inherit; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
button { width: 100%; font: inherit; font-weight: 600; padding: .6rem .9rem; border-radius: 8px; cursor: pointer;
  border: 1px solid var(--line); background: transparent; color: inherit; }
button.main { background: var(--accent); border-color: var(--accent); color: #fff; margin-top: 1.2rem; }
.hint { font-size: .875rem; opacity: .75; margin: .3rem 0 0; }
.message { border: 1px solid var(--line); border-left: 4px solid #b3261e; border-radius: 8px; padding: .7rem .9rem;
  margin: 0 0 1.25rem; }
.message.note { border-left-color: #9a6b00; }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.25rem 0; opacity: .7; font-size: .875rem; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }
dl { display: grid; grid-template-columns: auto 1fr; gap: .3rem 1rem; margin: 1rem 0 1.5rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
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
        parts.append(
            '<p class="message note">This page did not come over https://, so the browser will not keep you signed '
            "in. Open the server's https:// address.</p>"
        )
    buttons = [
        f'<form method="post" action="/signin/with/{escape(name)}">{hidden}'
        f"<button>Sign in with {escape(title)}</button></form>"
        for name, title in providers
    ]
    parts += buttons
    if buttons and local:
        parts.append('<p class="or">or with your password</p>')
    if local:
        focus = "" if email or message or buttons else " autofocus"
        parts.append(
            f'<form method="post" action="/signin">{hidden}'
            f'<label for="email">E-mail</label><input id="email" name="email" type="email" autocomplete="username" '
            f'required value="{escape(email)}"{focus}>'
            '<label for="password">Password</label><input id="password" name="password" type="password" '
            'autocomplete="current-password" required>'
            '<button class="main">Sign in</button></form>'
            '<p class="hint">No account, or the password is lost? Ask your administrator for a link.</p>'
        )
    if not buttons and not local:
        parts.append(
            '<p class="message note">Nobody can sign in here: passwords are switched off, and no identity provider is '
            "configured. Programs call this server with an API key.</p>"
        )
    return _page("Sign in", "Freehold, your own Azure OpenAI Service.", parts)


def signed_in_page(*, name: str, email: str, project: str, return_to: str) -> str:
    """What somebody sees on the sign-in page who is signed in already."""
    everywhere = "<button>Sign out on every device</button></form>"
    return _page(
        "You are signed in",
        "Freehold, your own Azure OpenAI Service.",
        [
            f"<dl>{_row('Name', name)}{_row('E-mail', email)}{_row('Project', project)}</dl>",
            f'<p><a href="{escape(return_to)}">Go on</a></p>',
            '<form method="post" action="/signout"><button class="main">Sign out</button></form>',
            '<form method="post" action="/signout">' + _hidden("everywhere", "true") + everywhere,
        ],
    )


def leaving_page(*, title: str, url: str) -> str:
    """The page that sends the browser to an identity provider.

    Not a redirect: browsers hold a form's redirects to the policy for forms, which names this server alone.
    """
    return _page(
        "Signing in",
        f"You are being taken to {title}.",
        [f'<p><a href="{escape(url)}" rel="noreferrer">Go on to {escape(title)}</a></p>'],
        head=f'<meta http-equiv="refresh" content="0; url={escape(url)}">',
    )


def password_page(*, email: str, new: bool, message: str | None = None, name: str = "") -> str:
    """The page behind a link: set a password and, as somebody invited, say one's name; as the first, one's address."""
    asked = (
        f'<label for="name">Your name</label><input id="name" name="name" autocomplete="name" maxlength="256" '
        f'required value="{escape(name)}">'
        if new
        else ""
    )
    account = (
        f'<input type="hidden" name="username" autocomplete="username" value="{escape(email)}">'
        if email
        else '<label for="email">Your e-mail</label>'
        '<input id="email" name="email" type="email" autocomplete="username" required>'
    )
    form = (
        f'<form method="post">{asked}{account}<label for="password">Choose a password</label>'
        f'<input id="password" name="password" type="password" autocomplete="new-password" minlength="{MIN_LENGTH}" '
        f'maxlength="256" required aria-describedby="rule"><p class="hint" id="rule">At least {MIN_LENGTH} characters. '
        "Several words in a row are easy to remember and hard to guess.</p>"
        f'<button class="main">{"Accept and sign in" if new and email else "Set the password and sign in"}</button>'
        "</form>"
    )
    if not email:
        lead = "You are the first here. Make the account that administers this server."
    else:
        lead = f"You have been invited as {email}." if new else f"For {email}."
    return _page("Welcome to Freehold" if new else "Set a password", lead, [_message(message), form])


def message_page(*, title: str, message: str) -> str:
    """A page that only says something, and leads back to sign-in."""
    return _page(title, "", [_message(message), '<p><a href="/signin">To the sign-in page</a></p>'])


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def _row(name: str, value: str) -> str:
    return f"<dt>{name}</dt><dd>{escape(value)}</dd>"


def _message(text: str | None) -> str:
    return "" if text is None else f'<p class="message" role="alert">{escape(text)}</p>'


def _page(title: str, lead: str, parts: Iterable[str], head: str = "") -> str:
    said = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · Freehold</title>\n{head}<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{said}\n{body}\n</main>\n</body>\n</html>\n"
    )
