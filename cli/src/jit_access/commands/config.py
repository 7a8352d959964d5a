"""The commands `jit config init`, `show`, `set`, `use` and `path`."""

import click

from jit_access.commands.base import CONTEXT, JitCommand
from jit_access.commands.exits import CommandError
from jit_access.commands.session import Session


@click.group("config", context_settings=CONTEXT)
def config() -> None:
    """Show and change the configuration."""


@config.command("init", cls=JitCommand)
@click.argument("url", metavar="URL")
@click.option("--name", default="default", metavar="NAME", help="Name of the profile.")
@click.option("--audience", default="", help="api://...; without it the service is asked.")
@click.option("--tenant", default="", help="Entra tenant to sign in to.")
@click.option("--token-command", default="", help="Command that prints an access token.")
@click.pass_obj
def config_init(session: Session, /, url: str, name: str, **given: str) -> None:
    """Add a profile for a service and make it the one that is used."""
    from jit_access.client import JitClient
    from jit_access.client.transport import require_safe
    from jit_access.commands.output import Result
    from jit_access.commands.settings import config_path, read_config, write_config

    url = url.rstrip("/")
    require_safe(url)
    values = {"url": url, **{key: value for key, value in given.items() if value}}
    if "audience" not in values:
        with JitClient(url, lambda: "") as client:
            sign_in = client.get_cloud_metadata().authentication
        values["audience"] = sign_in.audiences[0]
    stored = read_config()
    profiles = {**stored.get("profiles", {}), name: values}
    write_config({**stored, "profile": name, "profiles": profiles})
    session.show(Result({name: values}, f"wrote profile '{name}' to {config_path()}"))


@config.command("show", cls=JitCommand)
@click.pass_obj
def config_show(session: Session) -> None:
    """Show the profiles and which one is used."""
    from jit_access.commands.output import Result
    from jit_access.commands.policy_files import to_yaml
    from jit_access.commands.settings import profile_name, read_config

    stored = read_config()
    data = {"profile": profile_name(stored), "profiles": stored.get("profiles", {})}
    session.show(Result(data, to_yaml(data)))


@config.command("set", cls=JitCommand)
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@click.pass_obj
def config_set(session: Session, key: str, value: str) -> None:
    """Set a key of the profile; an empty value removes it.

    Keys: url, audience, tenant, token_command, sign_in, client_id, source, duration, user,
    address, arm, arm_token_command.
    """
    from jit_access.commands.settings import KEYS, profile_name, read_config, write_config

    if key not in KEYS:
        raise CommandError(f"there is no key '{key}'", f"Keys: {', '.join(KEYS)}.")
    stored = read_config()
    name = profile_name(stored, session.profile_option)
    if not name:
        raise CommandError("there is no profile yet", "Add one: jit config init https://...")
    values = {**stored["profiles"][name], key: value}
    if not value:
        del values[key]
    write_config({**stored, "profiles": {**stored["profiles"], name: values}})
    session.say(f"profile '{name}': {key} = {value}" if value else f"profile '{name}': no {key}")


@config.command("use", cls=JitCommand)
@click.argument("name", metavar="PROFILE")
@click.pass_obj
def config_use(session: Session, name: str) -> None:
    """Use another profile from now on."""
    from jit_access.commands.settings import profile_name, read_config, write_config

    stored = read_config()
    profile_name(stored, name)
    write_config({**stored, "profile": name})
    session.say(f"profile '{name}' is used")


@config.command("path", cls=JitCommand)
@click.pass_obj
def config_path(session: Session) -> None:
    """Show the path of the configuration file."""
    from jit_access.commands import settings
    from jit_access.commands.output import Result

    path = str(settings.config_path())
    session.show(Result({"path": path}, path))
