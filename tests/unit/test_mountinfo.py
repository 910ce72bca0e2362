"""The kernel's table of mounts: reading all of it, and reading only what a question is about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from csi_powerflex.host import mountinfo

NUMBERS = ("252:1", "252:10", "2:1", "0:5", "0:52")
POINTS = ("/staging", "/staging/a", "/a b", r"/a\b", "/a\nb", "/ü", "/a#b", "/252:1", "/a/tmpfs")
SOURCES = ("/dev/null", "/dev/scinia", "tmpfs", "devtmpfs", "/dev/252:1 x", r"/dev/\x")
KINDS = ("ext4", "btrfs", "tmpfs", "devtmpfs", "xfs")


def escaped(text: str) -> str:
    for character in "\\ \n#":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    lines = []
    for number in range(draw(st.integers(0, 12))):
        device, kind = draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(KINDS))
        root = draw(st.sampled_from(("/", "/null", "/scinia")))
        point, source = (escaped(draw(st.sampled_from(of))) for of in (POINTS, SOURCES))
        tags = draw(st.sampled_from(("", " shared:1", " shared:0 master:2")))
        lines.append(f"{number} 1 {device} {root} {point} rw,noatime{tags} - {kind} {source} rw\n")
    return os.fsencode("".join(lines))


@pytest.fixture
def table_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's."""
    path = tmp_path / "mountinfo"
    monkeypatch.setattr(mountinfo, "_TABLE", path)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_a_question_about_one_path_has_the_same_answer_as_one_to_the_whole_table(
    table_file: Path, table: bytes
) -> None:
    table_file.write_bytes(table)
    whole = mountinfo.read()
    for point in POINTS:
        assert mountinfo.at(Path(point)) == mountinfo.at(Path(point), whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables())
def test_a_question_about_one_device_has_the_same_answer_as_one_to_the_whole_table(
    table_file: Path, monkeypatch: pytest.MonkeyPatch, table: bytes
) -> None:
    table_file.write_bytes(table)
    whole = mountinfo.read()
    with monkeypatch.context() as patched:
        for number in NUMBERS:
            patched.setattr(mountinfo, "device_number", lambda _device, number=number: number)
            device = Path("/dev/scinia")
            assert mountinfo.of_device(device) == mountinfo.of_device(device, whole)


def test_mounts_that_a_question_is_not_about_are_not_parsed(table_file: Path) -> None:
    """A host with 8,192 volumes has twice as many mounts, and each volume is asked about every minute."""
    table_file.write_bytes(
        b"1 0 252:1 / /staging rw - ext4 /dev/scinia rw\n" + b"this line cannot be parsed\n" * 16384
    )
    found = mountinfo.at(Path("/staging"))
    assert found is not None
    assert found.source == "/dev/scinia"
    assert mountinfo.at(Path("/missing")) is None
    with pytest.raises(ValueError, match="not enough values"):
        mountinfo.read()
