"""What the command line tells people: lines in which no text of a user steers the terminal."""

from __future__ import annotations

import typer

from harness.escapes import escaped


def say(text: object, *, err: bool = False) -> None:
    """Print a line, or some, with control characters shown; to standard error where asked."""
    typer.echo(escaped(str(text)), err=err)
