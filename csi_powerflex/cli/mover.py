"""``csi-powerflex mover``: copies, imports, exports and inspects disks, in an image of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from csi_powerflex.cli import settings
from csi_powerflex.model.mover import Outcome
from csi_powerflex.mover import jobs, process
from csi_powerflex.mover.copying import TargetState, Verify
from csi_powerflex.mover.exporting import ExportRequest
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.importing import ImportRequest
from csi_powerflex.mover.jobs import ServerFiles
from csi_powerflex.mover.mark import Job
from csi_powerflex.mover.outcome import Work
from csi_powerflex.mover.web import Checksum
from csi_powerflex.observability import log

_file = click.Path(dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)

_termination = click.option(
    "--termination-log",
    type=_file,
    help="File for the outcome as JSON, such as /dev/termination-log. It is also the last line of the "
    "output.",
)
_job = click.option(
    "--job",
    required=True,
    metavar="NAME",
    help="Name that no other job ever has, such as the UID of an object. A job continues only its own "
    "target.",
)
_target_state = click.option(
    "--target-state",
    type=click.Choice([state.value for state in TargetState]),
    default=TargetState.UNKNOWN.value,
    show_default=True,
    help="unknown: read all of the target first, and refuse it if it has content. new: read samples only; "
    "for a volume that was just created in a pool with zero padding.",
)
_verify = click.option(
    "--verify",
    type=click.Choice([how.value for how in Verify]),
    default=Verify.SAMPLE.value,
    show_default=True,
    help="How much of the result is read again and compared with the source.",
)
_ca_file = click.option(
    "--ca-file",
    type=_file,
    help="File with the certificate authorities to trust, in PEM. Without it, those of the operating system.",
)
_credentials_file = click.option(
    "--credentials-file",
    type=_file,
    help="File with one line, a bearer token, or two lines, a user and a password. Only for HTTPS.",
)
_scratch = click.option(
    "--scratch",
    type=_folder,
    help="Folder of this job alone, with space for the image and for its data.",
)


@click.group(name="mover", context_settings={"help_option_names": settings.HELP})
def command() -> None:
    """Copy, import, export and inspect disks, as a job with progress and an outcome in JSON.

    The exit status is 0 if the job is done, 10 if the source is refused, 11 if the target is, 12 or 143 if
    the same job may succeed later, and 13 if the result is not the source.
    """


def _run(action: Callable[[Work], Outcome], termination: Path | None) -> None:
    log.configure(level="warning")
    sys.exit(int(process.run_job(action, termination=termination, show=click.echo)))


@command.command(name="copy", cls=settings.RoleCommand, context_settings=settings.of("mover_copy"))
@click.option("--source", type=_file, required=True, help="Block device or RAW file to read.")
@click.option(
    "--source-id", required=True, help="What identifies the content of the source, such as its handle."
)
@click.option(
    "--target", type=_file, required=True, help="Block device to write; empty, or begun by this job."
)
@_job
@_target_state
@_verify
@_termination
def copy(
    source: Path,
    source_id: str,
    target: Path,
    job: str,
    target_state: str,
    verify: str,
    termination_log: Path | None,
) -> None:
    """Copy a disk to a block device of the same size or larger.

    Parts that are zero are not written. An interrupted copy continues.
    """

    def act(work: Work) -> Outcome:
        done = jobs.copy_job(
            source, target, Job.parse(job, source_id), state=TargetState(target_state), verify=Verify(verify)
        )
        return done(work)

    _run(act, termination_log)


@command.command(name="import", cls=settings.RoleCommand, context_settings=settings.of("mover_import"))
@click.option("--source", type=_file, help="File or block device with the image. Or give --url-file.")
@click.option("--url-file", type=_file, help="File with the URL of the image, with http or https.")
@_ca_file
@_credentials_file
@click.option(
    "--checksum", metavar="CHECKSUM", help="sha256:<hex> or sha512:<hex> of the image at its source."
)
@click.option(
    "--format",
    "wanted",
    type=click.Choice([form.value for form in Format]),
    default=Format.AUTO.value,
    show_default=True,
    help="Format of the image. A RAW disk without partition table and filesystem has to be given as raw.",
)
@click.option(
    "--target", type=_file, required=True, help="Block device to write; empty, or begun by this job."
)
@_scratch
@_job
@_target_state
@_verify
@_termination
def import_(
    target: Path,
    job: str,
    target_state: str,
    verify: str,
    termination_log: Path | None,
    wanted: str,
    **given: Any,
) -> None:
    """Import an image to a block device.

    QCOW2, VMDK and RAW images, also compressed with gzip, xz or zstd. An image that names other files is
    refused.
    """
    if (given["source"] is None) == (given["url_file"] is None):
        raise click.UsageError("give either --source or --url-file")

    def request() -> ImportRequest:
        source = (
            given["source"]
            or ServerFiles(given["url_file"], given["ca_file"], given["credentials_file"]).read()
        )
        return ImportRequest(
            source=source,
            format=Format(wanted),
            checksum=Checksum.parse(given["checksum"]) if given["checksum"] else None,
            scratch=given["scratch"] or Path("/scratch"),
            state=TargetState(target_state),
            verify=Verify(verify),
        )

    _run(jobs.import_job(request, target, job), termination_log)


@command.command(name="export", cls=settings.RoleCommand, context_settings=settings.of("mover_export"))
@click.option(
    "--source", type=_file, required=True, help="Block device to read. It must not change meanwhile."
)
@click.option("--target", type=_file, help="File to write, which must not exist. Or give --url-file.")
@click.option("--url-file", type=_file, help="File with the URL for HTTP PUT, such as a signed one.")
@_ca_file
@_credentials_file
@click.option(
    "--format",
    "wanted",
    type=click.Choice([Format.QCOW2.value, Format.RAW.value]),
    default=Format.QCOW2.value,
    show_default=True,
    help="Format of the image.",
)
@click.option("--compressed", is_flag=True, help="Compress a QCOW2 image.")
@_scratch
@_verify
@_termination
def export(source: Path, verify: str, termination_log: Path | None, wanted: str, **given: Any) -> None:
    """Export a disk to a QCOW2 or RAW file, or with HTTP PUT."""
    if (given["target"] is None) == (given["url_file"] is None):
        raise click.UsageError("give either --target or --url-file")

    def request() -> ExportRequest:
        target = (
            given["target"]
            or ServerFiles(given["url_file"], given["ca_file"], given["credentials_file"]).read()
        )
        return ExportRequest(
            source=source,
            target=target,
            format=Format(wanted),
            compressed=given["compressed"],
            scratch=given["scratch"],
            verify=Verify(verify),
        )

    _run(jobs.export_job(request), termination_log)


@command.command(name="inspect", cls=settings.RoleCommand, context_settings=settings.of("mover_inspect"))
@click.option("--source", type=_file, required=True, help="File or block device with the image.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice([form.value for form in Format]),
    default=Format.AUTO.value,
    show_default=True,
    help="Format that the image must have.",
)
@_termination
def inspect(source: Path, wanted: str, termination_log: Path | None) -> None:
    """Say the format and size of an image, and whether an import would accept it."""
    _run(jobs.inspect_job(source, Format(wanted)), termination_log)
