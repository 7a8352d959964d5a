import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOO_DEAR = (
    *("azure.core", "azure.data", "azure.identity", "azure.mgmt", "azure.storage"),
    *("boto3", "botocore", "jwt", "msal", "opentelemetry", "requests"),
)
LIST_MODULES = "import function_app, json, sys; print(json.dumps(sorted(sys.modules)))"


def test_the_app_loads_without_any_cloud_library() -> None:
    """After `import function_app` no SDK is loaded: a cold HTTP call never pays for them."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    loaded = json.loads(done.stdout)

    assert "functions.queue_open" in loaded
    assert [name for name in loaded if _is_part_of(name, TOO_DEAR)] == []


def _is_part_of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
