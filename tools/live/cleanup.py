"""Remove everything that a run may have created, whatever it got to. It can be run again.

What there may be follows from the run's id. A resource group goes only if it bears the run's tag.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tools.live.names import Run
from tools.live.outside import (
    AUTHORIZATION,
    ERRORS_FROM,
    INSIGHTS,
    NOT_FOUND,
    RESOURCES,
    Json,
    LiveError,
    wait_until,
)
from tools.live.session import Target

_DOWN_WITHIN, _GONE_WITHIN, _ROLE_WITHIN = 1200.0, 1200.0, 300.0
_ASSIGNED = "RoleDefinitionHasAssignments"


@dataclass
class Cleanup:
    """One clean-up: what it could not remove, in a line each."""

    run: Run
    target: Target
    left: list[str]

    def remove_all(self) -> list[str]:
        """Remove everything; return what is left, in a line each."""
        self.left.clear()
        for part in (
            self._close_and_remove_app,
            self._remove_groups,
            self._remove_roles,
            self._remove_diagnostic_setting,
            self._remove_registration,
            self._remove_environment,
        ):
            self._try(part)
        return self.left

    def _try(self, part: Callable[[], None]) -> None:
        """Carry out one part; a failure does not keep the others from being tried."""
        try:
            part()
        except LiveError as error:
            self.left.append(str(error))

    def _close_and_remove_app(self) -> None:
        """Let azd close every access and remove the app. Its leftovers are removed below."""
        if not self._environment_folder.exists():
            return
        try:
            self.target.azd.run(
                *("down", "--force", "--purge", "--no-prompt"),
                environment=self.run.environment,
                seconds=_DOWN_WITHIN,
            )
        except LiveError as error:
            print(f"  azd down failed, the groups are deleted without it: {error}")

    def _remove_groups(self) -> None:
        """Delete both resource groups, then wait until they are gone."""
        begun = [group for group in self.run.group_tags if self._begin_deletion(group)]
        for group in begun:
            self._try(partial(self._wait_until_gone, group))

    def _begin_deletion(self, group: str) -> bool:
        """Begin to delete a group; False: it is not there, or it is left."""
        try:
            return self._delete_group(group, self.run.group_tags[group])
        except LiveError as error:
            self.left.append(str(error))
            return False

    def _delete_group(self, group: str, tags: dict[str, str]) -> bool:
        found = self.target.arm.call("GET", group, RESOURCES)
        if found.status == NOT_FOUND:
            return False
        if found.status >= ERRORS_FROM:
            raise LiveError(f"{group} cannot be read: {found.status} {found.code}")
        present = found.body.get("tags") or {}
        if not tags.items() <= present.items():
            raise LiveError(f"{group} does not bear the run's tag {tags} and is left alone")
        self.target.arm.require("DELETE", group, RESOURCES)
        return True

    def _wait_until_gone(self, group: str) -> None:
        arm, pause = self.target.arm, self.target.pause
        wait_until(
            lambda: arm.call("GET", group, RESOURCES).status == NOT_FOUND,
            f"{group} is gone",
            seconds=_GONE_WITHIN,
            pause=pause,
        )

    def _remove_roles(self) -> None:
        """Delete the custom roles that bear the run's mark."""
        path = f"{self.run.subscription_id}/providers/Microsoft.Authorization/roleDefinitions"
        for role in self._list(path):
            if str(role["properties"].get("roleName", "")).endswith(f"({self.run.mark})"):
                self._try(partial(self._delete_role, str(role["id"])))

    def _delete_role(self, role: str) -> None:
        """Delete a role. Azure drops assignments at deleted groups only after some time."""

        def is_gone() -> bool:
            answer = self.target.arm.call("DELETE", role, AUTHORIZATION)
            if answer.status >= ERRORS_FROM and answer.code != _ASSIGNED:
                raise LiveError(f"{role}: {answer.status} {answer.code}")
            return answer.status < ERRORS_FROM

        pause = self.target.pause
        wait_until(is_gone, f"{role} is gone", seconds=_ROLE_WITHIN, pause=pause)

    def _list(self, path: str) -> list[Json]:
        """Read a list of custom roles, all pages of it."""
        found: list[Json] = []
        query = {"$filter": "type eq 'CustomRole'"}
        while True:
            page = self.target.arm.require("GET", path, AUTHORIZATION, query=query).body
            found += page["value"]
            if not page.get("nextLink"):
                return found
            # The link's host is not followed: the token goes to the configured address only.
            query = dict(parse_qsl(urlsplit(page["nextLink"]).query))
            query.pop("api-version", None)

    def _remove_diagnostic_setting(self) -> None:
        self._delete(self.target.arm.call("DELETE", self.run.diagnostic_setting, INSIGHTS).status)

    def _remove_registration(self) -> None:
        """Delete the app registration."""
        path = f"/v1.0/applications(uniqueName='{self.run.registration}')"
        self._delete(self.target.graph.call("DELETE", path).status)

    def _delete(self, status: int) -> None:
        if status >= ERRORS_FROM and status != NOT_FOUND:
            raise LiveError(f"a deletion was answered with {status}")

    @property
    def _environment_folder(self) -> Path:
        return self.target.azd.folder / ".azure" / self.run.environment

    def _remove_environment(self) -> None:
        """Remove azd's folder of the environment; kept while something is left."""
        if not self.left:
            shutil.rmtree(self._environment_folder, ignore_errors=True)
