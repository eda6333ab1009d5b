"""A client of an AWS service, and its errors in our words."""

from collections.abc import Mapping
from typing import Any, NoReturn

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)
from botocore.exceptions import ConnectionError as UnreachableError
from urllib3.exceptions import HTTPError

from serving.errors import (
    DamagedObjectError,
    InvalidStoreUriError,
    MissingObjectError,
    MissingStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)

FAILURES = (BotoCoreError, ClientError, HTTPError)
"""What calls of boto3 raise; the last where a refusal breaks off while it is read, which botocore hands on as it is."""

CONNECT_S = 5.0
READ_S = 30.0
ATTEMPTS = 4
CONNECTIONS = 32
"""That are kept open; more threads than that would close and open them all the time."""

_MISSING = {"NoSuchKey", "404", "NotFound"}
_DENIED = {
    "AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken", "Forbidden",
    "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
    "TokenRefreshRequired", "401", "403",
}  # fmt: skip
_ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException", "301", "307"}
_UNWELL = 500
_VARIABLES = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "profile_name": "AWS_PROFILE",
    "region_name": "AWS_DEFAULT_REGION",
}
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    NoAuthTokenError,
    SSOError,
    ProfileNotFound,
)


def session(where: str, credentials: Mapping[str, str] | None = None) -> Session:
    """Where clients get endpoint, region and credentials from: boto3's own chain.

    Args:
        where: What is opened, for the error.
        credentials: Variables that stand in for those of the environment.

    Raises:
        StoreDeniedError: The profile that is named does not exist.
    """
    given = {name: credentials.get(variable) for name, variable in _VARIABLES.items()} if credentials else {}
    try:
        return Session(**given)
    except BotoCoreError as error:
        raise_for(error, where)


def connect(session: Session, service: str, where: str, *, patience: float, **more: str | None) -> Any:
    """A client of a service.

    Args:
        session: See `session`.
        service: ``s3`` or ``sqs``.
        where: What is opened, for the error.
        patience: Seconds that the service may stay silent.
        more: ``endpoint_url`` and ``region_name``, where something better is known than the session does.

    Raises:
        InvalidStoreUriError: The endpoint that the environment names is none.
        StoreDeniedError: The profile that the environment names does not exist.
    """
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=patience,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return session.client(service, config=config, **more)
    except (BotoCoreError, ValueError) as error:
        raise_for(error, where, service.upper())


def raise_for(error: Exception, where: str, service: str = "S3") -> NoReturn:
    """Raise what an error of boto3 means, with the error as its cause."""
    why = str(error)[:500]
    if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") == "BadDigest":
        raise damaged(where, why) from error
    if isinstance(error, ClientError):
        raise _answered(error, where, why, service) from error
    if isinstance(error, (UnreachableError, HTTPClientError, HTTPError, IncompleteReadError)):
        raise StoreUnreachableError(
            f"{service} cannot be reached",
            where=where,
            why=why,
            fix="check the endpoint (AWS_ENDPOINT_URL…) and the network",
        ) from error
    if isinstance(error, FlexibleChecksumError):
        raise damaged(where, why) from error
    if isinstance(error, _NO_CREDENTIALS):
        raise StoreDeniedError(
            f"there are no usable credentials for {service}",
            where=where,
            why=why,
            fix="set AWS_PROFILE or the AWS_* keys",
        ) from error
    if isinstance(error, (ParamValidationError, ValueError)):
        raise InvalidStoreUriError(
            f"{service} cannot have such a name, key or endpoint", where=where, why=why
        ) from error
    raise StoreError(f"{service} failed", where=where, why=why) from error


def _answered(error: ClientError, where: str, why: str, service: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return MissingStoreError(
            "the bucket does not exist", where=where, fix="create it, or correct the URI or AWS_ENDPOINT_URL_S3"
        )
    if code in _MISSING:
        return MissingObjectError("no such object", where=where)
    if code in _DENIED:
        return StoreDeniedError(
            f"{service} refuses this", where=where, why=why, fix="check the credentials and their rights"
        )
    if code in _ELSEWHERE:
        return StoreDeniedError("the bucket is in another region", where=where, why=why, fix="set AWS_DEFAULT_REGION")
    if status >= _UNWELL or code in ("SlowDown", "RequestTimeout", "Throttling"):
        return StoreUnreachableError(f"{service} is not well", where=where, why=why, fix="repeat it later")
    return StoreError(f"{service} failed", where=where, why=why)


def damaged(where: str, why: str) -> DamagedObjectError:
    """The bytes that came are not those that were stored."""
    fix = "repeat it; if it stays, the object or the way to it is broken: write it again"
    return DamagedObjectError("an object arrived damaged", where=where, why=why, fix=fix)
