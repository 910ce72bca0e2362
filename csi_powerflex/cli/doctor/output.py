"""How the doctor prints its checks: as a table for people, or as JSON for machines."""

from __future__ import annotations

import collections
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from csi_powerflex.cli import options
from csi_powerflex.model.checks import Check, Level

WIDTH = 80
"""The width of the table."""

FORMAT = 1
"""The version of the JSON. It changes when a key is removed or gets another meaning."""

_INDENT = " " * 10

output_options: options.Decorator = options.together(
    click.option(
        "--output",
        "-o",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="A table for people, or JSON for machines.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="Leave out the checks that are ok."),
    click.option("--strict", is_flag=True, help="Exit with status 1 also if there is only a warning."),
)
"""The options that both commands have."""


def table(checks: Sequence[Check], *, quiet: bool = False) -> Iterator[str]:
    """The lines of the table: what was checked as a heading, then a line for each check.

    If ``quiet``, it leaves out checks that are ok.
    """
    subject = None
    for check in checks:
        if quiet and check.level is Level.OK:
            continue
        if check.subject != subject:
            if subject is not None:
                yield ""
            subject = check.subject
            yield from _wrapped(subject, "")
        yield from _wrapped(f"{check.name}: {check.found}", f"  {check.level.value:<8}")
        if check.level is not Level.OK:
            yield from _wrapped(f"-> {check.remedy}", _INDENT)
            yield from _wrapped(f"   {check.page}", _INDENT)
    if subject is not None:
        yield ""
    yield _summary(checks)


def _wrapped(text: str, begin: str) -> list[str]:
    # What comes from an array or a file may hold anything.
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return textwrap.wrap(
        shown,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=_INDENT if begin.strip() else begin,
        break_on_hyphens=False,
    )


def _summary(checks: Sequence[Check]) -> str:
    counts = counted(checks)
    problems = (
        f"{counts[level]} {level}{'' if counts[level] == 1 else 's'}" for level in ("warning", "fault")
    )
    return f"{len(checks)} checks: {counts['ok']} ok, {', '.join(problems)}"


def counted(checks: Sequence[Check]) -> dict[str, int]:
    """How many checks ended with each level."""
    counts = collections.Counter(check.level for check in checks)
    return {level.value: counts[level] for level in Level}


def document(role: str, checks: Sequence[Check], *, quiet: bool = False) -> dict[str, Any]:
    """The JSON. docs/doctor.md describes its keys. If ``quiet``, it leaves out checks that are ok."""
    return {
        "format": FORMAT,
        "role": role,
        "summary": counted(checks),
        "checks": [
            {
                "check": check.name,
                "subject": check.subject,
                "level": check.level.value,
                "found": check.found,
                "remedy": check.remedy,
                "page": check.page,
            }
            for check in checks
            if not (quiet and check.level is Level.OK)
        ],
    }


def show(role: str, checks: Sequence[Check], *, form: str, quiet: bool, strict: bool) -> int:
    """Print the checks. Returns the exit status."""
    if form == "json":
        click.echo(json.dumps(document(role, checks, quiet=quiet), indent=2))
    else:
        for line in table(checks, quiet=quiet):
            click.echo(line)
    failing = {Level.FAULT, Level.WARNING} if strict else {Level.FAULT}
    return int(any(check.level in failing for check in checks))
