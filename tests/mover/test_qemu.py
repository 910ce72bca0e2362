"""``qemu-img`` that fails, or whose results are not those that it reports. No device is needed."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.host import run
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover import qemu
from csi_powerflex.mover.formats import Format, Header
from csi_powerflex.mover.outcome import Different, Refused, Work
from csi_powerflex.units import GIB, MIB
from tests.mover.devices import SOME_DATA, disk
from tests.mover.images import converted

pytestmark = pytest.mark.needs("qemu-img")

SIZE = 12 * MIB
HEADER = Header(Format.QCOW2, SIZE)
CONTENT = disk(SIZE, SOME_DATA)
FULL = "echo 'error while writing: No space left on device' >&2; exit 1"
BROKEN = "echo 'error while reading: Input/output error' >&2; exit 1"

Replace = Callable[[str, str], None]


@pytest.fixture
def replace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Puts a script in the place of a subcommand of qemu-img. ``$real`` is qemu-img itself."""
    folder, real = tmp_path / "bin", shutil.which("qemu-img")
    folder.mkdir()

    def replaced(subcommand: str, script: str) -> None:
        tool = folder / "qemu-img"
        tool.write_text(
            f'#!/bin/sh\nreal={real}\n[ "$1" = {subcommand} ] || exec $real "$@"\n'
            f"for last; do :; done\n{script}\n"
        )
        tool.chmod(0o755)
        monkeypatch.setattr(run, "tools", run.Tools(f"{folder}:/usr/bin:/bin"))

    return replaced


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def image(raw: Path, tmp_path: Path) -> Path:
    return converted(raw, tmp_path / "image.qcow2", "qcow2")


@pytest.mark.parametrize("form", [Format.QCOW2, Format.VMDK])
def test_an_image_is_converted_and_back(raw: Path, tmp_path: Path, form: Format) -> None:
    image, made, again = converted(raw, tmp_path / "image", form), tmp_path / "made", tmp_path / "again"
    made.write_bytes(b"the rest of an interrupted conversion")
    qemu.require_sound(image, Header(form, SIZE), Work())
    qemu.convert(image, Header(form, SIZE), made, Work())
    assert made.read_bytes() == CONTENT
    qemu.make_qcow2(made, SIZE, again, compressed=True, work=Work())
    qemu.compare(again, Format.QCOW2, image, form, Work())


def test_what_qemu_img_finds_is_held_against_the_header(image: Path) -> None:
    with pytest.raises(Refused, match="qemu-img finds 12 MiB, and the header 1 GiB"):
        qemu.require_sound(image, Header(Format.QCOW2, GIB), Work())
    for field, value, words in (
        ("encrypted", True, "it is encrypted"),
        ("backing_filename", "x", "it names a backing file"),
        ("snapshots", [{}], "internal snapshots"),
        ("format_specific", {"data": {"data-file": "x"}}, "its data is in another file"),
        ("format_specific", {"data": {"corrupt": True}}, "marked as corrupt"),
        ("format_specific", {"data": {"encrypt": {}, "extents": [{"filename": "/etc/x"}]}}, "in other files"),
        ("format", "raw", "qemu-img finds the format raw"),
    ):
        given: dict[str, Any] = {"format": "qcow2", "virtual_size": SIZE, field: value}
        info = qemu._Info(**given)
        with pytest.raises(Refused, match=words):
            qemu._check_info(info, image, Header(Format.QCOW2, SIZE))


def test_a_plain_disk_is_looked_at_and_not_checked(raw: Path, replace: Replace) -> None:
    replace("check", "exit 1")
    qemu.require_sound(raw, Header(Format.RAW, SIZE), Work())


def test_a_conversion_of_another_size_is_not_taken(image: Path, tmp_path: Path, replace: Replace) -> None:
    replace("convert", '$real "$@" && truncate -s -512 "$last"')
    with pytest.raises(Different, match=f"made {SIZE - 512} bytes, and the image has {SIZE}"):
        qemu.convert(image, HEADER, tmp_path / "made.raw", Work())


