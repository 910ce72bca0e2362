"""Exports of real block devices, to files and to a server."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.mover import exporting, qemu
from csi_powerflex.mover.exporting import Exported, ExportRequest
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.outcome import Different, TargetRefused, Work
from csi_powerflex.mover.web import Server
from csi_powerflex.units import MIB
from tests.commands import output_of
from tests.mover.conftest import MakeLoop
from tests.mover.devices import SOME_DATA, Loop, sparse
from tests.mover.web_server import WebServer, status_answer

pytestmark = pytest.mark.needs("devices")

SIZE = 12 * MIB
needs_qemu = pytest.mark.needs("qemu-img")
FORMATS = pytest.mark.parametrize("form", [Format.RAW, pytest.param(Format.QCOW2, marks=needs_qemu)])


@pytest.fixture
def source(make_loop: MakeLoop) -> Loop:
    made = make_loop(SIZE)
    made.put(sparse(SIZE, SOME_DATA), 0)
    return made


def export(
    source: Loop,
    target: Path | Server,
    form: Format,
    *,
    compressed: bool = False,
    scratch: Path | None = None,
) -> Exported:
    request = ExportRequest(source.path, target, form, compressed, scratch)
    return exporting.export_disk(request, Work())


def content_of(image: Path, form: Format) -> bytes:
    if form is Format.RAW:
        return image.read_bytes()
    output_of(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, image.with_suffix(".plain")])
    return image.with_suffix(".plain").read_bytes()


@FORMATS
def test_a_disk_becomes_a_file(source: Loop, tmp_path: Path, form: Format) -> None:
    image = tmp_path / "image"
    done = export(source, image, form)
    assert done.digest == f"sha256:{hashlib.sha256(image.read_bytes()).hexdigest()}"
    assert content_of(image, form) == source.content()
    assert image.stat().st_blocks * 512 < SIZE // 2
    assert not (tmp_path / ".image.partial").exists()


@needs_qemu
def test_qcow2_can_be_compressed(make_loop: MakeLoop, tmp_path: Path) -> None:
    source = make_loop(SIZE)
    source.put(b"text " * (SIZE // 5), 0)
    export(source, tmp_path / "image", Format.QCOW2, compressed=True)
    assert (tmp_path / "image").stat().st_size < SIZE // 4
    assert content_of(tmp_path / "image", Format.QCOW2) == source.content()


@FORMATS
def test_a_file_that_exists_is_not_overwritten(source: Loop, tmp_path: Path, form: Format) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"mine")
    with pytest.raises(TargetRefused, match="exists, and is not overwritten"):
        export(source, image, form)
    assert image.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    source: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, make = tmp_path / "image", exporting._make

    def making(*arguments: object) -> int:
        image.write_bytes(b"mine")
        return make(*arguments)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(exporting, "_make", making)
    with pytest.raises(TargetRefused, match="was created meanwhile"):
        export(source, image, Format.RAW)
    assert image.read_bytes() == b"mine"


@FORMATS
def test_the_rest_of_an_interrupted_export_is_replaced(source: Loop, tmp_path: Path, form: Format) -> None:
    (tmp_path / ".image.partial").write_bytes(b"x" * SIZE * 2)
    export(source, tmp_path / "image", form)
    assert content_of(tmp_path / "image", form) == source.content()


@FORMATS
def test_a_disk_is_put_to_a_server(
    source: Loop, web: WebServer, scratch: Path, tmp_path: Path, form: Format
) -> None:
    web.answers["/up"] = status_answer(201)
    done = export(source, web.server("/up"), form, scratch=scratch)
    sent = web.requests[0].body
    assert done.digest == f"sha256:{hashlib.sha256(sent).hexdigest()}"
    (tmp_path / "sent").write_bytes(sent)
    assert content_of(tmp_path / "sent", form) == source.content()
    assert list(scratch.iterdir()) == []


def test_qcow2_for_a_server_needs_a_scratch_folder(source: Loop, web: WebServer) -> None:
    with pytest.raises(InvalidArgument, match="needs a scratch folder"):
        export(source, web.server("/up"), Format.QCOW2)


def test_other_formats_are_refused(source: Loop, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is exported as raw or qcow2, not as vmdk"):
        export(source, tmp_path / "image", Format.VMDK)


@needs_qemu
def test_an_image_that_differs_from_the_disk_is_not_kept(
    source: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = qemu.require_sound

    def changing(*arguments: object) -> None:
        sound(*arguments)  # type: ignore[arg-type] # passed on as they came
        source.put(b"changed", 5 * MIB)

    monkeypatch.setattr(qemu, "require_sound", changing)
    with pytest.raises(Different):
        export(source, tmp_path / "image", Format.QCOW2)
    assert not (tmp_path / "image").exists()
