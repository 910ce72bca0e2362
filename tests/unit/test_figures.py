"""The figures of a run, their floors, and the page that shows them."""

from pathlib import Path

import pytest

from tests.figures import FLOORS, Figures

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.mark.parametrize("name", FLOORS)
def test_the_page_shows_each_floor_and_the_command_that_prints_the_figure(name: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(f"| {name} | {FLOORS[name]:,} | `")]
    assert len(rows) == 1, f"docs/conformance.md needs one row `| {name} | {FLOORS[name]:,} | `command` |`"


def test_a_figure_below_its_floor_is_reported_also_if_it_was_not_counted() -> None:
    figures = Figures()
    name, floor = next(iter(FLOORS.items()))
    assert any(line.startswith(f"{name}: 0, ") for line in figures.fallen())
    figures.add(name, floor - 1)
    assert f"{name}: {floor - 1:,}, and the floor is {floor:,}" in figures.fallen()
    figures.add(name)
    assert not any(line.startswith(f"{name}: ") for line in figures.fallen())
    assert figures.lines() == [f"{name}: {floor:,}"]


def test_a_figure_without_a_floor_cannot_be_counted() -> None:
    with pytest.raises(KeyError, match="has no floor"):
        Figures().add("an unknown figure")


def test_the_figures_of_workers_are_added() -> None:
    figures = Figures()
    name, floor = next(iter(FLOORS.items()))
    for worker in range(2):
        other = Figures()
        other.add(name, floor)
        other.tell([f"of worker {worker}"])
        figures.take(other.handed_over())
    assert figures.lines() == ["of worker 0", "of worker 1", f"{name}: {2 * floor:,}"]
