"""The way of one request, from a credential to a stream of events.

    authenticate → authorize → resolve → validate → permit → admit → filter → route → generate → settle

`chat`, `complete`, `embed` and `paint` each show it whole, but for the first step and the last, which the edge takes
with `authenticate` and `books.close`. Each step takes what the one before returned; the account is told what there is
to know of the request. When an `Answer` is returned its first event has arrived, so everything that can be refused was
refused. Embeddings pass no filter, as on Azure.
"""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial

from freehold.catalog.deployments import Deployment, DeploymentRegistry
from freehold.content_filter.registry import FilterRegistry
from freehold.engines.base import Connection
from freehold.errors import DeploymentNotFound, FreeholdError, InvalidRequest
from freehold.gateway.account import EVALUATED, Account
from freehold.gateway.answers import Answer, EmbeddingAnswer, PaintAnswer, begun, rejoined, text_answer
from freehold.gateway.books import Books
from freehold.gateway.bounds import Bounds, chat_bounds, completion_bounds, embedding_bounds, image_bounds
from freehold.gateway.content import Content
from freehold.gateway.conversation_sharing import Sharing
from freehold.gateway.counting import TokenCounter
from freehold.gateway.engine_requests import DEFAULT_COMPLETION_TOKENS, copy_of, nothing_but_usage, with_defaults
from freehold.gateway.fanout import best, merge
from freehold.gateway.filtering import Filtering
from freehold.gateway.fine_tuning import FineTuning
from freehold.gateway.flights import Flights
from freehold.gateway.image_orders import check_image, order_of, sizes_for
from freehold.gateway.legacy import functions_as_tools
from freehold.gateway.model_details import ModelDetails
from freehold.gateway.moderation import Moderator
from freehold.gateway.parameters import (
    chat_parameters,
    completion_parameters,
    embedding_parameters,
    image_parameters,
)
from freehold.gateway.passages import echoed
from freehold.gateway.permits import Permit, Permits, allowed_sizes, bounded_images, bounded_text, owns, sees
from freehold.gateway.picture_screen import PictureScreen
from freehold.gateway.pictures import Pictures, Uploads
from freehold.gateway.remote_tools import RemoteTools
from freehold.gateway.response_opening import Models, open_responses
from freehold.gateway.routing import Begin, Begun, EventT, Router, Tries
from freehold.gateway.text_screen import TextScreen
from freehold.gateway.validation import check_chat, check_completion, check_embedding, tier_of
from freehold.governance.authorization import decide, require, scoped
from freehold.serving.lender import Lender
from freehold.serving.prompt_key import PromptKey
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest, Prompt
from freehold.types.content import tenant_of
from freehold.types.embeddings import EmbeddingRequest
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Embeddings, Event
from freehold.types.identity import Action, Principal
from freehold.types.images import ImageRequest, OutputFormat, PaintEvent


