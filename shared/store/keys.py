"""Keys of stored rows: how a request's id is made, and the order it gives."""

from datetime import datetime

from shared.domain.ids import digest, key_of

_LATEST_MS = 9_999_999_999_999
_POLICY_KEY = 24


def policy_key(policy_id: str) -> str:
    """Return the short key of a policy, from which request ids begin."""
    return digest(key_of(policy_id), length=_POLICY_KEY).lower()


def new_request_id(policy_id: str, now: datetime, random: str) -> str:
    """Make a request id that sorts newest first within its policy."""
    return f"{policy_key(policy_id)}-{age_key(now)}{random[-8:]}"


def age_key(at: datetime) -> str:
    """Write an instant so that text order is newest first."""
    return f"{_LATEST_MS - int(at.timestamp() * 1000):013d}"


def asked_before(request_id: str, at: datetime) -> bool:
    """Tell from a request's id whether it was made before an instant."""
    return request_id.partition("-")[2] > age_key(at)


def is_request_id(text: str) -> bool:
    """Tell whether a text has the form of a request id."""
    policy, dash, order = text.partition("-")
    plain = text.isascii() and (policy + order).isalnum()
    return plain and dash == "-" and len(policy) == _POLICY_KEY and len(order) == 13 + 8
