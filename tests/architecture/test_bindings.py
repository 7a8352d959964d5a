"""Every binding of the app is one that the host of the deployed app has."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.functions_host.extensions import BUILT_IN, BUNDLED, has_bundle

ROOT = Path(__file__).parents[2]
_LIST = """
import function_app, json
types = {
    function.get_function_name(): [binding.get_binding_name() for binding in function.get_bindings()]
    for function in function_app.app.get_functions()
}
print(json.dumps(types))
"""


@pytest.fixture(scope="module")
def bindings() -> dict[str, set[str]]:
    """List the binding types of each function."""
    # In an interpreter of its own: an app lists its functions only once.
    listed = subprocess.run(
        [sys.executable, "-c", _LIST], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return {name: set(types) for name, types in json.loads(listed.stdout).items()}


def test_every_binding_is_built_in_or_brought_by_the_bundle(
    bindings: dict[str, set[str]],
) -> None:
    """No function uses a binding type that neither the host nor the bundle of host.json brings."""
    host_json = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    known = BUILT_IN | BUNDLED if has_bundle(host_json) else BUILT_IN
    assert {name: types - known for name, types in bindings.items() if types - known} == {}


def test_the_app_needs_the_bundle(bindings: dict[str, set[str]]) -> None:
    """Queue triggers are what the host does not have by itself."""
    foreign = {binding for types in bindings.values() for binding in types} - BUILT_IN
    assert foreign == {"queueTrigger"}


def test_the_bundle_is_version_4() -> None:
    """The bundle is the general one, and takes every version 4."""
    host_json = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    assert host_json["extensionBundle"] == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle",
        "version": "[4.*, 5.0.0)",
    }
