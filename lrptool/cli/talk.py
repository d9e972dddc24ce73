"""What the commands say, and where: stdout is data, stderr is talk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from lrptool.errors import LrpError


def complain(error: LrpError, subject: str | None = None) -> None:
    """Print an error and its hint to stderr."""
    where = f"{subject}: " if subject and subject not in error.message else ""
    click.echo(f"{click.style('lrptool: error:', fg='red')} {where}{error.message}", err=True)
    if error.hint:
        click.echo(f"  {click.style('hint:', bold=True)} {error.hint}", err=True)


def note(text: str, *, quiet: bool = False) -> None:
    """Print a remark to stderr."""
    if not quiet:
        click.echo(f"{click.style('note:', fg='yellow')} {text}", err=True)


def notes(texts: Iterable[str], *, quiet: bool = False) -> None:
    """Print several remarks."""
    for text in texts:
        note(text, quiet=quiet)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), err: bool = False
) -> None:
    """Print rows in aligned columns, those in `right` flush right, under a header in bold."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        return "  ".join(c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(cells)).rstrip()

    click.echo(click.style(line(header), bold=True), err=err)
    for row in rows:
        click.echo(line(row), err=err)


def field(name: str, text: str) -> None:
    """Print a heading and its text, indented and wrapped."""
    if text:
        click.echo(click.style(name, bold=True))
        click.echo(click.wrap_text(text, width=96, initial_indent="  ", subsequent_indent="  "))
