"""The files of an older state of the project, which a benchmark runs in turn with the present one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def tree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of the project at this commit, in a folder of their own below ``folder``."""
    files = folder / "other"
    _git("worktree", "add", "--detach", "--quiet", str(files), commit)
    try:
        yield files
    finally:
        _git("worktree", "remove", "--force", str(files))


@contextlib.contextmanager
def trees(other: str | None, folder: Path) -> Iterator[dict[str, Path | None]]:
    """The files of each state by its name: None for the present one, and those of ``other`` if given."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Path | None] = {"now": None}
        if other is not None:
            found[other[:12]] = stack.enter_context(tree(other, folder))
        yield found


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"git {' '.join(arguments)}: {done.stderr.strip()}")
