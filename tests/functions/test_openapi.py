"""The OpenAPI document: complete, closed, and held to what is answered."""

import re
from typing import Any

import jsonschema_rs
import pytest

from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    HOST,
    WebApp,
    asking,
    http_functions,
    policy_body,
)
from tests.world import POLICY, WEB

UNDOCUMENTED = {"/{*path}", "/ui/{*path}"}


@pytest.fixture
def document(web: WebApp) -> Any:
    """Fetch the document, as anybody may."""
    answer = web.call("GET", "/api/openapi.json")
    assert answer.status == 200
    return answer.json


def _routes() -> set[tuple[str, str]]:
    return {
        (f"/{template}", method.lower())
        for _, template, methods, _ in http_functions()
        for method in methods
    }


def test_every_route_is_described(document: Any) -> None:
    """None is left out, none is made up."""
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    routes = {(path, method) for path, method in _routes() if path not in UNDOCUMENTED}
    assert described == routes


def test_it_is_openapi_3_1_at_the_address_that_was_called(document: Any) -> None:
    """Every reference leads somewhere, every operation has its own name and a summary."""
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": HOST}]
    names = set(document["components"]["schemas"])
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used <= names
    operations = [held for item in document["paths"].values() for held in item.values()]
    assert len({held["operationId"] for held in operations}) == len(operations)
    assert all(held["x-ms-summary"] and "401" in held["responses"] for held in operations)


def test_only_what_holds_nothing_secret_needs_no_token(document: Any) -> None:
    """The document itself, the verdict on the app's health, and where to sign in."""
    open_to_all = {
        path
        for path, item in document["paths"].items()
        for held in item.values()
        if held.get("security") == []
    }
    assert open_to_all == {"/api/openapi.json", "/api/health", "/metadata/endpoints"}


def test_path_parameters_are_all_described(document: Any) -> None:
    """By the names in the path."""
    for path, item in document["paths"].items():
        for held in item.values():
            named = {p["name"] for p in held["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_answers_fit_their_schemas(web: WebApp, document: Any) -> None:
    """Of the whole life of a request; schemathesis tries unforeseen input."""
    put = web.call("PUT", POLICY, policy_body(conditions={"approversNeeded": 1}), who=AS_ADMIN)
    _check(document, "Policy", put.json)
    web.world.work()
    short = {"virtualMachine": WEB, "ports": [22], "duration": "PT30M", "justification": "x"}
    taken = web.call("POST", "/api/requests", short, who=AS_ALICE)
    _check(document, "RequestStatus", taken.json)
    _check(document, "Request", web.call("POST", f"{POLICY}/initiate", asking(), who=AS_ALICE).json)
    _check(document, "Policy", web.call("GET", POLICY, who=AS_ADMIN).json)
    dry = web.call("POST", f"{POLICY}/initiate?dryRun=true", asking(), who=AS_ALICE)
    _check(document, "RequestDryRun", dry.json)
    plan = web.call("PUT", f"{POLICY}?dryRun=true", policy_body(), who=AS_ADMIN)
    _check(document, "PolicyDryRun", plan.json)
    _check(document, "MachineList", web.call("GET", "/api/machines", who=AS_ADMIN).json)
    _check(document, "RequestList", web.call("GET", "/api/requests", who=AS_ADMIN).json)
    _check(document, "ErrorResponse", web.call("GET", "/nowhere").json)
    for version in ("2015-01-01", "2019-05-01", "2022-09-01"):
        metadata = web.call("GET", f"/metadata/endpoints?api-version={version}")
        _check(document, "CloudMetadata", metadata.json)


def _check(document: Any, name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema_rs.validate(schema, value)
