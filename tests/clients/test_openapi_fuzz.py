"""schemathesis reads the OpenAPI document and tries unforeseen input, as each role.

A few cases of each type by default; thousands with JIT_SOAK=1.
"""

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import function_app  # noqa: F401 - its import declares the operations
from functions.openapi import document
from tests.clients.conftest import Clients
from tests.e2e.playing import SUBSCRIPTION, Site

EXAMPLES = 60 if os.environ.get("JIT_SOAK") else 2
ROLES = (
    *("Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Read", "Jit.BreakGlass", "Jit.Relay"),
    *("norole", "anonymous"),
)
CHECKS: Any = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# Its 503 is an answer: the app may be behind with closing.
HEALTH = "/api/health"
LONG_URL = 8_000


def _takes_something(told: Mapping[str, Any]) -> bool:
    return bool(told["parameters"]) or "requestBody" in told


OPERATIONS = [
    (path, method, mode)
    for path, item in document("http://unused")["paths"].items()
    for method, told in item.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    # What takes nothing cannot be given anything wrong.
    if path != HEALTH and (mode is GenerationMode.POSITIVE or _takes_something(told))
]


@pytest.fixture(scope="session")
def target(clients: Clients) -> Site:
    """Put a VM there that is under a policy, so that some calls get far."""
    site = clients.azure.build()
    admin = clients.caller("fuzz-admin")
    admin.put_policy(site.policy_id, site.listed(22, 3389))
    return site


@pytest.mark.parametrize("role", ROLES)
def test_no_answer_surprises(clients: Clients, target: Site, role: str) -> None:
    """Never a 5xx, and nothing the document does not say: status, body, headers."""
    schema = schemathesis.openapi.from_url(f"{clients.stack.api}/api/openapi.json")
    headers = _headers(clients, role)
    for path, method, mode in OPERATIONS:
        _try(schema[path][method].as_strategy(generation_mode=mode), target, headers)


def _headers(clients: Clients, role: str) -> Mapping[str, str]:
    if role == "anonymous":
        return {}
    is_app = role == "Jit.Relay"
    held = () if role == "norole" else (role,)
    token = clients.stack.token(f"fuzz-{role}", held, app=is_app)
    return {"Authorization": f"Bearer {token}"}


def _try(strategy: st.SearchStrategy[Case[Any]], site: Site, headers: Mapping[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, is_real=st.booleans())
    def holds(case: Case[Any], *, is_real: bool) -> None:
        if is_real:
            _lead_somewhere(case, site)
        if any("\n" in unquote(str(value)) for value in (case.path_parameters or {}).values()):
            return  # the web server in front answers such a path by itself
        response = case.call(headers=dict(headers))
        if response.status_code == HTTPStatus.REQUEST_URI_TOO_LONG:
            # The host answers such a URL by itself, so the document does not name it.
            assert len(str(response.request.url)) > LONG_URL
            return
        case.validate_response(response, checks=CHECKS)

    holds()


def _lead_somewhere(case: Case[Any], site: Site) -> None:
    """Replace made-up names by those of a VM and policy that exist."""
    real = {
        "subscription": SUBSCRIPTION,
        "group": "app-rg",
        "location": "westeurope",
        "name": site.policy_id.rpartition("/")[2],
    }
    for name in case.path_parameters or {}:
        case.path_parameters[name] = real.get(name, case.path_parameters[name])
    case.body = _with_real_ids(case.body, site.vm)


def _with_real_ids(value: Any, vm_id: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_real_ids(held, vm_id) for name, held in value.items()}
    if isinstance(value, list):
        return [_with_real_ids(held, vm_id) for held in value]
    if isinstance(value, str) and "/virtualmachines/" in value.casefold():
        return vm_id
    return value
