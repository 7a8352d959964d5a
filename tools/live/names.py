"""The names of everything that one run creates. They follow from the run's id alone."""

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ID = re.compile(r"[a-z0-9]{8}")


@dataclass(frozen=True)
class Run:
    """One run: where it works, and which options it has."""

    id: str
    subscription: str
    location: str
    bastion: bool = False
    firewall: bool = False

    @property
    def environment(self) -> str:
        """Return the name of the azd environment."""
        return f"jit-live-{self.id}"

    @property
    def mark(self) -> str:
        """Return the deployment id, which is in the names of roles, rules and the registration."""
        return f"live{self.id}"

    @property
    def subscription_id(self) -> str:
        """Return the resource id of the subscription."""
        return f"/subscriptions/{self.subscription}"

    @property
    def app_group(self) -> str:
        """Return the resource group of the app, which azd creates and tags."""
        return f"{self.subscription_id}/resourceGroups/rg-jit-{self.environment}"

    @property
    def machine_group(self) -> str:
        """Return the resource group of the VM and its network. It is the app's only scope."""
        return f"{self.subscription_id}/resourceGroups/rg-jit-live-vm-{self.id}"

    @property
    def group_tags(self) -> dict[str, dict[str, str]]:
        """Return for each resource group the tag without which it is never deleted."""
        return {
            self.app_group: {"azd-env-name": self.environment},
            self.machine_group: {"jit-live-run": self.id},
        }

    @property
    def registration(self) -> str:
        """Return the unique name of the app registration."""
        return f"jit-vm-access-{self.mark}"

    @property
    def diagnostic_setting(self) -> str:
        """Return the setting that exports the subscription's activity log."""
        resource_type = "providers/Microsoft.Insights/diagnosticSettings"
        return f"{self.subscription_id}/{resource_type}/jit-{self.mark}"

    def network(self, resource_type: str, name: str) -> str:
        """Return the id of a network resource in the group of the VM."""
        return f"{self.machine_group}/providers/Microsoft.Network/{resource_type}/{name}"

    @property
    def machine(self) -> str:
        """Return the id of the VM."""
        return f"{self.machine_group}/providers/Microsoft.Compute/virtualMachines/vm-jit-live"

    @property
    def policy(self) -> str:
        """Return the id of the JIT policy."""
        resource_type = (
            f"providers/Microsoft.Security/locations/{self.location}/jitNetworkAccessPolicies"
        )
        return f"{self.machine_group}/{resource_type}/live"


class Journal:
    """The runs that may have left something behind, a file for each, written before anything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, run: Run) -> None:
        """Record a run before it creates anything."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(run.id)
        fresh = path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(asdict(run), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def close(self, run: Run) -> None:
        """Delete the record of a run of which nothing is left."""
        self._path(run.id).unlink(missing_ok=True)

    def unfinished(self) -> list[Run]:
        """Return the runs that are not known to be removed."""
        return [Run(**_read(path)) for path in sorted(self.folder.glob("*.json"))]

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.json"


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    known = {each.name for each in fields(Run)}
    return {name: value for name, value in content.items() if name in known}
