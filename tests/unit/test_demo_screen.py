"""The demo's table on terminals of any width."""

from __future__ import annotations

import io

import pytest

STEPS = [
    ("create a volume of 8 GiB", "CreateVolume", 0.032, 5, "volume 790d0f4d0da59a0f-b1f0000e00000000"),
    ("a pod writes 256 MiB", "", 12.508, None, "sha256 de37260f4657fc24…"),
    (
        "node a is refused meanwhile",
        "ControllerPublishVolume",
        0.012,
        1,
        "FAILED_PRECONDITION: " + "word " * 30,
    ),
    ("it no longer exists", "ValidateVolumeCapabilities", 0.005, 1, "NOT_FOUND"),
    ("unmap it from node a", "ControllerUnpublishVolume", 0.014, 1, ""),
]


def shown(width: int) -> list[str]:
    """The lines of a whole table, as a terminal of this width shows them."""
    console = pytest.importorskip("rich.console").Console(width=width, file=io.StringIO())
    from csi_powerflex.demo.show import Screen  # noqa: PLC0415 - it needs packages of the extra "demo"

    screen = Screen(console)
    with screen.live():
        for step in STEPS:
            screen.add(*step)
        screen.fail("delete the volume", "DeleteVolume")
    text: str = console.file.getvalue()
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 119, 120, 200])
def test_nothing_is_cut_off(width: int) -> None:
    lines = shown(width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    for title, rpc, seconds, requests, found in STEPS:
        (line,) = [line for line in lines if title in line]
        assert f" {seconds * 1000:.0f} ms" in line
        assert requests is None or line.split(" ms")[1].split()[0] == str(requests)
        assert (rpc in line) is (width >= 120 or not rpc)
        assert " ".join(found.split()) in " ".join(text.split()) or width >= 120
    assert "✗ delete the volume" in text
    assert not [line for line in lines if line.endswith("…") and "sha256" not in line]


def test_eighty_columns_show_each_result_below_its_step() -> None:
    lines = shown(80)
    assert lines[0].split() == ["step", "time", "requests"]
    number = next(index for index, line in enumerate(lines) if "create a volume" in line)
    assert lines[number + 1] == "  volume 790d0f4d0da59a0f-b1f0000e00000000"