class Gateway:
    """Everything that happens to a request between HTTP and the engine."""

    def __init__(
        self,
        deployments: DeploymentRegistry,
        supervisor: Lender,
        flights: Flights,
        books: Books,
        permits: Permits,
        pictures: Pictures,
        content: Content,
        filters: FilterRegistry,
        remote: RemoteTools,
        router: Router,
        fine_tuning: FineTuning,
        sharing: Sharing,
    ) -> None:
        self._deployments = deployments
        self._supervisor = supervisor
        self._router, self.details = router, ModelDetails(supervisor, permits)
        self._permits, self.check_caller = permits, permits.check_caller
        self._pictures = pictures
        self._filtering = Filtering(filters, content.flagged)
        self.content, self.fine_tuning = content, fine_tuning
        self.picture_files, self.completions = content.pictures, content.completions
        self.files, self.uploads = content.files, content.uploads
        self.conversations, self.sharing = content.conversations, sharing
        models = Models(self.chat, self.vet, self.paint, self.model, TokenCounter(self._found, supervisor).count)
        self.responses = open_responses(models, content, books, flights, remote)
        self.moderator = Moderator(filters.moderation, books, permits)
        self.flights, self.books = flights, books

    async def chat(self, principal: Principal, request: ChatRequest, account: Account) -> Answer:
        """Answer a conversation.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        deployment, traits, request, needs, permit = await self._vetted(principal, request, account)
        copies = 1 if Feature.N in traits.features else request.n or 1
        tries = [Tries() for _ in range(copies)]
        screen = TextScreen(
            self._filtering, principal.project_id, account, choices=request.n or 1, whole=not request.stream
        )

        async def begin(chosen: Deployment, patience_s: float) -> AsyncGenerator[Event]:
            def start(vetted: ChatRequest, copy: int) -> AsyncGenerator[Event]:
                def call(connection: Connection, served: Deployment) -> AsyncGenerator[Event]:
                    update = with_defaults(vetted, served) | copy_of(vetted, copy, copies)
                    return connection.chat(vetted.model_copy(update=update) if update else vetted)

                return self._router.stream(
                    chosen,
                    needs,
                    call,
                    affinity=PromptKey(vetted.prompt_cache_key or vetted.user, vetted),
                    patience_s=patience_s,
                    tries=tries[copy],
                    account=account,
                )

            def generate(vetted: ChatRequest) -> AsyncGenerator[Event]:
                return merge([start(vetted, copy) for copy in range(copies)], per_prompt=copies)

            return await screen.screened(chosen, request, generate)

        bounds = partial(chat_bounds, request, account.prompt_bytes, traits.context_length)
        candidates = await self.books.admit(account, principal, permit.candidates, bounds)
        text = await self._begin(principal, candidates, account, bounds, begin, tries)
        return text_answer("chatcmpl", deployment, account.lease, traits, account.metered(*text, counted=True))

    async def vet(self, principal: Principal, request: ChatRequest, account: Account) -> None:
        """Look whether a conversation would be answered, as far as that can be said beforehand.

        Raises:
            RequestError: the request is refused.
        """
        await self._vetted(principal, request, account)

    async def complete(self, principal: Principal, request: CompletionRequest, account: Account) -> Answer:
        """Continue one prompt or several.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        deployment, traits, candidates = await self._resolve(principal, request.model, account)
        needs = check_completion(request, deployment, traits)
        account.parameters = completion_parameters(request)
        permit = self._permits.grant(principal, candidates, account)
        request = bounded_text(request, permit, deployment, account)
        wanted, keep = max(request.n or 1, request.best_of or 1), request.n or 1
        copies = 1 if Feature.N in traits.features else wanted
        limit = DEFAULT_COMPLETION_TOKENS if request.max_tokens is None else request.max_tokens
        tries = [Tries() for _ in range(copies * len(request.prompts))]
        screen = TextScreen(
            self._filtering,
            principal.project_id,
            account,
            choices=keep * len(request.prompts),
            whole=not request.stream,
            befores=echoed(request),
        )

        async def begin(chosen: Deployment, patience_s: float) -> AsyncGenerator[Event]:
            def start(vetted: CompletionRequest, prompt: Prompt, place: int) -> AsyncGenerator[Event]:
                def call(connection: Connection, served: Deployment) -> AsyncGenerator[Event]:
                    update = with_defaults(vetted, served)
                    update |= copy_of(vetted, place % copies, copies) | {"best_of": None}
                    if copies < wanted:
                        update["n"] = wanted
                    if wanted > keep and vetted.logprobs is None:
                        update["logprobs"] = 0
                    update["max_tokens"] = max(limit, 1)  # none is not a request to an engine
                    return connection.complete(vetted.model_copy(update=update), prompt)

                stream = self._router.stream(
                    chosen,
                    needs,
                    call,
                    affinity=PromptKey(prompt[:256] if isinstance(prompt, str) else None, prompt),
                    patience_s=patience_s,
                    tries=tries[place],
                    account=account,
                )
                return nothing_but_usage(stream) if limit == 0 else stream

            def generate(vetted: CompletionRequest) -> AsyncGenerator[Event]:
                streams = [start(vetted, vetted.prompts[place // copies], place) for place in range(len(tries))]
                events = merge(streams, per_prompt=copies, choices_per_stream=wanted // copies)
                return best(events, best_of=wanted, keep=keep) if wanted > keep else events

            return await screen.screened(chosen, request, generate)

        bounds = partial(completion_bounds, request, limit, account.prompt_bytes, traits.context_length)
        candidates = await self.books.admit(account, principal, permit.candidates, bounds)
        text = await self._begin(principal, candidates, account, bounds, begin, tries)
        return text_answer("cmpl", deployment, account.lease, traits, account.metered(*text, counted=True))

    async def embed(self, principal: Principal, request: EmbeddingRequest, account: Account) -> EmbeddingAnswer:
        """Turn texts into vectors.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        deployment, traits, candidates = await self._resolve(principal, request.model, account)
        needs = check_embedding(request, deployment, traits)
        account.parameters = embedding_parameters(request)
        permit = self._permits.grant(principal, candidates, account)
        found: list[Embeddings] = []
        tries = Tries()

        async def call(connection: Connection, _chosen: Deployment) -> AsyncGenerator[Event]:
            found.append(await connection.embed(request.inputs, request.dimensions))
            yield found[-1].usage

        async def begin(chosen: Deployment, patience_s: float) -> AsyncGenerator[Event]:
            return self._router.stream(
                chosen, needs, call, affinity=None, patience_s=patience_s, tries=tries, account=account
            )

        bounds = partial(embedding_bounds, request, account.prompt_bytes, traits.context_length)
        candidates = await self.books.admit(account, principal, permit.candidates, bounds)
        vectors = await self._begin(principal, candidates, account, bounds, begin, [tries])
        async for _usage in account.metered(*vectors):
            pass
        return EmbeddingAnswer(deployment.name, found[-1])

    async def paint(
        self, principal: Principal, request: ImageRequest, uploads: Uploads, account: Account
    ) -> PaintAnswer:
        """Paint pictures: from a text, from a text and a picture, or from a picture.

        Uploads are decoded after the request was admitted: who is over a limit causes no such work.

        Raises:
            RequestError: the request is refused.
            ServiceError: no engine could answer.
        """
        deployment, traits, candidates = await self._resolve(principal, request.model, account)
        if request.by_url:
            self.picture_files.check(tenant_of(principal))
        needs = check_image(request, deployment, traits)
        traits = self._permits.narrowed(principal, deployment, traits)
        order = order_of(request, traits)
        account.parameters = image_parameters(request, order)
        permit = self._permits.grant(principal, candidates, account)
        request = bounded_images(request, permit, account)
        order = replace(order, n=request.count)
        tries = Tries()
        screen = PictureScreen(self._filtering, principal.project_id, account)

        async def begin(chosen: Deployment, patience_s: float) -> AsyncGenerator[PaintEvent]:
            def generate(vetted: str) -> AsyncGenerator[PaintEvent]:
                def call(connection: Connection, _served: Deployment) -> AsyncGenerator[PaintEvent]:
                    return connection.paint(replace(order, prompt=vetted))

                return self._router.stream(
                    chosen, needs, call, affinity=None, patience_s=patience_s, tries=tries, account=account
                )

            return await screen.screened(chosen, order.prompt, generate)

        bounds = partial(image_bounds, request)
        candidates = await self.books.admit(account, principal, permit.candidates, bounds)
        sizes = allowed_sizes(sizes_for(request, traits), permit)
        sources = await self._pictures.sources(request.operation, uploads, sizes)
        if sources is not None:
            order = replace(
                order, size=sources.size, image=sources.image, mask=sources.mask, alpha_mask=sources.alpha_mask
            )
            account.parameters = {**account.parameters, "size": order.size}
        painted = await self._begin(principal, candidates, account, bounds, begin, [tries])
        finished = self._pictures.finished(rejoined(*painted), request, uploads, account)
        events = account.metered(await begun(finished), finished)
        return PaintAnswer(int(time.time()), deployment.name, order.size, events)

    async def keep(self, principal: Principal, data: bytes, output_format: OutputFormat, account: Account) -> str:
        """Keep a painted file for the caller's project, as `PictureFiles.keep`; the path of its signed address."""
        return await self.picture_files.keep(tenant_of(principal), account.request_id, data, output_format)

    def models(self, principal: Principal) -> list[Deployment]:
        """The deployments that the principal may see: those that no policy closes to it.

        Raises:
            Forbidden: none of them.
        """
        require(principal, Action.READ_MODELS, "models")
        return [found for found in self._deployments.all() if self.is_open(principal, found)]

    def model(self, principal: Principal, name: str) -> Deployment:
        """The deployment of that name or alias.

        Raises:
            DeploymentNotFound: there is none, or a policy closes it to the principal.
        """
        require(principal, Action.READ_MODELS, f"models/{name}")
        deployment = self._deployments.resolve(name)
        if not self.is_open(principal, deployment):
            raise DeploymentNotFound(name)
        return deployment

    def is_open(self, principal: Principal, deployment: Deployment) -> bool:
        """Whether the deployment exists for the principal, and no policy closes it to it."""
        return sees(principal, deployment) and self._permits.admits(principal, deployment)

    async def _found(
        self, principal: Principal, request: ChatRequest, account: Account
    ) -> tuple[Deployment, Traits, frozenset[Feature]]:
        deployment, traits, _, needs, _ = await self._vetted(principal, request, account)
        return deployment, traits, needs

    async def _vetted(
        self, principal: Principal, request: ChatRequest, account: Account
    ) -> tuple[Deployment, Traits, ChatRequest, frozenset[Feature], Permit]:
        """What answers a conversation, the request as it is served, what that needs, and what was permitted."""
        deployment, traits, candidates = await self._resolve(principal, request.model, account)
        request = functions_as_tools(request)
        self.completions.check(principal, request)
        needs = check_chat(request, deployment, traits)
        account.tier = tier_of(request)
        account.parameters = chat_parameters(request)
        permit = self._permits.grant(principal, candidates, account)
        return deployment, traits, bounded_text(request, permit, deployment, account), needs, permit

    async def _resolve(
        self, principal: Principal, name: str, account: Account
    ) -> tuple[Deployment, Traits, list[Deployment]]:
        """The deployment that the caller names and may use, what it can do, and all that may serve in its place."""
        decision = decide(principal, Action.INFER, f"deployments/{name}")
        account.decided(decision)
        deployment = self._deployments.resolve(name)
        if not owns(principal, deployment):
            raise DeploymentNotFound(name)
        account.requested = deployment.name
        account.decided(scoped(decision, principal, deployment.name, name))
        self._permits.enter(principal, deployment, account)
        candidates = self._candidates(principal, deployment, account)
        for candidate in candidates:
            try:
                return deployment, await self._supervisor.traits(candidate.name), candidates
            except FreeholdError as exc:
                failure = exc
        raise failure

    async def _begin(
        self,
        principal: Principal,
        candidates: Sequence[Deployment],
        account: Account,
        bounds: Callable[[Deployment], Bounds],
        begin: Begin[EventT],
        tries: Sequence[Tries],
    ) -> Begun[EventT]:
        """Begin an admitted request where it can be served."""

        async def move(fallback: Deployment) -> None:
            await self.books.move(account, principal, fallback, bounds)

        return await self._router.spill(candidates, begin, move, tries)

    def _candidates(self, principal: Principal, deployment: Deployment, account: Account) -> list[Deployment]:
        """The deployment, the one that the caller names for a spillover, and then those fallbacks that it may use."""
        named = [] if account.spill_to is None else [self._spillover(principal, account, deployment)]
        names = () if EVALUATED in account.notes else deployment.settings.others
        usable = [each for each in map(self._deployments.resolve, names) if self.is_open(principal, each)]
        return [deployment, *named, *(fallback for fallback in usable if fallback not in named)]

    def _spillover(self, principal: Principal, account: Account, deployment: Deployment) -> Deployment:
        """The deployment that the caller names for a spillover.

        Raises:
            InvalidRequest: there is none that it may use, or it is the same.
            PolicyDenied: a policy closes it to the caller.
        """
        try:
            named = self._deployments.resolve(account.spill_to or "")
        except DeploymentNotFound:
            named = deployment
        if named.name == deployment.name or not sees(principal, named):
            raise InvalidRequest(
                "The header 'x-ms-spillover-deployment' must name another deployment that exists.",
                param="x-ms-spillover-deployment",
            )
        self._permits.enter(principal, named, account)
        return named
