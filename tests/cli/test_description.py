"""The client is held to openapi.json: no route, field or code of one is missing in the other."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import function_app  # noqa: F401 - its import declares the operations
from functions.openapi import document
from jit_access.client import JitClient
from jit_access.client.codes import REASONS, REFUSALS
from jit_access.client.operations import JSON, OPERATIONS
from tests.cli.description import Description, schemas_of

# A document of its own form: the client hands it on as it is.
_UNTYPED = {"get_openapi"}
# The form depends on the version that is asked for; the client asks for one.
_ONE_FORM = {"get_cloud_metadata"}


@pytest.fixture(scope="module")
def description() -> Description:
    """Return the document as the app answers it."""
    return Description(document("https://app.example"))


def test_every_operation_has_a_line_and_a_method(description: Description) -> None:
    """Routes of the service, lines of the client's table and its methods are the same."""
    assert set(OPERATIONS) == set(description.operations())
    methods = {name for name, _ in inspect.getmembers(JitClient, inspect.isfunction)}
    assert set(OPERATIONS) <= methods


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_operation_is_as_described(name: str, description: Description) -> None:
    """Method, path, parameters, body, answers and the need for a token are the same."""
    assert list(_differences(name, description)) == []


def _differences(name: str, description: Description) -> Iterator[str]:
    operation = OPERATIONS[name]
    method, path, described = description.operations()[name]
    if (operation.method, operation.path) != (method, path):
        yield f"{name}: {operation.method} {operation.path} is {method} {path} in openapi.json"
    yield from _parameters(name, described)
    if operation.needs_token != (described.get("security") != []):
        yield f"{name}: a token is needed on one side only"
    yield from _body(name, described, description)
    yield from _answers(name, described, description)


def _parameters(name: str, described: dict[str, Any]) -> Iterator[str]:
    ours = {*OPERATIONS[name].query, *OPERATIONS[name].headers}
    theirs = {each["name"] for each in described["parameters"] if each["in"] != "path"}
    for parameter in sorted(ours ^ theirs):
        yield f"{name}: the parameter '{parameter}' is known on one side only"


def _body(name: str, described: dict[str, Any], description: Description) -> Iterator[str]:
    body, told = OPERATIONS[name].body, described.get("requestBody")
    if (body is None) != (told is None):
        yield f"{name}: a body is known on one side only"
    elif body is not None and told is not None:
        yield from description.differences(body, told["content"][JSON]["schema"], f"{name}: body")


def _answers(name: str, described: dict[str, Any], description: Description) -> Iterator[str]:
    ours: dict[int, list[Any]] = {}
    for status, model in OPERATIONS[name].answers:
        ours.setdefault(status, []).append(model)
    error = {"$ref": "#/components/schemas/ErrorResponse"}
    for text, answer in described["responses"].items():
        schemas = schemas_of(answer)
        if schemas == [error]:
            continue
        models = [each for each in ours.pop(int(text), []) if each is not None]
        if name in _UNTYPED:
            continue
        choices = [
            each
            for schema in schemas
            for each in description.resolve(schema).get("anyOf", [schema])
        ]
        if name in _ONE_FORM:
            choices = choices[:1]
        if len(models) != len(choices):
            yield f"{name}: {text} has {len(choices)} forms, the client knows {len(models)}"
            continue
        for model, schema in zip(models, choices, strict=True):
            yield from description.differences(model, schema, f"{name}: {text}")
        accepted = set(OPERATIONS[name].accepts)
        if answer.get("content") and set(answer["content"]) != accepted:
            yield f"{name}: {text} comes as {sorted(answer['content'])}"
    for status in ours:
        yield f"{name}: openapi.json has no answer {status}"


def test_every_code_has_its_advice(description: Description) -> None:
    """The codes of refusals and of their lines are those of the service, none more, none less."""
    error = description.document["components"]["schemas"]["ErrorResponse"]["properties"]["error"]
    line = error["properties"]["details"]["items"]["properties"]["code"]

    assert sorted(REFUSALS) == sorted(error["properties"]["code"]["enum"])
    assert sorted(REASONS) == sorted(line["enum"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"new": {"type": "string"}}, "lacks it"),
        ({"status": {"type": "string", "enum": ["Initiated", "Paused"]}}, "'Paused'"),
        ({"openedAt": {"type": "string"}}, "is a time in the client"),
        ({"policyId": {"type": "integer"}}, "is string in the client, integer"),
    ],
)
def test_a_change_of_the_service_is_reported(change: dict[str, Any], told: str) -> None:
    """A new field, a new word or another type is a difference that names its place."""
    changed = document("https://app.example")
    changed["components"]["schemas"]["RequestStatus"]["properties"] |= change

    found = list(_differences("get_request", Description(changed)))

    assert len(found) >= 1
    assert any(told in each for each in found)
    assert all(next(iter(change)) in each for each in found)
