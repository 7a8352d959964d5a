"""The deployed package apart from the app's state, and the host's rights on single parts of the state."""

from typing import Any

from tests.infra.bicep import INFRA, Text, read

PACKAGE = read(INFRA / "modules" / "package.bicep")
STORAGE = read(INFRA / "modules" / "storage.bicep")
APP = read(INFRA / "modules" / "app.bicep")
MAIN = read(INFRA / "main.bicep")


def _body(file: Any, symbol: str) -> Any:
    (found,) = (each for each in file.resources if each.symbol == symbol)
    return found.body


def _parameters(module: str) -> dict[str, Any]:
    (found,) = (each for each in MAIN.modules if each.symbol == module)
    return found.parameters


def test_the_package_lies_in_an_account_of_its_own() -> None:
    """The account of the app's state holds no package, and that of the package nothing else."""
    types = [each.type.rsplit("/", 1)[1] for each in PACKAGE.resources if "Storage" in each.type]

    assert types == ["storageAccounts", "blobServices", "containers"]
    assert _body(PACKAGE, "container")["name"] == "app-package"
    assert STORAGE.variables["containerNames"] == ["azure-webjobs-hosts", "azure-webjobs-secrets"]
    assert "app-package" not in STORAGE.text


def test_the_package_is_reached_with_the_deployer_identity_alone() -> None:
    """The platform reads and writes it with an identity that holds this container and nothing else."""
    storage = _body(APP, "site")["properties"]["functionAppConfig"]["deployment"]["storage"]
    given = _parameters("app")

    assert storage == {
        "type": "blobContainer",
        "value": Text("packageUrl"),
        "authentication": {
            "type": "UserAssignedIdentity",
            "userAssignedIdentityResourceId": Text("deployerIdentityId"),
        },
    }
    assert given["packageUrl"] == Text("package.outputs.containerUrl")
    assert given["deployerIdentityId"] == Text("identities.outputs.deployerIdentityId")
    assert "deployer" not in str(_body(APP, "site")["properties"]["siteConfig"])
    assert _body(PACKAGE, "deployer")["scope"] == Text("container")


def test_the_host_cannot_reach_the_package() -> None:
    """No right of the host's identity lies on the account of the package, or above it."""
    assert "hostPrincipalId" not in PACKAGE.text
    assert "hostPrincipalId" not in _parameters("package")


def test_the_host_holds_each_right_on_one_container_queue_or_table() -> None:
    """A stolen token of the host reaches nothing beside them."""
    scopes = {
        each.symbol: each.body["scope"]
        for each in STORAGE.resources
        if each.type == "Microsoft.Authorization/roleAssignments"
    }

    assert scopes == {
        "hostBlobs": Text("containers[i]"),
        "hostQueues": Text("queues[i]"),
        "hostTables": Text("tables[i]"),
    }
    for names, symbols in {
        "containerNames": ("containers", "hostBlobs"),
        "allQueueNames": ("queues", "hostQueues"),
        "tableNames": ("tables", "hostTables"),
    }.items():
        for symbol in symbols:
            (line,) = (
                ln for ln in STORAGE.text.splitlines() if ln.startswith(f"resource {symbol} ")
            )
            assert f" in {names}: {{" in line


def test_every_write_of_the_package_is_logged_and_read_by_an_alert() -> None:
    """The log goes to the workspace with the deployment itself, and no hook is needed for it."""
    writes = _body(PACKAGE, "writes")
    alerts = {each["name"]: each for each in PACKAGE.variables["alerts"]}

    assert writes["scope"] == Text("blobs")
    assert [log["category"] for log in writes["properties"]["logs"]] == [
        "StorageWrite",
        "StorageDelete",
    ]
    assert set(alerts) == {"jit-package-foreign", "jit-package-written"}
    assert alerts["jit-package-foreign"]["severity"] == 0
    assert "RequesterObjectId !~ '{deployer}'" in PACKAGE.variables["foreignPackage"]
    assert "RequesterObjectId =~ '{deployer}'" in PACKAGE.variables["packageWritten"]
    for alert in alerts.values():
        assert "'{deployer}', deployerPrincipalId" in alert["query"].source
        assert "'{account}', accountName" in alert["query"].source
    assert _body(PACKAGE, "account")["name"] == Text("accountName")