def test_a_conversion_of_other_content_is_not_taken(image: Path, tmp_path: Path, replace: Replace) -> None:
    replace("convert", '$real "$@" && printf x | dd of="$last" bs=1 seek=5000 conv=notrunc 2>/dev/null')
    with pytest.raises(Different, match="differ after the conversion: Content mismatch"):
        qemu.convert(image, HEADER, tmp_path / "made.raw", Work())


@pytest.mark.parametrize("failure", [FULL, BROKEN], ids=["full", "broken"])
def test_a_folder_that_cannot_be_written_says_nothing_about_the_image(
    image: Path, tmp_path: Path, replace: Replace, failure: str
) -> None:
    replace("convert", failure)
    with pytest.raises(Unavailable, match="qemu-img could not finish: error while"):
        qemu.convert(image, HEADER, tmp_path / "made.raw", Work())


def test_a_program_that_was_killed_says_nothing_about_the_image(
    image: Path, tmp_path: Path, replace: Replace
) -> None:
    replace("convert", "kill -9 $$")
    with pytest.raises(Unavailable, match="qemu-img convert was killed: this pod may have too little memory"):
        qemu.convert(image, HEADER, tmp_path / "made.raw", Work())


def test_another_failure_refuses_the_image(image: Path, tmp_path: Path, replace: Replace) -> None:
    replace("convert", "echo 'Invalid parameter' >&2; exit 1")
    with pytest.raises(Refused, match="qemu-img convert does not accept the image: Invalid parameter"):
        qemu.convert(image, HEADER, tmp_path / "made.raw", Work())


@pytest.mark.parametrize("output", ["", "no JSON", '{"format":"qcow2"}'])
def test_an_image_of_which_nothing_is_known_is_refused(image: Path, replace: Replace, output: str) -> None:
    replace("info", f"echo '{output}'")
    with pytest.raises(Refused, match=r"says nothing usable of image\.qcow2"):
        qemu.require_sound(image, HEADER, Work())


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '{\"corruptions\": 2}'; exit 2", "qemu-img check finds 2 corruptions and 0 errors"),
        ("echo '{\"check-errors\": 1}'; exit 1", "qemu-img check finds 0 corruptions and 1 errors"),
        ("echo first >&2; echo last >&2; exit 1", "qemu-img check says last"),
        ("exit 63", "qemu-img check says nothing"),
    ],
)
def test_an_image_that_fails_the_check_is_refused(
    image: Path, replace: Replace, script: str, words: str
) -> None:
    replace("check", script)
    with pytest.raises(Refused, match=f"is damaged or truncated: {words}"):
        qemu.require_sound(image, HEADER, Work())


def test_clusters_that_are_not_used_harm_nothing(image: Path, replace: Replace) -> None:
    replace("check", "exit 3")
    qemu.require_sound(image, HEADER, Work())


def waiting(phase: Phase, begin: Path) -> Work:
    """Work that lets qemu-img begin once the progress was written a second time in the phase."""
    written = itertools.count()

    def write(line: str) -> None:
        if f'"{phase}"' in line and next(written) == 1:
            begin.touch()

    return Work(write=write, clock=itertools.count(0, 2).__next__)


def test_progress_is_reported_before_there_is_a_file(image: Path, tmp_path: Path, replace: Replace) -> None:
    begin, made, again = tmp_path / "begin", tmp_path / "made.raw", tmp_path / "again.qcow2"
    replace("convert", f'until [ -e {begin} ]; do sleep 0.05; done; exec $real "$@"')
    qemu.convert(image, HEADER, made, waiting(Phase.CONVERTING, begin))
    assert made.read_bytes() == CONTENT
    begin.unlink()
    qemu.make_qcow2(made, SIZE, again, compressed=False, work=waiting(Phase.CONVERTING, begin))
    assert begin.exists()
