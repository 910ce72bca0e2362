"""Two exports to one file: none says that it is done with the image of the other one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.mover import exporting, web
from csi_powerflex.mover.exporting import Exported, ExportRequest
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.outcome import Stopped, TargetRefused, Work
from csi_powerflex.units import MIB

FORMATS = pytest.mark.parametrize(
    "form", [Format.RAW, pytest.param(Format.QCOW2, marks=pytest.mark.needs("qemu-img"))]
)


def export(folder: Path, word: bytes, form: Format) -> Exported:
    """Export a disk with this word to the file "image"."""
    source = folder / f"{word.decode()}.raw"
    source.write_bytes(word.ljust(MIB, b"\0"))
    return exporting.export_disk(ExportRequest(source, folder / "image", form), Work())


def digest_of_image(folder: Path) -> str:
    return f"sha256:{hashlib.sha256((folder / 'image').read_bytes()).hexdigest()}"


@FORMATS
def test_the_image_of_a_job_that_ends_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    digest_of, done = web.digest_of, []

    def meanwhile(path: Path, *_arguments: object) -> str:
        monkeypatch.setattr(web, "digest_of", digest_of)
        digest = digest_of(path, None, Work())
        done.append(export(tmp_path, b"second", form))
        return digest

    monkeypatch.setattr(web, "digest_of", meanwhile)
    with pytest.raises((TargetRefused, Unavailable)):
        export(tmp_path, b"first", form)
    assert done[0].digest == digest_of_image(tmp_path)


@FORMATS
def test_the_image_of_a_job_that_is_under_way_is_not_taken_for_the_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    digest_of = web.digest_of

    def stopped(*_arguments: object) -> str:
        raise Stopped("the job is ended")

    def meanwhile(path: Path, *_arguments: object) -> str:
        digest = digest_of(path, None, Work())
        monkeypatch.setattr(web, "digest_of", stopped)
        with pytest.raises(Stopped):
            export(tmp_path, b"second", form)
        return digest

    monkeypatch.setattr(web, "digest_of", meanwhile)
    with pytest.raises(Unavailable, match=r"another job makes .*image too; give one of them another name"):
        export(tmp_path, b"first", form)
    assert not (tmp_path / "image").exists()
    monkeypatch.setattr(web, "digest_of", digest_of)
    assert export(tmp_path, b"first", form).digest == digest_of_image(tmp_path)
