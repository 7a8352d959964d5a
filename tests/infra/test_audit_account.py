"""The exported audit record: an account of its own, which the app can extend and not change."""

from typing import Any

from tests.infra.bicep import INFRA, ROOT, Text, read

AUDIT = read(INFRA / "modules" / "audit.bicep")
MAIN = read(INFRA / "main.bicep")


def _body(symbol: str) -> Any:
    (found,) = (each for each in AUDIT.resources if each.symbol == symbol)
    return found.body


def test_the_role_creates_and_appends_and_cannot_change_or_delete() -> None:
    """`add` creates and appends; overwriting is `write`, and neither it nor `delete` is there."""
    (permission,) = _body("exporter")["properties"]["permissions"]
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"

    assert permission["dataActions"] == [f"{blobs}/add/action", f"{blobs}/read"]
    assert permission["actions"] == []


def test_every_data_action_has_its_reason_in_the_document() -> None:
    """docs/permissions.md lists the role's data actions."""
    document = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    (permission,) = _body("exporter")["properties"]["permissions"]

    assert all(f"| `{action}` |" in document for action in permission["dataActions"])


def test_the_host_holds_that_role_on_the_container_and_no_other() -> None:
    """No right on the account is inherited by the container."""
    assignments = [each for each in AUDIT.resources if each.type.endswith("/roleAssignments")]

    assert [each.body["scope"] for each in assignments] == [Text("container")]
    assert _body("exporter")["name"] == Text("auditExporter")
    assert assignments[0].body["properties"]["roleDefinitionId"] == Text(
        "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', auditExporter)"
    )
    assert assignments[0].body["properties"]["principalId"] == Text("hostPrincipalId")


def test_the_policy_allows_protected_appends_to_append_blobs_only() -> None:
    """`allowProtectedAppendWrites` excludes block blobs, and the other flag excludes this one."""
    properties = _body("policy")["properties"]

    assert properties == {
        "immutabilityPeriodSinceCreationInDays": Text("days"),
        "allowProtectedAppendWrites": True,
    }
    assert "if (writePolicy)" in AUDIT.text


def test_the_account_holds_nothing_else_and_has_no_key() -> None:
    """One container, no shared key, no public blob, and no versions that overwrites would become."""
    types = [each.type.rsplit("/", 1)[1] for each in AUDIT.resources if "Storage" in each.type]
    properties = _body("account")["properties"]

    assert types == ["storageAccounts", "blobServices", "containers", "immutabilityPolicies"]
    assert properties["allowSharedKeyAccess"] is False
    assert properties["allowBlobPublicAccess"] is False
    assert "isVersioningEnabled" not in AUDIT.text


def test_the_app_exports_where_the_account_is_deployed() -> None:
    """The setting is the container's address, and empty where no account is made."""
    (app,) = (each for each in MAIN.modules if each.symbol == "app")

    told = app.parameters["auditContainer"]
    assert told == Text("auditExport ? audit.outputs.containerUrl : ''")
