"""The output of the demo: a live table, and a sentence at the end."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from csi_powerflex.demo import environment, leftovers
from csi_powerflex.demo.orchestrator import Refused
from csi_powerflex.demo.processes import INTERRUPTS, NotReady
from csi_powerflex.demo.scenario import Scenario, Step, UnexpectedResult

OK, FAILED, INTERRUPTED = 0, 1, 130
_WIDTH = 120


class Screen:
    """The table of steps. A terminal shows it while it grows. A file gets it at the end.

    A terminal with less than 120 columns has no place for the RPCs, and has the result of a step below the
    step.
    """

    def __init__(self, console: Console | None = None) -> None:
        # A file or a pipe has no width.
        self.console = console or Console(width=None if sys.stdout.isatty() else _WIDTH)
        self._wide = self.console.width >= _WIDTH
        self._table = Table(box=None, pad_edge=False, header_style="bold")
        # The step is the column that wraps if the terminal is too narrow.
        self._table.add_column("step", no_wrap=self._wide, overflow="fold")
        if self._wide:
            self._table.add_column("RPC", style="cyan", no_wrap=True)
        self._table.add_column("time", justify="right", no_wrap=True)
        self._table.add_column("requests", justify="right", no_wrap=True)
        if self._wide:
            self._table.add_column("", overflow="fold", style="dim")

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the table during the block."""
        if self.console.is_terminal:
            with Live(self._table, console=self.console, refresh_per_second=20):
                yield
            return
        try:
            yield
        finally:
            self.console.print(self._table)

    def add(self, title: str, rpc: str, seconds: float, requests: int | None, found: str) -> None:
        """Add a finished step."""
        step = Text.assemble(("✓ ", "green"), title)
        took = f"{seconds * 1000:.0f} ms"
        cost = "" if requests is None else str(requests)
        if self._wide:
            self._table.add_row(step, rpc, took, cost, found)
            return
        self._table.add_row(step, took, cost)
        if found:
            self._table.add_row(Padding(Text(found, style="dim"), (0, 0, 0, 2)))

    def fail(self, title: str, rpc: str) -> None:
        """Add the step that failed."""
        step = Text.assemble(("✗ ", "red"), title)
        self._table.add_row(*([step, rpc] if self._wide else [step]))


def run(*, filesystem: str, mebibytes: int) -> int:
    """Run the demo. Returns the exit status."""
    screen = Screen()
    console = screen.console
    missing = environment.missing_for_devices(filesystem)
    parts = " and the controller" if missing else ", the controller and two nodes"
    console.print(f"A volume's life: a simulated PowerFlex{parts}, each a process of its own.\n")
    _take_interrupts()
    began = time.monotonic()
    try:
        with environment.opened(devices=missing is None) as running:
            console.print(f"[dim]started in {time.monotonic() - began:.1f} s, below {running.folder}[/dim]\n")
            _run_steps(Scenario(running, filesystem=filesystem, mebibytes=mebibytes), screen)
    except KeyboardInterrupt:
        console.print("\nInterrupted. All devices, mounts, processes and files were removed.")
        return INTERRUPTED
    except (Refused, UnexpectedResult, NotReady) as error:
        console.print(Text(f"\n{error}", style="red"))
        return FAILED
    left = leftovers.below(running.folder)
    if left or running.folder.exists():
        console.print(Text(f"left behind: {left}; folder {running.folder}", style="red"))
        return FAILED
    took = time.monotonic() - began
    console.print(f"Done in {took:.1f} s. Nothing is left: no mount, loop device, process or file.")
    if missing:
        console.print(f"Left out: devices, filesystems and mounts on the nodes, because {missing}.")
    return OK


def _take_interrupts() -> None:
    """Turn each signal that ends the demo into KeyboardInterrupt, so that the clean-up runs."""
    for number in INTERRUPTS:
        # A shell ignores SIGINT for processes in the background. Someone who still sends it wants the demo to
        # end. nohup ignores SIGHUP, because the demo must continue when its terminal is closed.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _run_steps(scenario: Scenario, screen: Screen) -> None:
    try:
        with screen.live():
            for step in scenario.steps():
                _run_step(step, screen)
        screen.console.print()
    except BaseException:
        # If the driver is broken, this fails too, and the end of the environment removes the rest.
        with environment.uninterrupted(), contextlib.suppress(Refused):
            scenario.clean_up()
        raise


def _run_step(step: Step, screen: Screen) -> None:
    began = time.monotonic()
    try:
        found = step.run()
    except BaseException:
        screen.fail(step.title, step.rpc)
        raise
    requests = step.client.cost.gateway_requests if step.client else None
    screen.add(step.title, step.rpc, time.monotonic() - began, requests, found)
