"""Classifies S3 errors (transient, expired credentials, permanent) and explains them to the user in four parts.

Identifies botocore's exceptions by name and code, so that botocore is not imported before S3 is used.
"""

from __future__ import annotations

import os
from typing import Any

from sweeps.errors import StorageError, StoreAwayError, StoreError

AWAY, EXPIRED, REFUSED = "away", "expired", "refused"
"""Transient (server busy, unreachable, connection cut); credentials expired; permanent."""

_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException"}
_BUSY |= {"TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded", "OperationAborted", "429"}
_BUSY |= {"ConditionalRequestConflict", "BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"}
_EXPIRED_LOCALLY = {"CredentialRetrievalError", "TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"}
_WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "Redirect", "301", "307"}
_NOT_HERE = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}

_CHAIN = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE), or the machine's own role"
RIGHTS = "s3:ListBucket on the bucket; s3:GetObject, s3:PutObject and s3:DeleteObject on its objects"
"""Permissions that a store needs."""


class Refusal(Exception):  # noqa: N818 - not raised
    """An error within a successful response (of delete_objects), in the form of botocore's ClientError."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.response = {"Error": {"Code": code, "Message": message}}


def code_of(error: Exception) -> str:
    """The error code of the server; without a response, the name of the exception."""
    return str(_response(error).get("Error", {}).get("Code") or type(error).__name__)


def message_of(error: Exception) -> str:
    """The first line of the error's message."""
    return (str(error).strip().splitlines() or [code_of(error)])[0]


def status_of(error: Exception) -> int:
    """The HTTP status; 0 without a response."""
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _response(error: Exception) -> dict[str, Any]:
    return getattr(error, "response", None) or {}


def kind_of(error: Exception) -> str:
    """The kind of an error: `AWAY`, `EXPIRED` or `REFUSED`."""
    code, status = code_of(error), status_of(error)
    if code in _EXPIRED or code in _EXPIRED_LOCALLY:
        return EXPIRED
    if code in _BUSY or (status >= 500 and status != 501):
        return AWAY
    names = {base.__name__ for base in type(error).__mro__}
    cut = {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseParserError", "FlexibleChecksumError"}
    untrusted = "SSLError" in names and "CERTIFICATE_VERIFY_FAILED" in str(error)  # a cut handshake is transient
    return AWAY if names & cut and not untrusted else REFUSED


def is_wrong_key(error: Exception) -> bool:
    """Whether the server does not know the credentials. Newer ones may have replaced them."""
    return code_of(error) in _WRONG_KEY


def explain(error: Exception, verb: str, uri: str, region: str | None, waited_s: float) -> StoreError:
    """Convert a botocore exception to a StoreError; to a StoreAwayError if it is transient.

    verb: description of the action ("read 'a/b'")
    region: region of the client
    waited_s: seconds since the first try
    """
    code, given = code_of(error), f"store {uri!r}: cannot {verb}"
    bucket = uri.removeprefix("s3://").partition("/")[0]
    kind = kind_of(error)
    if kind == AWAY:
        return _away(error, given, code, waited_s)
    if kind == EXPIRED:
        return StoreAwayError(
            given,
            f"the credentials have expired and were not renewed within {waited_s:.0f} s ({code})",
            "valid credentials",
            "renew them (for example aws sso login) and run the same command again; it continues",
        )
    if code == "NoSuchBucket":
        return StorageError(
            given,
            f"the bucket {bucket!r} does not exist",
            "a bucket that exists",
            f"aws s3 mb s3://{bucket}; or correct the name",
        )
    if code in _NOT_HERE:
        return StorageError(given, f"there are no credentials ({error})", _CHAIN, "aws configure, or set AWS_PROFILE")
    if code in _WRONG_KEY:
        return StorageError(given, f"the server does not accept the credentials ({code})", _CHAIN, "aws configure list")
    if code in _DENIED:
        return StorageError(
            given,
            f"permission denied ({code})",
            RIGHTS,
            "ask the bucket's owner for these permissions; aws sts get-caller-identity shows your identity",
        )
    if code in _ELSEWHERE or code == "IllegalLocationConstraintException":
        return _elsewhere(error, given, bucket, region)
    if code == "RequestTimeTooSkewed":
        return StorageError(
            given, "this machine's clock is wrong", "a clock error of at most 15 minutes", "timedatectl"
        )
    return StorageError(given, message_of(error), "an S3 bucket that this user may read and write", "sweeps doctor")


def _away(error: Exception, given: str, code: str, waited_s: float) -> StoreAwayError:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    answered = status_of(error) != 0
    why = f"the server is busy or broken ({code})" if answered else f"the server does not answer: {message_of(error)}"
    return StoreAwayError(
        given,
        f"{why}; tried for {waited_s:.0f} s",
        "a server that answers" + (f"; AWS_ENDPOINT_URL is {endpoint}" if endpoint else ""),
        "check the network and AWS_ENDPOINT_URL, then run the same command again; it continues",
    )


def _elsewhere(error: Exception, given: str, bucket: str, region: str | None) -> StoreError:
    response = _response(error)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    its = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region")
    return StorageError(
        given,
        f"the bucket is in {f'region {its}' if its else 'another region'}, not in {region or 'the requested one'}",
        "the region of the bucket",
        f"export AWS_REGION={its}"
        if its
        else f"aws s3api get-bucket-location --bucket {bucket}; export AWS_REGION=...",
    )
