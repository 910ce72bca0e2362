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


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"git {' '.join(arguments)}: {done.stderr.strip()}")
