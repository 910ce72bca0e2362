"""``csi-powerflex mover`` as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.model.mover import Exit, Outcome, read_outcome
from csi_powerflex.units import MIB
from tests.mover.conftest import MakeLoop
from tests.mover.devices import SOME_DATA, disk
from tests.mover.web_server import WebServer, status_answer

pytestmark = pytest.mark.needs("devices")

SIZE = 12 * MIB
CONTENT = disk(SIZE, SOME_DATA)


def run(*arguments: object) -> tuple[Outcome, list[dict[str, Any]]]:
    """The outcome, and the lines of progress before it."""
    command = [sys.executable, "-m", "csi_powerflex", "mover", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *progress, last = done.stdout.splitlines() or [done.stderr]
    outcome = read_outcome(last)
    assert outcome.exit == done.returncode
    return outcome, [json.loads(line) for line in progress]


def test_copy_reports_progress_and_outcome(make_loop: MakeLoop, tmp_path: Path) -> None:
    source, target = make_loop(SIZE), make_loop(SIZE)
    source.put(CONTENT, 0)
    message = tmp_path / "message"
    options = (
        "copy", f"--source={source.path}", "--source-id=x", f"--target={target.path}", "--job=j",
        "--verify=full", f"--termination-log={message}",
    )  # fmt: skip
    outcome, progress = run(*options)
    assert outcome.exit is Exit.DONE
    assert outcome.size == SIZE
    assert target.content() == CONTENT
    assert read_outcome(message.read_text()) == outcome
    assert {line["phase"] for line in progress} == {"Checking", "Writing", "Verifying"}
    assert run(*options)[0].written == 0
    other = ["--job=other" if option == "--job=j" else option for option in options]
    assert run(*other)[0].exit is Exit.DONE  # the data is the same, so nothing has to be done
    target.put(b"other", 6 * MIB)
    refused, _ = run(*options)
    assert refused.exit is Exit.TARGET
    assert read_outcome(message.read_text()) == refused


def test_import_takes_url_and_secrets_from_files(
    make_loop: MakeLoop, web: WebServer, tmp_path: Path, scratch: Path
) -> None:
    target = make_loop(SIZE)
    web.serve("/image", CONTENT)
    (tmp_path / "url").write_text(web.url("/image?signature=geheim\n"))
    (tmp_path / "credentials").write_text("user\ngeheim\n")
    outcome, _ = run(
        "import", f"--url-file={tmp_path / 'url'}", f"--ca-file={web.authority}",
        f"--credentials-file={tmp_path / 'credentials'}", f"--target={target.path}",
        f"--scratch={scratch}", "--job=j",
    )  # fmt: skip
    assert outcome.exit is Exit.DONE
    assert target.content() == CONTENT
    assert web.requests[0].headers["Authorization"].startswith("Basic ")


def test_no_secret_is_printed(make_loop: MakeLoop, web: WebServer, tmp_path: Path, scratch: Path) -> None:
    target = make_loop(SIZE)
    (tmp_path / "url").write_text(web.url("/image?signature=geheim"))
    (tmp_path / "credentials").write_text("geheim\n")
    for status in (403, 404, 503):
        web.answers["/image"] = status_answer(status)
        done = subprocess.run(
            [
                sys.executable, "-m", "csi_powerflex", "mover", "import", f"--url-file={tmp_path / 'url'}",
                f"--ca-file={web.authority}", f"--credentials-file={tmp_path / 'credentials'}",
                f"--target={target.path}", f"--scratch={scratch}", "--job=j",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert f"status {status}" in done.stdout
        assert "geheim" not in done.stdout + done.stderr


def test_export_makes_a_raw_file(make_loop: MakeLoop, tmp_path: Path) -> None:
    source = make_loop(SIZE)
    source.put(CONTENT, 0)
    options = ("export", f"--source={source.path}", f"--target={tmp_path / 'image'}", "--format=raw")
    outcome, _ = run(*options)
    assert outcome.exit is Exit.DONE
    assert (tmp_path / "image").read_bytes() == CONTENT
    assert run(*options)[0].exit is Exit.TARGET


@pytest.mark.needs("qemu-img")
def test_inspect_says_what_an_image_is(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(CONTENT)
    outcome, _ = run("inspect", f"--source={tmp_path / 'image'}")
    assert (outcome.exit, outcome.format, outcome.size) == (Exit.DONE, "raw", SIZE)
    (tmp_path / "image").write_bytes(b"x" * MIB)
    assert run("inspect", f"--source={tmp_path / 'image'}")[0].exit is Exit.REFUSED


def test_an_option_that_cannot_be_used_is_an_outcome(make_loop: MakeLoop, tmp_path: Path) -> None:
    target = make_loop(SIZE)
    outcome, _ = run("import", f"--url-file={tmp_path / 'url'}", f"--target={target.path}", "--job=j")
    assert outcome.exit is Exit.USAGE
    assert "cannot be read: No such file" in outcome.message
    outcome, _ = run("copy", f"--source={target.path}", "--source-id=x", f"--target={target.path}", "--job=-")
    assert outcome.exit is Exit.USAGE


@pytest.mark.parametrize("more", [[], ["--source=/a", "--url-file=/b"]])
def test_import_wants_one_source(more: list[str]) -> None:
    command = [sys.executable, "-m", "csi_powerflex", "mover", "import", "--target=/x", "--job=j", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.USAGE
    assert "give either --source or --url-file" in done.stderr
