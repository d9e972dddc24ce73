"""What ``lrptool check`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lrptool.cli.talk import echo_json, plain, table
from lrptool.errors import ExitCode

if TYPE_CHECKING:
    from lrptool.api import Parity, Report
    from lrptool.engine import Balance

_WORTH_TELLING = 5e-5
"""Of the start: less shows as 0.0 %."""


def tell(report: Report, *, as_json: bool) -> int:
    """Print a report; return the exit code."""
    if as_json:
        echo_json(report.record())
    else:
        _show(report)
    return ExitCode.OK if report.ok else ExitCode.NUMERIC


def _show(report: Report) -> None:
    """Print tables and the verdict."""
    table(("scores compared with", "difference", ""), [_parity(parity) for parity in report.parities])
    click.echo()
    header = ("composite", "start", "at the pixels", "kept by rules", "unaccounted for", "")
    table(header, [_row(name, made) for name, made in report.balances], right=(1, 2, 4))
    click.echo()
    click.echo(plain(f"{report.model}: {_verdict(report)}"))


def _parity(parity: Parity) -> tuple[str, str, str]:
    """One comparison's line."""
    if parity.difference is None:
        return parity.against, "—", parity.note
    return parity.against, f"{parity.difference:.1e}", "ok" if parity.ok else "WRONG"


def _row(name: str, made: Balance) -> tuple[str, ...]:
    """One composite's line."""
    verdict = "ok" if made.ok else "WRONG"
    if not made.conserving:
        verdict = f"{verdict} (derivatives conserve nothing)"
    return name, f"{made.start:.5g}", f"{made.arrived:.5g}", _kept(made), f"{made.error:.1e}", verdict


def _kept(made: Balance) -> str:
    """What rules keep, in shares of the start."""
    shares = {cause: amount / made.start for cause, amount in made.taken.items() if made.start}
    told = [f"{cause} {share:.1%}" for cause, share in shares.items() if abs(share) >= _WORTH_TELLING]
    return ", ".join(told) or "nothing"


def _verdict(report: Report) -> str:
    """Everything in one line."""
    if not report.ok:
        return "not ok: " + "; ".join(report.problems)
    scores = max((parity.difference for parity in report.parities if parity.difference is not None), default=0.0)
    conserved = max((made.error for _, made in report.balances if made.conserving), default=None)
    facts = [f"{report.nodes} nodes with rules", f"scores equal to {scores:.0e}"]
    facts += [] if conserved is None else [f"relevance conserved to {conserved:.0e}"]
    return f"ok ({', '.join(facts)})"
