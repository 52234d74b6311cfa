"""Every error that Freehold raises on purpose.

FreeholdError
├── RequestError                 the caller's request is at fault (4xx)
│   ├── InvalidRequest           400 invalid_request_error
│   │   ├── MalformedBody        400, the body is not acceptable JSON
│   │   ├── UnknownParameter     400 unknown_parameter
│   │   ├── UnsupportedParameter 400 unsupported_parameter: known, but this deployment cannot do it
│   │   ├── ContextLengthExceeded 400 context_length_exceeded
│   │   ├── McpCallRefused       400 mcp_call_refused: a model's call does not fit the tool
│   │   └── ZeroRetention        400 zero_data_retention: the project keeps nothing
│   ├── ContentFiltered          400 content_filter: the prompt must not pass
│   ├── SignInFailed             400 signin_failed: a sign-in through a provider cannot be finished
│   ├── Unauthenticated          401 invalid_api_key
│   ├── Forbidden                403
│   │   ├── PolicyDenied         403 policy_denied
│   │   ├── ProjectKeyRevoked    403 project_key_revoked: nothing is done for the project
│   │   └── Suspended            403 suspended: nothing is done for the end user or the member
│   ├── NotFound                 404
│   │   └── DeploymentNotFound   404 model_not_found
│   ├── ModelRetired             410 model_retired: the deployment's model serves no more
│   ├── MethodNotAllowed         405
│   ├── Conflict                 409
│   │   ├── LeaseLost            409 lease_lost: a worker comes back to a job that it has no more
│   │   └── PromotionRefused     409 promotion_refused: a model does not satisfy a deployment's condition
│   ├── BodyTooLarge             413
│   ├── KeyReused                422 idempotency_key_reused
│   └── RateLimited              429 rate_limit_exceeded
│       ├── CapacityExceeded     429 capacity_exceeded: a deployment's provisioned units are used up
│       ├── QuotaExceeded        429 insufficient_quota: a budget is spent
│       └── Overloaded           429 resource_unavailable: too many wait for the deployment
├── ServiceError                 Freehold or an engine is at fault (5xx)
│   ├── InternalError            500
│   ├── EngineFailed             502: the engine died or answered nonsense
│   ├── JobProcessFailed         500: the process of a job cannot be run, or answers nonsense
│   ├── McpFailed                502: an MCP server cannot be reached or answers nonsense
│   ├── Unavailable              503, with retry-after
│   │   ├── EngineUnavailable    no replica can take the request
│   │   ├── NoRoom               no node of the cluster has what is needed
│   │   ├── AuditUnavailable     the journal cannot be written
│   │   ├── LimitsUnavailable    what gateways share of the limits cannot be had
│   │   ├── KeyServiceUnavailable the service that has the master key is not available
│   │   ├── FilterUnavailable    a text cannot be examined, so it does not pass
│   │   ├── ProvenanceUnavailable a picture's provenance cannot be written or read
│   │   ├── TrainingUnavailable  this server has not what training needs
│   │   ├── IdentityProviderUnavailable an OpenID provider cannot be reached or answers nonsense
│   │   └── Draining             the server is shutting down
│   └── EngineTimeout            504
├── ContentUnreadable            kept content cannot be decrypted, or no more
├── CatalogError                 a model cannot be fetched, verified or read
│   ├── UnsupportedModelFormat   neither GGUF nor safetensors
│   ├── DigestMismatch           the bytes are not those that were pinned
│   ├── UnsafePath               a name would leave the model folder
│   ├── SourceUnavailable        the source cannot be reached or lacks the file
│   └── UnknownModel             no such model in the catalog
├── JournalDamaged               a journal is not what was written; names the first bad record
├── CertificateInvalid           a certificate of erasure is not what was signed
├── BackupDamaged                a backup is not what was written, not whole, or no backup
├── TrainingDiverged             a training's loss leapt more often than its recipe bears
├── ConfigError                  the configuration is wrong; names the offending key
└── HomeError                    the home folder cannot be used (locked, unwritable, newer)

Every error carries the HTTP status, the OpenAI `type` and `code` and, where one is at fault, the
parameter's name, so that the edge renders any of them without knowing which it is.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class FreeholdError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong and what to do, safe to show to a caller: no path, address or stack.
        param: the request parameter or configuration key at fault.
        code: overrides the class's code.
        retry_after_s: seconds after which trying again makes sense.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code
        self.retry_after_s = retry_after_s


class RequestError(FreeholdError):
    """The caller's request is at fault."""

    status = 400
    type = "invalid_request_error"


class InvalidRequest(RequestError):
    """A value is missing, of the wrong type or out of range."""

    default_code = "invalid_value"


class MalformedBody(InvalidRequest):
    """The body is not acceptable JSON: broken, too deep, or with a key twice."""

    default_code = "invalid_json"


class UnknownParameter(InvalidRequest):
    """The operation has no such parameter."""

    default_code = "unknown_parameter"


