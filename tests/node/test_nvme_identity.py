"""The identity of a host for NVMe: the files hostnqn and hostid."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.transport.nvme.identity import HostFiles

ID = "11111111-2222-4333-8444-555555555555"
OTHER = "66666666-2222-4333-8444-555555555555"
UUID_NQN = f"nqn.2014-08.org.nvmexpress:uuid:{ID}"
NAMED = "nqn.2020-01.com.example:host7"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc/nvme"
    folder.mkdir(parents=True)
    return folder


def files(etc: Path, *, machine: str | None = None) -> HostFiles:
    """The files; with ``machine`` as the UUID of the machine, they may be created."""
    sysfs = etc.parent.parent / "sys"
    if machine is not None:
        dmi = sysfs / "class/dmi/id"
        dmi.mkdir(parents=True)
        (dmi / "product_uuid").write_text(f"{machine}\n")
    return HostFiles(etc, create=machine is not None, sysfs=sysfs)


@pytest.mark.parametrize(
    "text",
    [
        UUID_NQN,
        f"{UUID_NQN}\n",
        f"{UUID_NQN}\r\n",
        f"  {UUID_NQN}\t\n",
        f"\n{UUID_NQN}\n",
        f"{UUID_NQN}\nnqn.other\n",
    ],
    ids=["bare", "newline", "CRLF", "blanks", "empty line first", "second line"],
)
def test_the_first_line_is_the_nqn(etc: Path, text: str) -> None:
    (etc / "hostnqn").write_bytes(text.encode())
    pair = files(etc).pair()
    assert (pair.nqn, pair.host_id) == (UUID_NQN, ID)


def test_the_case_of_the_nqn_is_kept_for_the_kernel_and_ignored_in_comparisons(etc: Path) -> None:
    (etc / "hostnqn").write_text(UUID_NQN.upper().replace("NQN.", "nqn."))
    pair = files(etc).pair()
    assert pair.nqn.endswith("NVMEXPRESS:UUID:" + ID)
    assert pair.key == UUID_NQN
    assert pair.host_id == ID


@pytest.mark.parametrize("text", [None, "", " \n"], ids=["missing", "empty", "blank"])
def test_a_host_without_an_nqn_is_told_how_to_make_one(etc: Path, text: str | None) -> None:
    if text is not None:
        (etc / "hostnqn").write_text(text)
    with pytest.raises(FailedPrecondition, match=r"nvme gen-hostnqn.*--nvme-create-hostnqn"):
        files(etc).pair()


def test_a_folder_that_is_missing_is_a_host_without_an_nqn(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="has no NQN"):
        files(tmp_path / "missing/nvme").pair()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{NAMED},ctrl_loss_tmo=5", "has a comma"),
        (f"nqn.2020-01.com.example:{'x' * 200}", "more than 223 bytes"),
        ("nqn.2020-01.com.example:a b", "is not an NVMe qualified name"),
        ("iqn.2020-01.com.example:a", "is not an NVMe qualified name"),
        ("nqn.2020-01.com.example:\u00e4", "is not an NVMe qualified name"),
    ],
    ids=["comma", "too long", "blank inside", "another name", "not ASCII"],
)
def test_a_file_with_something_else_is_refused(etc: Path, text: str, words: str) -> None:
    (etc / "hostnqn").write_text(text)
    with pytest.raises(FailedPrecondition, match=words):
        files(etc).pair()


def test_the_host_id_of_the_file_goes_before_the_one_in_the_nqn(etc: Path) -> None:
    (etc / "hostnqn").write_text(UUID_NQN)
    (etc / "hostid").write_text(f"{OTHER.upper()}\n")
    assert files(etc).pair().host_id == OTHER


def test_without_a_host_id_an_nqn_without_a_uuid_is_refused(etc: Path) -> None:
    (etc / "hostnqn").write_text(NAMED)
    with pytest.raises(FailedPrecondition, match=r"has no UUID.*uuidgen"):
        files(etc).pair()
    (etc / "hostid").write_text(ID)
    assert files(etc).pair().host_id == ID


@pytest.mark.parametrize("text", ["7", f"{ID},tls", "0" * 8 + "-0000-0000-0000-" + "0" * 12])
def test_a_host_id_that_is_not_one_is_refused(etc: Path, text: str) -> None:
    (etc / "hostnqn").write_text(UUID_NQN)
    (etc / "hostid").write_text(text)
    with pytest.raises(FailedPrecondition, match="which is not a UUID"):
        files(etc).pair()


def test_a_file_that_cannot_be_read_is_named(etc: Path) -> None:
    (etc / "hostnqn").mkdir()
    with pytest.raises(FailedPrecondition, match=r"cannot read .*hostnqn: Is a directory"):
        files(etc).pair()


def test_the_files_are_created_on_request_from_the_uuid_of_the_machine(etc: Path) -> None:
    etc.rmdir()
    pair = files(etc, machine=ID.upper()).pair()
    assert (pair.nqn, pair.host_id) == (UUID_NQN, ID)
    assert (etc / "hostnqn").read_text() == f"{UUID_NQN}\n"
    assert (etc / "hostid").read_text() == f"{ID}\n"
    assert sorted(path.name for path in etc.iterdir()) == ["hostid", "hostnqn"]
    assert stat.S_IMODE((etc / "hostnqn").stat().st_mode) == 0o644


def test_files_that_exist_are_never_replaced(etc: Path) -> None:
    (etc / "hostid").write_text(OTHER)
    made = files(etc, machine=ID)
    assert made.pair().host_id == OTHER
    (etc / "hostnqn").write_text(NAMED)
    assert made.pair().nqn == NAMED


def test_an_empty_file_is_replaced(etc: Path) -> None:
    (etc / "hostnqn").touch()
    assert files(etc, machine=ID).pair().nqn == UUID_NQN


def test_a_file_that_another_program_writes_meanwhile_stays(
    etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Path.exists

    def late(path: Path) -> bool:
        there = exists(path)
        if path.name == "hostnqn" and not there:
            path.write_text(NAMED)
        return there

    monkeypatch.setattr(Path, "exists", late)
    assert files(etc, machine=ID).pair().nqn == NAMED


@pytest.mark.parametrize(
    "machine",
    ["", "not a uuid", "0" * 8 + "-0000-0000-0000-" + "0" * 12, "f" * 8 + "-ffff-ffff-ffff-" + "f" * 12,
     "03000200-0400-0500-0006-000700080009"],
)  # fmt: skip
def test_a_machine_without_a_uuid_of_its_own_gets_no_nqn(etc: Path, machine: str) -> None:
    """Two hosts with one NQN would see each other's volumes."""
    with pytest.raises(FailedPrecondition, match="not the UUID of one machine"):
        files(etc, machine=machine).pair()
    assert list(etc.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(FailedPrecondition, match="cannot be written: Read-only file system"):
        files(etc, machine=ID).pair()


def test_nothing_is_created_without_a_request(etc: Path) -> None:
    with pytest.raises(FailedPrecondition):
        files(etc, machine=ID).existing()
    assert list(etc.iterdir()) == []
