"""Answer one HTTP call of a client: who calls, what is asked, which fault strikes."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from local.aws import wire
from local.aws.errors import AwsError
from local.aws.faults import Faults, Strike
from local.aws.simulator import NOT_SIMULATED, Simulator
from local.aws.sts import Session, TokenService

_SCOPE = re.compile(r"Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")
_STS_VERSION = "2011-06-15"
_UNSIGNED = frozenset({"AssumeRoleWithWebIdentity"})
ADMIN_KEY = "AKIALOCALADMINISTRATOR"  # an administrator of the account, for the tests' own edits


@dataclass(frozen=True)
class Answer:
    """The answer of the endpoint; `dropped`: the connection closes without an answer."""

    status: int
    text: str = ""
    dropped: bool = False
    latency: float = 0.0


class Endpoint:
    """EC2 and STS of one account, as callers meet them. Signatures are not verified: keys are."""

    def __init__(self, simulator: Simulator, tokens: TokenService | None = None) -> None:
        self.simulator = simulator
        self.tokens = tokens
        self.faults = Faults()
        self.log: list[dict[str, Any]] = []

    def answer(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer one call."""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        scope = _SCOPE.search(headers.get("authorization", ""))
        service = "sts" if form.get("Version") == _STS_VERSION else "ec2"
        action = form.get("Action", "")
        strike = self.faults.strike(action)
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(self.simulator.clock(), UTC).isoformat(),
            "service": service,
            "region": scope["region"] if scope else "",
            "action": action,
            "faults": list(strike.faults),
        }
        self.log.append(entry)
        if "dropBefore" in strike.faults:
            return Answer(0, dropped=True)
        request_id = str(uuid.uuid4())
        try:
            if strike.error is not None:
                raise strike.error
            text = self._carry_out(service, form, headers, strike, entry, request_id)
            status = 200
        except AwsError as error:
            text, status = wire.write_error(service, error, request_id), error.status
            entry |= {"error": error.code, "unknown": error.code == NOT_SIMULATED}
        entry["status"] = status
        return Answer(status, text, "dropAfter" in strike.faults, strike.lag("latency"))

    def _carry_out(
        self,
        service: str,
        form: Mapping[str, str],
        headers: Mapping[str, str],
        strike: Strike,
        entry: dict[str, Any],
        request_id: str,
    ) -> str:
        action, params = wire.read_call(service, form)
        caller = None if action in _UNSIGNED else self._caller(headers)
        entry["caller"] = caller.arn if caller else "anonymous"
        if service == "sts":
            if self.tokens is None:
                raise AwsError(NOT_SIMULATED, "no issuer is trusted here", 501)
            answer = self.tokens.call(action, params, caller)
        else:
            answer = self.simulator.call(
                entry["region"],
                action,
                params,
                stale=strike.lag("staleRead"),
                late=strike.lag("lateWrite"),
            )
        return wire.write_answer(service, action, answer, request_id)

    def _caller(self, headers: Mapping[str, str]) -> Session:
        scope = _SCOPE.search(headers.get("authorization", ""))
        if scope is not None and scope["key"] == ADMIN_KEY:
            arn = f"arn:aws:iam::{self.simulator.account}:user/administrator"
            return Session(ADMIN_KEY, "", "", datetime.max.replace(tzinfo=UTC), arn)
        if scope is None or self.tokens is None:
            raise AwsError(
                "AuthFailure", "AWS was not able to validate the provided access credentials", 401
            )
        return self.tokens.caller(scope["key"], headers.get("x-amz-security-token", ""))
