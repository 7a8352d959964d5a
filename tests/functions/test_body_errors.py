"""A field that is given in the wrong number gets a sentence that names the right one."""

from typing import Any

import pytest

from tests.functions.web_app import AS_ADMIN, AS_ALICE, WebApp
from tests.world import POLICY, WEB

ONE, MANY = "allowedSourceAddressPrefix", "allowedSourceAddressPrefixes"
ADDRESS = "203.0.113.50"
FOR_MANY = f"must be one value, not a list; a list goes into {MANY}"
FOR_ONE = f"must be a list; one value goes into {ONE}"
SEVERAL = f"must be one prefix; several go as a list into {MANY}"


def _policy(**source: Any) -> dict[str, Any]:
    rule = {"number": 22, "protocol": "TCP", "maxRequestAccessDuration": "PT3H", **source}
    return {"properties": {"virtualMachines": [{"id": WEB, "ports": [rule]}]}}


def _initiate(**source: Any) -> dict[str, Any]:
    port = {"number": 22, "duration": "PT1H", **source}
    return {"virtualMachines": [{"id": WEB, "ports": [port]}]}


def _short(**source: Any) -> dict[str, Any]:
    return {"virtualMachine": WEB, "ports": [22], "duration": "PT1H", **source}


def _refused(web: WebApp, method: str, path: str, body: object) -> list[dict[str, str]]:
    who = AS_ADMIN if method == "PUT" else AS_ALICE
    answer = web.call(method, path, body, who=who)
    assert answer.status == 400
    details: list[dict[str, str]] = answer.json["error"]["details"]
    return details


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (ONE, [ADDRESS], FOR_MANY),
        (ONE, [], FOR_MANY),
        (MANY, ADDRESS, FOR_ONE),
        (MANY, {}, FOR_ONE),
        (ONE, f"{ADDRESS},203.0.113.51", SEVERAL),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        ("PUT", POLICY, _policy, "properties.virtualMachines[0].ports[0]."),
        ("POST", f"{POLICY}/initiate", _initiate, "virtualMachines[0].ports[0]."),
        ("POST", "/api/requests", _short, ""),
    ],
    ids=["policy", "initiate", "short form"],
)
def test_source_in_the_wrong_number_names_the_other_field(
    web: WebApp, body: tuple[str, str, Any, str], field: str, value: object, message: str
) -> None:
    """A list where one prefix is wanted, and the other way round, is told where it belongs."""
    method, path, make, prefix = body
    (detail,) = _refused(web, method, path, make(**{field: value}))
    assert (detail["target"], detail["message"]) == (f"{prefix}{field}", message)


@pytest.mark.parametrize(
    ("method", "path", "body", "target", "message"),
    [
        ("PUT", POLICY, {"properties": {"virtualMachine": []}}, "properties.virtualMachine",
         "this field is not known here; did you mean virtualMachines?"),
        ("PUT", POLICY, {"properties": {"virtualMachines": {}}}, "properties.virtualMachines",
         "must be a list"),
        ("POST", f"{POLICY}/initiate", {"virtualMachine": []}, "virtualMachine",
         "this field is not known here; did you mean virtualMachines?"),
        ("POST", f"{POLICY}/initiate", {"virtualMachines": [{"id": [WEB], "ports": []}]},
         "virtualMachines[0].id", "must be one value, not a list"),
        ("POST", "/api/requests", _short(virtualMachine=[WEB]), "virtualMachine",
         "must be one value, not a list"),
        ("POST", "/api/requests", _short(ports=22), "ports", "must be a list"),
        ("POST", "/api/requests", _short(virtualMachines=[WEB]), "virtualMachines",
         "this field is not known here; did you mean virtualMachine?"),
        ("POST", "/api/requests", _short(port=22), "port",
         "this field is not known here; did you mean ports?"),
        ("POST", "/api/requests", _short(justificaton="x"), "justificaton",
         "this field is not known here; check its spelling"),
        ("POST", "/api/requests", _short(allowedSourceAddressPrefix=7), ONE,
         "Input should be a valid string"),
    ],
)  # fmt: skip
def test_any_field_in_the_wrong_number_is_told_so(
    web: WebApp, method: str, path: str, body: object, target: str, message: str
) -> None:
    """A singular for a plural, a list for a value: the sentence says which, and what else is known."""
    details = _refused(web, method, path, body)
    assert (target, message) in {(one["target"], one["message"]) for one in details}


def test_list_that_is_too_long_is_told_so(web: WebApp) -> None:
    """A list where a list belongs is not taken for one where a value belongs."""
    body = _short(ports=list(range(1, 1000)))
    (detail,) = _refused(web, "POST", "/api/requests", body)
    assert detail["message"].startswith("List should have at most")
