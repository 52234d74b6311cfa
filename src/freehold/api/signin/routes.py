"""`/signin` and `/signout`: pages for browsers. What goes wrong is told on a page, with what to do about it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from freehold.api.body import origin_of
from freehold.api.dialect import error_headers
from freehold.api.signin import page
from freehold.api.signin.cookies import SESSION, SIGNIN, cookie_from, set_cookie
from freehold.api.signin.form import form_of
from freehold.api.signin.journal import record_signin
from freehold.api.signin.origin import check_same_origin
from freehold.api.signin.words import Words, words_for
from freehold.errors import FreeholdError, InvalidRequest, Unauthenticated
from freehold.governance.directory import ORGANIZATION, Directory
from freehold.identity.identity import Identity
from freehold.identity.signins import LIFETIME_S, check_return_to
from freehold.journal.journal import Journal
from freehold.store.directory import MemberRow
from freehold.types.identity import Principal
from freehold.types.signin import LOOPBACK

log = structlog.get_logger("freehold.signin")

DEFAULT_RETURN: Final = "/"


@dataclass(frozen=True, slots=True)
class SignInServices:
    """What sign-in works on.

    Args:
        identity: who is there.
        directory: what they are here.
        journal: where it is recorded that they came and went.
        public_url: where browsers reach the server, if that is set.
    """

    identity: Identity
    directory: Directory
    journal: Journal
    public_url: str | None

    def origin(self, request: Request) -> str:
        """Where the browser reaches this server."""
        return self.public_url or origin_of(request.scope)

    def signed_in(self, request: Request) -> Principal | None:
        """Who the browser's cookie says it is; None if nobody."""
        try:
            cookie = cookie_from(request.scope, SESSION)
            return None if cookie is None else self.identity.sessions.principal(cookie)
        except Unauthenticated:
            return None


Handler = Callable[[Request], Awaitable[Response]]


def signin_routes(services: SignInServices) -> list[BaseRoute]:
    """The routes."""
    pages = _Pages(services)
    return [
        Route("/signin", pages.told(pages.show), methods=["GET"]),
        Route("/signin", pages.told(pages.with_password), methods=["POST"]),
        Route("/signin/with/{provider}", pages.told(pages.with_provider), methods=["POST"]),
        Route("/signin/callback/{provider}", pages.told(pages.come_back), methods=["GET"]),
        Route("/signin/link/{token}", pages.told(pages.show_link), methods=["GET"]),
        Route("/signin/link/{token}", pages.told(pages.use_link), methods=["POST"]),
        Route("/signout", pages.told(pages.sign_out), methods=["POST"]),
    ]


