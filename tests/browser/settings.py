"""Protected machines for the tests of the page, and names that try to be markup."""

from typing import Any

from tests.e2e.playing import Play, Site

HOSTILE_PERSON = "<img src=x onerror=hit=1>eve"
RTL_PERSON = "\u05d3\u05e0\u05d4 \u202egnp.exe"
LONG_PERSON = "l" + "ong" * 26 + "x"


def protect(play: Play, site: Site, *ports: int, conditions: Any = None, **rule: Any) -> Site:
    """Protect the machines of a site, with conditions and rules of its ports."""
    properties = {"virtualMachines": site.listed(*ports, **rule), "conditions": conditions or {}}
    with play.admin.client() as client:
        client.put_policy(site.policy_id, {"kind": "Basic", "properties": properties})
    play.admin.wait_for_policy(site.policy_id)
    return site


def name_of(resource_id: str) -> str:
    """Return the name of a resource."""
    return resource_id.rpartition("/")[2]
