"""Imports of images to real block devices, with a real qemu-img, also of hostile images."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover import importing
from csi_powerflex.mover.disk import Disk
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.importing import Imported, ImportRequest
from csi_powerflex.mover.mark import Job, Mark
from csi_powerflex.mover.outcome import Refused, Stopped, TargetRefused, Work
from csi_powerflex.mover.web import Checksum, Server
from csi_powerflex.units import MIB, TIB
from tests.commands import output_of
from tests.mover.conftest import MakeLoop
from tests.mover.devices import SOME_DATA, Loop, disk, sparse
from tests.mover.images import converted, qcow2_header
from tests.mover.web_server import WebServer

pytestmark = pytest.mark.needs("devices", "qemu-img")

SIZE = 12 * MIB
CONTENT = disk(SIZE, SOME_DATA)


def import_(
    source: Path | Server,
    target: Loop,
    scratch: Path,
    *,
    form: Format = Format.AUTO,
    checksum: str | None = None,
    work: Work | None = None,
    job: str = "job-1",
) -> Imported:
    request = ImportRequest(source, form, Checksum.parse(checksum) if checksum else None, scratch)
    with Disk.target(target.path) as written:
        return importing.import_image(request, written, job, work or Work())


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.raw"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def target(make_loop: MakeLoop) -> Loop:
    return make_loop(SIZE + MIB)


def image_of(raw: Path, kind: str) -> Path:
    """An image of a kind, next to the RAW file."""
    image = raw.with_name(f"image.{kind}")
    match kind:
        case "raw":
            return raw
        case "raw.gz":
            image.write_bytes(gzip.compress(raw.read_bytes()))
            return image
        case "qcow2-compressed":
            return converted(raw, image, "qcow2", "-c")
        case "vmdk-stream":
            return converted(raw, image, "vmdk", "-o", "subformat=streamOptimized")
        case _:
            return converted(raw, image, kind)


KINDS = ("raw", "raw.gz", "qcow2", "qcow2-compressed", "vmdk", "vmdk-stream")


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_imported_from_a_server(
    kind: str, raw: Path, web: WebServer, target: Loop, scratch: Path
) -> None:
    image = image_of(raw, kind).read_bytes()
    done = import_(web.serve("/image", image), target, scratch)
    assert target.content() == CONTENT + bytes(MIB)
    assert done.digest == f"sha256:{hashlib.sha256(image).hexdigest()}"
    assert done.format == kind.partition("-")[0].partition(".")[0]
    assert done.copied.size == SIZE
    assert list(scratch.iterdir()) == []
    assert target.file.stat().st_blocks * 512 < SIZE // 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_imported_from_a_file(kind: str, raw: Path, target: Loop, scratch: Path) -> None:
    image = image_of(raw, kind)
    import_(image, target, scratch)
    assert target.content() == CONTENT + bytes(MIB)
    assert image.exists()


def test_an_image_is_imported_from_a_device(
    raw: Path, make_loop: MakeLoop, target: Loop, scratch: Path
) -> None:
    source = make_loop(SIZE)
    source.put(CONTENT, 0)
    import_(source.path, target, scratch)
    assert target.content() == CONTENT + bytes(MIB)


def refused(image: Path, target: Loop, scratch: Path, words: str, form: Format = Format.AUTO) -> None:
    """Check that an import is refused with these words, and the target is as it was."""
    with pytest.raises(Refused, match=words):
        import_(image, target, scratch, form=form)
    assert not any(target.content())


def test_a_truncated_qcow2_is_refused(raw: Path, target: Loop, scratch: Path) -> None:
    raw.write_bytes(disk(SIZE, {MIB: 8 * MIB}))
    image = image_of(raw, "qcow2")
    with image.open("r+b") as opened:
        opened.truncate(image.stat().st_size * 2 // 3)
    result = subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=False, capture_output=True
    )
    assert result.returncode == 0, "this is why qemu-img's status alone proves nothing"
    refused(image, target, scratch, "is damaged or truncated: qemu-img check finds [1-9]")


def test_a_truncated_vmdk_is_refused(raw: Path, target: Loop, scratch: Path) -> None:
    raw.write_bytes(disk(SIZE, {MIB: 8 * MIB}))
    image = image_of(raw, "vmdk")
    with image.open("r+b") as opened:
        opened.truncate(image.stat().st_size * 2 // 3)
    refused(image, target, scratch, "is damaged or truncated|does not accept")


def test_a_backing_file_is_refused(raw: Path, tmp_path: Path, target: Loop, scratch: Path) -> None:
    image = tmp_path / "image.qcow2"
    for backing in (str(raw), 'json:{"driver":"raw","file.filename":"/etc/hostname"}'):
        image.unlink(missing_ok=True)
        output_of(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-u", "-b", backing, image, "12M"])
        refused(image, target, scratch, "it names a backing file")


def test_a_data_file_is_refused(tmp_path: Path, target: Loop, scratch: Path) -> None:
    image = tmp_path / "image.qcow2"
    options = f"data_file={tmp_path / 'data'}"
    output_of(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, "12M"])
    refused(image, target, scratch, "its data is in another file")


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentSparse"])
def test_a_vmdk_of_several_files_is_refused(
    kind: str, raw: Path, tmp_path: Path, target: Loop, scratch: Path
) -> None:
    image = converted(raw, tmp_path / "image.vmdk", "vmdk", "-o", f"subformat={kind}")
    refused(image, target, scratch, "a VMDK descriptor that names other files")


def test_an_encrypted_image_is_refused(raw: Path, tmp_path: Path, target: Loop, scratch: Path) -> None:
    image = tmp_path / "image.qcow2"
    secret = ["--object", "secret,id=s,data=geheim"]
    encrypt = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"]
    output_of(["qemu-img", "create", "-q", *secret, "-f", "qcow2", *encrypt, image, "12M"])
    refused(image, target, scratch, "it is encrypted")
    image.unlink()
    output_of(
        ["qemu-img", "create", "-q", *secret, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M"]
    )
    refused(image, target, scratch, "an encrypted disk")
    refused(image, target, scratch, "an encrypted disk", Format.RAW)


def test_snapshots_inside_are_refused(raw: Path, target: Loop, scratch: Path) -> None:
    image = image_of(raw, "qcow2")
    output_of(["qemu-img", "snapshot", "-c", "one", image])
    refused(image, target, scratch, "it has 1 internal snapshots")


def test_a_bomb_is_refused(tmp_path: Path, target: Loop, scratch: Path) -> None:
    image = tmp_path / "image.qcow2"
    output_of(["qemu-img", "create", "-q", "-f", "qcow2", image, "60T"])
    with pytest.raises(
        TargetRefused, match=r"the image has a disk of 60 TiB, and the target .* has only 13 MiB"
    ):
        import_(image, target, scratch)
    assert not any(target.content())


def test_a_header_without_tables_is_refused(tmp_path: Path, target: Loop, scratch: Path) -> None:
    image = tmp_path / "image.qcow2"
    image.write_bytes(qcow2_header(size=SIZE))
    refused(image, target, scratch, "qemu-img info does not accept the image|damaged")


def test_a_broken_download_does_not_become_a_disk(web: WebServer, target: Loop, scratch: Path) -> None:
    with pytest.raises(Refused, match="has no known format"):
        import_(web.serve("/image", sparse(MIB, {0: MIB})), target, scratch)
    assert not any(target.content())
    import_(web.serve("/image", sparse(MIB, {0: MIB})), target, scratch, form=Format.RAW)
    assert target.content()[:MIB] == sparse(MIB, {0: MIB})


def test_an_image_in_two_compressions_is_refused(raw: Path, target: Loop, scratch: Path) -> None:
    image = raw.with_name("image.gz")
    image.write_bytes(gzip.compress(gzip.compress(CONTENT)))
    refused(image, target, scratch, "is compressed more than once")


def test_a_wrong_checksum_is_refused(raw: Path, target: Loop, scratch: Path) -> None:
    with pytest.raises(Refused, match="was asked for; check the checksum"):
        import_(raw, target, scratch, checksum=f"sha256:{'0' * 64}")
    assert not any(target.content())


def test_the_target_of_another_job_is_refused_before_the_download(
    web: WebServer, target: Loop, scratch: Path
) -> None:
    target.put(Mark.of(Job("job-0", "x"), SIZE).block(), 0)
    with pytest.raises(TargetRefused, match="was begun by the job job-0, and this is the job job-1"):
        import_(web.serve("/image", CONTENT), target, scratch)
    assert web.requests == []


def test_a_missing_scratch_folder_is_told(web: WebServer, target: Loop, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="does not exist; mount a volume there"):
        import_(web.serve("/image", CONTENT), target, tmp_path / "missing")


@pytest.mark.parametrize("phase", [Phase.CHECKING, Phase.CONVERTING, Phase.VERIFYING, Phase.WRITING])
def test_a_stopped_import_continues_without_a_second_download(
    phase: Phase, raw: Path, web: WebServer, target: Loop, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, begin = web.serve("/image", image_of(raw, "qcow2").read_bytes()), Work.begin

    def begun(self: Work, now: Phase, total: int | None, *, at: int = 0) -> None:
        if now is phase:
            self.stop.set()
        begin(self, now, total, at=at)

    monkeypatch.setattr(Work, "begin", begun)
    with pytest.raises(Stopped):
        import_(server, target, scratch)
    monkeypatch.setattr(Work, "begin", begin)
    import_(server, target, scratch)
    assert target.content() == CONTENT + bytes(MIB)
    assert len(web.requests) == 1


@pytest.mark.parametrize("receipt", [b"", b"{}", b'{"source":"x","size":1,"digest":"sha256:0"}'])
def test_a_scratch_folder_with_other_content_is_not_trusted(
    receipt: bytes, web: WebServer, target: Loop, scratch: Path
) -> None:
    (scratch / "receipt.json").write_bytes(receipt)
    (scratch / "image").write_bytes(b"x")
    import_(web.serve("/image", CONTENT), target, scratch)
    assert target.content() == CONTENT + bytes(MIB)


def test_a_repeated_import_finds_that_it_is_done(raw: Path, target: Loop, scratch: Path) -> None:
    image = image_of(raw, "qcow2")
    import_(image, target, scratch)
    assert import_(image, target, scratch).copied.written == 0
    other = raw.with_name("other.raw")
    other.write_bytes(disk(SIZE, SOME_DATA, seed=2))
    with pytest.raises(TargetRefused, match="nothing was written to it"):
        import_(other, target, scratch)


def test_an_image_is_inspected(raw: Path, tmp_path: Path) -> None:
    for kind, form in (("raw", "raw"), ("qcow2", "qcow2"), ("vmdk", "vmdk")):
        found = importing.inspect_image(image_of(raw, kind), Format.AUTO, Work())
        assert (found.accepted, found.format, found.size) == (True, form, SIZE)
    packed = importing.inspect_image(image_of(raw, "raw.gz"), Format.AUTO, Work())
    assert (packed.accepted, packed.compression) == (True, "gzip")
    (tmp_path / "bad").write_bytes(qcow2_header(backing=1))
    refusal = importing.inspect_image(tmp_path / "bad", Format.AUTO, Work())
    assert not refusal.accepted
    assert "it names a backing file" in refusal.reason


def test_a_giant_image_is_inspected_in_little_memory(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    output_of(["qemu-img", "create", "-q", "-f", "qcow2", image, "60T"])
    assert importing.inspect_image(image, Format.AUTO, Work()).size == 60 * TIB
    assert json.loads(output_of(["qemu-img", "info", "--output=json", image]))["virtual-size"] == 60 * TIB