class _Pages:
    def __init__(self, services: SignInServices) -> None:
        self._services = services
        self._identity = services.identity

    def told(self, handler: Handler) -> Handler:
        """The handler, its errors told on a page."""

        async def telling(request: Request) -> Response:
            try:
                check_same_origin(request.scope, self._services.public_url)
                return await handler(request)
            except FreeholdError as exc:
                return self._told_on_page(request, exc)

        return telling

    # --- the sign-in page ---

    async def show(self, request: Request) -> Response:
        """The page on which one signs in; who is signed in already may sign out."""
        return_to = check_return_to(request.query_params.get("return_to", DEFAULT_RETURN))
        principal = self._services.signed_in(request)
        if principal is None:
            return self._signin_page(request, return_to)
        member = self._services.directory.user(principal.organization_id, principal.id)
        project = self._services.directory.project(principal.organization_id, principal.project_id)
        return _html(
            page.signed_in_page(
                _words(request), name=member.name, email=member.email or "", project=project.name, return_to=return_to
            )
        )

    async def with_password(self, request: Request) -> Response:
        """Sign in with address and password."""
        fields = await form_of(request)
        email, return_to = fields.get("email", ""), check_return_to(fields.get("return_to", DEFAULT_RETURN))
        self._services.journal.check()
        try:
            member = await self._identity.accounts.sign_in(email, fields.get("password", ""), _address(request))
        except FreeholdError as exc:
            await self._record_failure(request, exc, "password", email)
            return self._signin_page(request, return_to, error=exc, email=email)
        return await self._let_in(request, member, "password", return_to)

    # --- through a provider ---

    async def with_provider(self, request: Request) -> Response:
        """Send the browser to a provider."""
        fields = await form_of(request)
        provider = self._identity.provider(request.path_params["provider"])
        begun = await self._identity.signins.begin(
            provider,
            cookie_from(request.scope, SIGNIN),
            fields.get("return_to", DEFAULT_RETURN),
            self._callback(request, provider.settings.name),
        )
        response = _html(page.leaving_page(_words(request), title=provider.settings.title, url=begun.url))
        response.headers.append(*set_cookie(SIGNIN, begun.browser, LIFETIME_S))
        return response

    async def come_back(self, request: Request) -> Response:
        """The browser comes back from a provider."""
        provider = self._identity.provider(request.path_params["provider"])
        method = provider.settings.name
        self._services.journal.check()
        try:
            query = _query(request)
            finished = await self._identity.signins.finish(
                provider, query, cookie_from(request.scope, SIGNIN), self._callback(request, method)
            )
            member = await self._identity.admission.admit(provider.settings, finished.said)
        except FreeholdError as exc:
            await self._record_failure(request, exc, method, "")
            return self._signin_page(request, DEFAULT_RETURN, error=exc)
        return await self._let_in(request, member, method, finished.return_to)

    # --- by a link ---

    async def show_link(self, request: Request) -> Response:
        """The page on which somebody sets a password."""
        invited = await self._identity.accounts.invited(request.path_params["token"])
        return _html(page.password_page(_words(request), email=invited.email, new=invited.new))

    async def use_link(self, request: Request) -> Response:
        """Set the password, accept the invitation, sign in."""
        fields = await form_of(request)
        token, name = request.path_params["token"], fields.get("name", "")
        self._services.journal.check()
        invited = await self._identity.accounts.invited(token)
        try:
            password, email = fields.get("password", ""), fields.get("email", "")
            member = await self._identity.accounts.accept(token, name[:256], password, email)
        except InvalidRequest as exc:
            again = page.password_page(
                _words(request), email=invited.email, new=invited.new, message=exc.message, name=name
            )
            return _html(again, exc.status)
        event = "user.added" if invited.first else "invite.accepted" if invited.new else "user.password_set"
        await self._record(request, event, member, "link")
        return await self._let_in(request, member, "password", DEFAULT_RETURN)

    # --- and out ---

    async def sign_out(self, request: Request) -> Response:
        """End the session or, if that is asked for, all of the person's sessions."""
        fields = await form_of(request)
        principal = self._services.signed_in(request)
        response: Response = RedirectResponse("/signin", 303, headers=page.HEADERS)
        if principal is not None:
            if fields.get("everywhere") == "true":
                await self._identity.sessions.end_all(principal.id)
            else:
                await self._identity.sessions.end(principal.id, principal.session_id)
            member = self._services.directory.user(principal.organization_id, principal.id)
            await self._record(request, "logout.succeeded", member, "session")
        response.headers.append(*set_cookie(SESSION, "", 0))
        return response

    # --- parts ---

    async def _let_in(self, request: Request, member: MemberRow, method: str, return_to: str) -> Response:
        """Give the browser a new session; the one that it had ends."""
        await self._record(request, "login.succeeded", member, method)
        cookie = await self._identity.sessions.open(
            member.id,
            method,
            request.headers.get("user-agent", ""),
            instead_of=cookie_from(request.scope, SESSION),
        )
        response = RedirectResponse(return_to, 303, headers=page.HEADERS)
        response.headers.append(*set_cookie(SESSION, cookie, self._identity.sessions.max_s))
        response.headers.append(*set_cookie(SIGNIN, "", 0))
        return response

    async def _record(self, request: Request, event: str, member: MemberRow, method: str) -> None:
        await record_signin(
            self._services.journal,
            request.scope,
            event,
            organization_id=member.organization_id,
            member_id=member.id,
            method=method,
            status=303,
        )

    async def _record_failure(self, request: Request, error: FreeholdError, method: str, email: str) -> None:
        """Record that somebody was turned away; whom the address belongs to, if it is one of ours."""
        member = self._services.directory.user_by_email(email) if email else None
        log.info("signin_refused", request_id=request.scope["state"]["request_id"], method=method, code=error.code)
        if error.code in {"too_many_signins", "signin_over"}:
            return  # what anybody can bring about without end must not fill the journal
        await record_signin(
            self._services.journal,
            request.scope,
            "login.failed",
            organization_id=ORGANIZATION if member is None else member.organization_id,
            member_id=None if member is None else member.id,
            method=method,
            status=error.status,
            code=error.code,
        )

    def _signin_page(
        self, request: Request, return_to: str, *, error: FreeholdError | None = None, email: str = ""
    ) -> Response:
        origin = urlsplit(self._services.origin(request))
        shown = page.signin_page(
            _words(request),
            providers=[(each.settings.name, each.settings.title) for each in self._identity.providers.values()],
            local=self._identity.accounts.allowed,
            return_to=return_to,
            message=None if error is None else error.message,
            email=email,
            insecure=origin.scheme != "https" and origin.hostname not in LOOPBACK,
        )
        return _html(shown, 200 if error is None else error.status, {} if error is None else error_headers(error))

    def _callback(self, request: Request, name: str) -> str:
        """Where a provider sends the browser: an address of its own for each, so that none is taken for another."""
        return f"{self._services.origin(request)}/signin/callback/{name}"

    def _told_on_page(self, request: Request, error: FreeholdError) -> Response:
        if request.url.path == "/signin" and request.method == "GET":
            return self._signin_page(request, DEFAULT_RETURN, error=error)
        shown = page.message_page(_words(request), message=error.message)
        return _html(shown, error.status, error_headers(error))


def _html(text: str, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(text, status, headers={**page.HEADERS, **(more or {})})


def _words(request: Request) -> Words:
    return words_for(request.headers.get("accept-language", ""))


def _query(request: Request) -> dict[str, str]:
    """The query's parameters; one that stands twice is nobody's honest answer."""
    items = request.query_params.multi_items()
    found = dict(items)
    if len(found) != len(items):
        raise InvalidRequest("A parameter of the address stands twice.")
    return found


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
