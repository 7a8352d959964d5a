"""Queues: the port that wakes workers."""

from datetime import timedelta
from typing import Protocol


class Queues(Protocol):
    """Messages carry keys only; a worker trusts nothing but the rows behind them."""

    def send_request(self, request_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for open_access on jit-requests."""
        ...

    def send_firewall(self, firewall_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for converge_firewall on jit-firewalls; a delay may end up to a second early."""
        ...

    def send_policy(self, policy_key: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for apply_policy on jit-policies."""
        ...

    def send_notice(self, request_id: str) -> None:
        """Have approvers told, on jit-notices; never waited for."""
        ...

    def requested(self) -> int:
        """Count the messages on jit-requests about, those that are being handled with them."""
        ...

    def poisoned(self) -> int:
        """Count the messages that could not be handled."""
        ...
