"""The values of host.json and the app settings."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from local.functions_host.extensions import BundleError, has_bundle

_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")
_SETTING = re.compile(r"%([^%]+)%")
# host.json values can be overridden by app settings, as in Azure.
_OVERRIDE = "AzureFunctionsJobHost__"
_MAX_BATCH = 32

MessageEncoding = Literal["base64", "none"]


class ConfigError(Exception):
    """host.json or an app setting cannot be used."""


@dataclass(frozen=True)
class QueueOptions:
    """The `extensions.queues` section of host.json."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: timedelta = timedelta(0)
    max_polling_interval: timedelta = timedelta(minutes=1)
    message_encoding: MessageEncoding = "base64"


@dataclass(frozen=True)
class HostConfig:
    """The parts of host.json that this host knows."""

    route_prefix: str
    queues: QueueOptions
    bundle: bool
    log_levels: Mapping[str, str]

    @classmethod
    def load(cls, app: Path, settings: Mapping[str, str]) -> "HostConfig":
        """Read the app's host.json and the settings that override it."""
        path = app / "host.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
        _override(content, settings)
        extensions = content.get("extensions", {})
        prefix = extensions.get("http", {}).get("routePrefix", "api")
        return cls(
            prefix.strip("/"),
            _queue_options(extensions.get("queues", {}), settings),
            _has_bundle(content),
            content.get("logging", {}).get("logLevel", {}),
        )


def time_span(text: str) -> timedelta:
    """Return a .NET TimeSpan, `[d.]hh:mm:ss[.fffffff]`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ConfigError(f"'{text}' is not a time span like 00:00:02")
    days, hours, minutes, seconds, fraction = match.groups()
    return timedelta(
        days=int(days or 0),
        hours=int(hours),
        minutes=int(minutes),
        seconds=float(f"{seconds}.{fraction or 0}"),
    )


def resolve(text: str, settings: Mapping[str, str]) -> str:
    """Replace every %SETTING% by the value of that app setting."""

    def value(match: re.Match[str]) -> str:
        try:
            return settings[match[1]]
        except KeyError as error:
            raise ConfigError(f"'%{match[1]}%' does not resolve to a value") from error

    return _SETTING.sub(value, text)


def _has_bundle(content: Mapping[str, Any]) -> bool:
    try:
        return has_bundle(content)
    except BundleError as error:
        raise ConfigError(str(error)) from error


def _queue_options(section: Mapping[str, Any], settings: Mapping[str, str]) -> QueueOptions:
    batch = int(section.get("batchSize", 16))
    if not 1 <= batch <= _MAX_BATCH:
        raise ConfigError(f"extensions.queues.batchSize is {batch}; it must be 1 to {_MAX_BATCH}")
    threshold = section.get("newBatchThreshold", batch // 2 * (os.cpu_count() or 1))
    encoding = str(section.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise ConfigError(f"extensions.queues.messageEncoding is '{encoding}'")
    # The default in Azure is a minute; the host polls faster on a developer's machine.
    development = settings.get("AZURE_FUNCTIONS_ENVIRONMENT", "").lower() == "development"
    polling = section.get("maxPollingInterval", "00:00:02" if development else "00:01:00")
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=int(threshold),
        max_dequeue_count=int(section.get("maxDequeueCount", 5)),
        visibility_timeout=time_span(section.get("visibilityTimeout", "00:00:00")),
        max_polling_interval=time_span(polling),
        message_encoding="none" if encoding == "none" else "base64",
    )


def _override(content: dict[str, Any], settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        if not name.startswith(_OVERRIDE):
            continue
        *parents, last = name.removeprefix(_OVERRIDE).split("__")
        section = content
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