class UnsupportedParameter(InvalidRequest):
    """The operation has the parameter, but the deployment's model or engine cannot do it."""

    default_code = "unsupported_parameter"


class ContextLengthExceeded(InvalidRequest):
    """Prompt and requested completion do not fit the deployment's context length.

    Args:
        limit: the context length in tokens.
        requested: the tokens that the request needs; the prompt's where no maximum was asked for.
        param: the parameter that holds the prompt.
    """

    default_code = "context_length_exceeded"

    def __init__(self, *, limit: int, requested: int, param: str = "messages") -> None:
        super().__init__(
            f"This model's maximum context length is {limit} tokens. However, your request needs {requested} "
            f"tokens. Please reduce the length of the {param} or of the completion.",
            param=param,
        )
        self.limit = limit
        self.requested = requested


class McpCallRefused(InvalidRequest):
    """A model calls a tool of an MCP server that it may not, or with arguments that do not fit: nothing is sent."""

    default_code = "mcp_call_refused"

    def item(self) -> dict[str, Any]:
        """The error as a `mcp_call` item has it; the number is JSON-RPC's for wrong parameters."""
        return {"type": "mcp_protocol_error", "code": -32602, "message": self.message}


class ZeroRetention(InvalidRequest):
    """The request would have content kept, and its project or organization keeps none."""

    default_code = "zero_data_retention"


class ContentFiltered(RequestError):
    """The content filter does not let the prompt pass.

    Args:
        message: says so, in Azure's words, on which clients match.
        results: what was found, as Azure's annotations have it.
        param: the parameter that holds the prompt.
        picture: whether a picture was to be painted after it.
    """

    default_code = "content_filter"

    def __init__(
        self, message: str, *, results: Mapping[str, Any], param: str = "prompt", picture: bool = False
    ) -> None:
        super().__init__(message, param=param)
        self.results = results
        self.picture = picture


class SignInFailed(RequestError):
    """A sign-in through an identity provider cannot be finished: begin again."""

    default_code = "signin_failed"


class Unauthenticated(RequestError):
    """No credential, or one that is not valid."""

    status = 401
    default_code = "invalid_api_key"


class Forbidden(RequestError):
    """The credential is valid, but may not do this."""

    status = 403
    default_code = "insufficient_permissions"


class ProjectKeyRevoked(Forbidden):
    """The content key of the project is revoked or destroyed: nothing is done for the project."""

    default_code = "project_key_revoked"


class Suspended(Forbidden):
    """The end user, or the member, is suspended: nothing is done for it."""

    default_code = "suspended"


class PolicyDenied(Forbidden):
    """A policy does not allow the request; the message names the policy and its rule."""

    default_code = "policy_denied"


class NotFound(RequestError):
    """No such object, or it is another tenant's."""

    status = 404
    default_code = "not_found"


class DeploymentNotFound(NotFound):
    """No deployment has that name or alias.

    Args:
        name: what the caller asked for.
    """

    default_code = "model_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"The model `{name}` does not exist or you do not have access to it.", param="model")
        self.name = name


class MethodNotAllowed(RequestError):
    """The path exists, but not with this HTTP method."""

    status = 405
    default_code = "method_not_allowed"


class ModelRetired(RequestError):
    """A deployment's model was retired, and the deployment goes over to no other."""

    status = 410
    default_code = "model_retired"


class Conflict(RequestError):
    """The object exists already or is in a state that forbids this."""

    status = 409
    default_code = "conflict"


class LeaseLost(Conflict):
    """A worker wants to write of a job whose lease is over; whoever has the job now writes of it."""

    default_code = "lease_lost"


class PromotionRefused(Conflict):
    """A deployment may not change to a model: its condition does not hold, or cannot be told."""

    default_code = "promotion_refused"


class BodyTooLarge(RequestError):
    """The request's body is over the limit."""

    status = 413
    default_code = "request_too_large"


class KeyReused(RequestError):
    """An `Idempotency-Key` came again with another request."""

    status = 422
    default_code = "idempotency_key_reused"


class RateLimited(RequestError):
    """A limit of requests, tokens or concurrency is reached.

    Args:
        message: names the limit and whose it is.
        code: overrides the class's code.
        retry_after_s: seconds after which there is room again.
        scope: what the limit is set on, such as `project` or `deployment`; a limit of the deployment is one that
            another deployment may not have.
        limit: which limit it is, and whose, without numbers.
        headers: `x-ratelimit-*` as they stand.
    """

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        scope: str | None = None,
        limit: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)
        self.scope = scope
        self.limit = limit
        self.headers: Mapping[str, str] = headers or {}


class QuotaExceeded(RateLimited):
    """A budget is spent, or what is left of it does not cover the request."""

    type = "insufficient_quota"
    default_code = "insufficient_quota"


class CapacityExceeded(RateLimited):
    """The provisioned units of the deployment are used up, or are another project's."""

    default_code = "capacity_exceeded"


class Overloaded(RateLimited):
    """More requests wait for the deployment than may, and this one's tier goes last."""

    default_code = "resource_unavailable"


