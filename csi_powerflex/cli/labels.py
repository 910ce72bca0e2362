"""``csi-powerflex labels``."""

from __future__ import annotations

from pathlib import Path

import click

from csi_powerflex.app import labels
from csi_powerflex.cli import options, settings
from csi_powerflex.config.labels import LabelFile, LabelsSettings
from csi_powerflex.observability import log

_Pair = tuple[str, Path]


def _pairs(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[_Pair]:
    pairs = []
    for text in given:
        label, equals, file = text.partition("=")
        if not (label and equals and file):
            raise click.BadParameter(f"{text!r} is not usable; give the label, =, and the path of a file")
        pairs.append((label, Path(file)))
    return pairs


@click.command(name="labels", cls=settings.RoleCommand, context_settings=settings.of("labels"))
@click.option("--node", required=True, metavar="NAME", help="Name of the Kubernetes node.")
@click.option(
    "--label",
    "required",
    multiple=True,
    callback=_pairs,
    metavar="LABEL=FILE",
    help="Write the value of this label into FILE. The node must have the label. Can be given several times.",
)
@click.option(
    "--optional-label",
    "optional",
    multiple=True,
    callback=_pairs,
    metavar="LABEL=FILE",
    help="The same, but FILE is empty for a node without the label. Can be given several times.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A kubeconfig file. Without it, the cluster that this process runs in is asked.",
)
@options.log_lines
def command(
    node: str,
    required: list[_Pair],
    optional: list[_Pair],
    kubeconfig: Path | None,
    log_level: str,
    log_format: str,
) -> None:
    """Write labels of a Kubernetes node into files, and end.

    For an init container: the node plugin reads the files (--zone-file, --max-volumes-file) and so needs no
    access to the Kubernetes API.
    """
    log.configure(level=log_level, form=log.Format(log_format))
    files = [
        LabelFile(label, file, required=pairs is required)
        for pairs in (required, optional)
        for label, file in pairs
    ]
    if not files:
        raise click.UsageError("no label is given; use --label LABEL=FILE")
    with options.one_line_errors():
        labels.run(LabelsSettings(node=node, files=tuple(files), kubeconfig=kubeconfig))
