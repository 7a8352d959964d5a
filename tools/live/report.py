"""The report of a run, and what it costs."""

from dataclasses import dataclass, field

from tools.live.names import Run

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"
# Dollars an hour, list prices of 2026 in most regions: an assumption, look yours up.
HOURLY = {"VM Standard_B1s with disk": 0.014, "public address": 0.005, "app, always ready": 0.06}
HOURLY_BASTION, HOURLY_FIREWALL = 0.20, 1.25
_MINUTES, _MINUTES_OF_BASTION, _MINUTES_OF_FIREWALL = 20, 15, 40


@dataclass(frozen=True)
class Line:
    """One step: how it ended, how long it took, and what was seen."""

    step: str
    verdict: str
    seconds: float
    seen: str


@dataclass
class Report:
    """The steps of a run in their order, and what the clean-up left."""

    run: Run
    lines: list[Line] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    hours: float = 0.0

    @property
    def is_good(self) -> bool:
        """Tell whether every step that ran passed, and nothing is left."""
        verdicts = {line.verdict for line in self.lines}
        return bool(self.lines) and FAILED not in verdicts and not self.left

    def verdict_of(self, step: str) -> str:
        """Return how a step ended; a step that has not run was skipped."""
        return next((line.verdict for line in self.lines if line.step == step), SKIPPED)

    def text(self) -> str:
        """Return the report as a Markdown table."""
        rows = [
            f"| {line.step} | {line.verdict} | {line.seconds:.0f} s | {line.seen} |"
            for line in self.lines
        ]
        left = [f"- left: {each}" for each in self.left] or ["- nothing is left"]
        return "\n".join(
            [
                f"# Live suite, run {self.run.id}, {self.run.location}",
                "",
                "| Step | Verdict | Took | Seen |",
                "|---|---|---|---|",
                *rows,
                "",
                *left,
                f"- about ${estimate(self.run, self.hours):.2f} at list prices",
                "",
            ]
        )


def estimate(run: Run, hours: float) -> float:
    """Return what a run of some hours costs in dollars; Azure charges no less than an hour."""
    hourly = sum(HOURLY.values())
    hourly += HOURLY_BASTION * run.bastion + HOURLY_FIREWALL * run.firewall
    return hourly * max(1.0, hours)


def minutes(run: Run) -> int:
    """Return about how many minutes a run takes on Azure."""
    return _MINUTES + _MINUTES_OF_BASTION * run.bastion + _MINUTES_OF_FIREWALL * run.firewall
