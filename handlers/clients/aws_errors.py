"""AWS's errors, as one of three words with a plain sentence and a fix.

Codes: Amazon EC2 API Reference, "Error codes"; AWS STS API Reference, "Common errors".
"""

from __future__ import annotations

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from handlers.contract import AwsRefused, Fatal, Retry

THROTTLED = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "EC2ThrottledException",
    "TooManyRequestsException",
}
PASSING = {"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable", "RequestTimeout"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
BAD_KEYS = {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
ID = re.compile(r"\b(?:subnet|vpc|rtb|igw|nat|sg|ami|i)-[0-9a-z]+\b")


class Expired(Fatal):
    """The credentials of this session are over; new ones may work."""


class Denied(Fatal):
    """AWS does not let the bot do this one thing. Who can go on without it may catch it."""


def from_client(error: ClientError, action: str, account: str) -> Exception:
    """AWS answered, and not as hoped."""
    detail = error.response.get("Error", {})
    code, text = str(detail.get("Code", "Unknown")), str(detail.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in THROTTLED:
        return Retry(
            f"AWS is throttling account `{account}` ({code}).",
            after=4.0,
            hint="It was tried again for a while. Ask again in a few minutes.",
        )
    if code in EXPIRED:
        return Expired(
            f"The bot's AWS credentials for account `{account}` have expired ({code}).",
            "The platform team has to renew them; then ask again.",
        )
    if code in BAD_KEYS:
        return Fatal(
            f"AWS does not accept the bot's credentials for account `{account}` ({code}).",
            "The platform team has to check the bot's AWS keys or role.",
        )
    if code in DENIED:
        return _denied(code, text, action, account)
    if code in PASSING or status >= 500:
        return Retry(f"AWS had trouble answering `{action}` ({code}).", after=2.0, hint="Ask again in a few minutes.")
    ids = ", ".join(dict.fromkeys(ID.findall(text)))
    gone = "It is not there (any more). Ask again, and see what is left." if code.endswith(".NotFound") else ""
    return AwsRefused(code, f"AWS refused `{action}` in account `{account}`: {code}{f' ({ids})' if ids else ''}.", gone)


def from_botocore(error: BotoCoreError, action: str, account: str) -> Exception:
    """AWS could not be asked."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return Fatal(
            f"The bot has no AWS credentials for account `{account}`.",
            "The platform team has to set them (environment, profile or role).",
        )
    if isinstance(error, ConnectionError | HTTPClientError):
        return Retry(f"AWS cannot be reached for `{action}`.", after=2.0, hint="Ask again when the network is well.")
    return Fatal(f"The AWS client failed on `{action}` ({type(error).__name__}).", "The log has the details.")


def _denied(code: str, text: str, action: str, account: str) -> Exception:
    if "service control policy" in text:
        by, fix = "a service control policy of the organisation", "Ask whoever owns the organisation's policies."
    elif "session policy" in text:
        by, fix = "the approved plan's own session policy", "The plan lacks an action that it needs: report this."
    else:
        by, fix = "the rights of the bot's role", f"The platform team has to allow `{action}` to the bot's role."
    return Denied(f"AWS denied `{action}` in account `{account}` by {by} ({code}).", fix)