class ServiceError(FreeholdError):
    """Freehold or an engine is at fault."""


class InternalError(ServiceError):
    """A defect of Freehold."""

    default_code = "internal_error"


class EngineFailed(ServiceError):
    """The engine died, broke the connection or answered nonsense."""

    status = 502
    default_code = "engine_failed"


class JobProcessFailed(ServiceError):
    """The process of a job cannot be started or isolated, or does not keep to its protocol."""

    default_code = "job_process_failed"


class McpFailed(ServiceError):
    """A remote MCP server cannot be reached, takes too long, refuses or answers nonsense.

    Args:
        message: what is wrong, with the server's label.
        kind: `http_error` or `mcp_protocol_error`, as OpenAI's API tells them apart.
        number: the HTTP status, or the code of the JSON-RPC error.
    """

    status = 502
    default_code = "mcp_failed"

    def __init__(self, message: str, *, kind: str = "http_error", number: int = 502) -> None:
        super().__init__(message)
        self.kind = kind
        self.number = number

    def item(self) -> dict[str, Any]:
        """The error as a `mcp_call` item has it."""
        return {"type": self.kind, "code": self.number, "message": self.message}


class EngineTimeout(ServiceError):
    """The engine did not answer in time."""

    status = 504
    default_code = "engine_timeout"


class Unavailable(ServiceError):
    """Something that the request needs is down for the moment."""

    status = 503
    type = "service_unavailable_error"
    default_code = "service_unavailable"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: float = 5.0
    ) -> None:
        super().__init__(message, param=param, code=code, retry_after_s=retry_after_s)


class EngineUnavailable(Unavailable):
    """No replica of the deployment can take the request."""

    default_code = "engine_unavailable"


class NoRoom(Unavailable):
    """No node of the cluster has what an engine or a job needs now, or none in a permitted zone ever will."""

    default_code = "no_room"


class AuditUnavailable(Unavailable):
    """The journal cannot be written, or is too far ahead of its projection: nothing is done unrecorded."""

    default_code = "audit_unavailable"


class LimitsUnavailable(Unavailable):
    """Gateways share the limits by a database that cannot be reached, and what this one held of them is used up."""

    default_code = "limits_unavailable"


class FilterUnavailable(Unavailable):
    """A text cannot be examined by the content filter: it does not pass unexamined."""

    default_code = "content_filter_unavailable"


class KeyServiceUnavailable(Unavailable):
    """The external key service, which has the master key of kept content, cannot be reached or refuses."""

    default_code = "key_service_unavailable"


class ProvenanceUnavailable(Unavailable):
    """A picture's provenance cannot be written or read: no picture leaves without its manifest."""

    default_code = "provenance_unavailable"


class TrainingUnavailable(Unavailable):
    """This server has not what training needs: the `train` extra is not installed."""

    default_code = "training_unavailable"


class IdentityProviderUnavailable(Unavailable):
    """An OpenID provider cannot be reached, or does not answer as one: nothing is said about the credential."""

    default_code = "identity_provider_unavailable"


class Draining(Unavailable):
    """The server is shutting down."""

    default_code = "server_shutting_down"


class ContentUnreadable(FreeholdError):
    """Kept content cannot be decrypted: it is damaged, its owner was erased, or its master key is not known."""

    default_code = "content_unreadable"


class CatalogError(FreeholdError):
    """A model cannot be fetched, verified or read."""

    status = 400
    type = "invalid_request_error"
    default_code = "model_error"


class UnsupportedModelFormat(CatalogError):
    """The file is neither GGUF nor safetensors, whatever its name says."""

    default_code = "unsupported_model_format"


class DigestMismatch(CatalogError):
    """The bytes are not those that were pinned."""

    default_code = "digest_mismatch"


class UnsafePath(CatalogError):
    """A name would leave the model folder."""

    default_code = "unsafe_path"


class SourceUnavailable(CatalogError):
    """The source cannot be reached or lacks the file."""

    status = 502
    type = "server_error"
    default_code = "source_unavailable"


class UnknownModel(CatalogError):
    """The catalog has no such model."""

    status = 404
    default_code = "unknown_model"


class JournalDamaged(FreeholdError):
    """A journal is not what was written; the message names the file and the first bad record."""

    default_code = "journal_damaged"


class CertificateInvalid(FreeholdError):
    """A certificate of erasure is not what was signed, or the journal does not have its record."""

    default_code = "certificate_invalid"


class BackupDamaged(FreeholdError):
    """A backup is not what was written, not whole, or no backup; the message says what is wrong with it."""

    default_code = "backup_damaged"


class TrainingDiverged(FreeholdError):
    """A training's loss leapt more often than its recipe bears; the message says when, and what to try."""

    default_code = "training_diverged"


class ConfigError(FreeholdError):
    """The configuration is wrong; the message begins with the path of the offending key."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_configuration"


class HomeError(FreeholdError):
    """The home folder cannot be used."""

    default_code = "home_unusable"
