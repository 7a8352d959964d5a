"""The configuration: profiles in ~/.config/jit/config.toml, and the environment over them."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jit_access.commands.exits import CommandError


@dataclass(frozen=True)
class Profile:
    """One service, and how it is called."""

    name: str = ""
    url: str = ""
    audience: str = ""
    tenant: str = ""
    token_command: str = ""
    sign_in: str = ""
    client_id: str = ""
    source: str = ""
    duration: str = ""
    user: str = ""
    address: str = ""
    arm: str = "https://management.azure.com"
    arm_token_command: str = ""


KEYS = {key_field.name: "" for key_field in fields(Profile) if key_field.name != "name"} | {
    "url": "address of the service",
    "audience": "the app registration's identifier, api://...",
    "tenant": "Entra tenant to sign in to",
    "token_command": "command that prints an access token",
    "sign_in": "'browser' or 'device' where az and azd are not signed in; needs client_id",
    "client_id": "public client registration for sign_in",
    "source": "source address for requests; without it the service takes yours",
    "duration": "usual length of access, such as 1h",
    "user": "user name for ssh and rdp",
    "address": "'private' to connect to a VM's private address",
    "arm": "address of Azure Resource Manager, to find a VM's address",
    "arm_token_command": "command that prints a token for it",
}


def config_path() -> Path:
    """Return the path of the configuration file."""
    named = os.environ.get("JIT_CONFIG")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "jit" / "config.toml"


def read_config() -> dict[str, Any]:
    """Return the configuration; empty where there is no file."""
    path = config_path()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CommandError(f"{path}: {error}", "Mend the file, or move it away.") from None


def write_config(config: Mapping[str, Any]) -> None:
    """Write the configuration, readable by its owner only."""
    lines = [f"{key} = {_quoted(value)}\n" for key, value in config.items() if key != "profiles"]
    for name, profile in config.get("profiles", {}).items():
        lines.append(f"\n[profiles.{_quoted(name)}]\n")
        lines += [f"{key} = {_quoted(value)}\n" for key, value in profile.items()]
    path = config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(lines), encoding="utf-8")
    fresh.chmod(0o600)
    fresh.replace(path)


def _quoted(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        raise CommandError(f"{text!r} cannot be kept in the configuration")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def profile_name(config: Mapping[str, Any], chosen: str = "") -> str:
    """Return the profile that is meant; empty: none is there."""
    profiles = config.get("profiles", {})
    named = chosen or os.environ.get("JIT_PROFILE", "") or str(config.get("profile", ""))
    if named and named not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise CommandError(f"there is no profile '{named}'", f"Profiles: {known}.")
    return named or (next(iter(profiles)) if len(profiles) == 1 else "")


def load_profile(chosen: str = "") -> Profile:
    """Return the profile to use; JIT_URL stands above its address."""
    config = read_config()
    name = profile_name(config, chosen)
    values = dict(config.get("profiles", {}).get(name, {}))
    unknown = sorted(values.keys() - KEYS.keys())
    if unknown:
        keys = ", ".join(KEYS)
        raise CommandError(f"profile '{name}': unknown key {', '.join(unknown)}", f"Keys: {keys}.")
    values = {key: str(value) for key, value in values.items()}
    if os.environ.get("JIT_URL"):
        values["url"] = os.environ["JIT_URL"]
    return Profile(name=name, **values)
