"""Writes the reference pages that follow from the code: parameters, configuration, metrics.

``make docs`` writes them; ``make check`` runs it with ``--check``, which fails when one is stale.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from csi_powerflex.cli.main import RoleGroup
from csi_powerflex.config.systems.schema import SystemSettings, ZoneSettings
from csi_powerflex.model import qos
from csi_powerflex.model.parameters import SnapshotParameters, VolumeParameters
from csi_powerflex.observability import metrics

_HERE = Path(__file__).parent
_NOTICE = "<!-- Made by docs/generate.py; run `make docs` after a change. -->\n"


def parameters() -> str:
    """docs/parameters.md, from the fields of the parameter classes."""
    volume = list(_fields(VolumeParameters))
    mutable = [row for row in volume if row[0].strip("`") in qos.KEYS]
    return "\n".join(
        [
            "# Parameters of classes",
            "",
            "Unknown keys are refused with the closest known one; keys that begin with `csi.storage.k8s.io/` belong to",
            "the sidecars.",
            "",
            "## StorageClass",
            "",
            *_table(("parameter", "meaning", "default"), volume),
            "",
            "`fstype` and `mkfsFormatOption` travel to the node in the volume's context, which is fixed for its life.",
            "",
            "## VolumeAttributesClass",
            "",
            "What can be changed on a volume that exists, mapped or not. A class changes only the keys it names.",
            "",
            *_table(("parameter", "meaning"), [row[:2] for row in mutable]),
            "",
            "## VolumeSnapshotClass and VolumeGroupSnapshotClass",
            "",
            *_table(("parameter", "meaning", "default"), _fields(SnapshotParameters)),
        ]
    )


def _fields(kind: Any) -> Iterable[tuple[str, str, str]]:
    for field in dataclasses.fields(kind):
        default = "" if field.default is None else str(field.default)
        yield (
            f"`{field.metadata['key']}`",
            field.metadata["description"],
            f"`{_plain(default)}`" if default else "",
        )


def _plain(default: str) -> str:
    return default.lower() if default in ("True", "False") else default


def configuration() -> str:
    """docs/configuration.md, from the settings' structures and the commands' options."""
    lines = [
        "# Configuration",
        "",
        "## The systems file",
        "",
        "YAML with one list, `systems`, given to the controller with `--systems`. It is looked at every few seconds: a changed",
        "file, password or authority takes effect without a restart, and a broken one changes nothing.",
        "",
        "```yaml",
        "systems:",
        "  - name: prod",
        "    endpoints: [https://gateway.example.org]",
        "    username: csi",
        "    passwordFile: /etc/powerflex/password",
        "    caFile: /etc/powerflex/ca.pem",
        "    protectionDomain: pd1",
        "    storagePool: sp1",
        "```",
        "",
        "### A system",
        "",
        *_table(("key", "meaning", "default"), _keys(SystemSettings)),
        "",
        "In place of `endpoints`, `username`, `password` and `storagePool`, a system may have one key `url` of the form",
        "`powerflex://user:password@gateway[:port]/pool`, as CloudStack registers its pools; reserved characters are percent-encoded.",
        "",
        "### A zone of a system",
        "",
        *_table(("key", "meaning", "default"), _keys(ZoneSettings)),
    ]
    for role in RoleGroup.ROLES:
        command = importlib.import_module(f"csi_powerflex.cli.{role}").command
        lines += ["", f"## csi-powerflex {role}", "", inspect.cleandoc(command.help or "").partition("\n")[0]]
        options = list(_options(command))
        if options:
            lines += ["", *_table(("option", "environment", "meaning", "default"), options)]
    return "\n".join(lines)


def _keys(kind: type[msgspec.Struct]) -> Iterable[tuple[str, str, str]]:
    meanings = _meanings(kind)
    for field in msgspec.structs.fields(kind):
        default = (
            "required"
            if field.required
            else ""
            if field.default in (None, ())
            else f"`{_plain(str(field.default))}`"
        )
        yield f"`{field.encode_name}`", meanings[field.name], default


def _meanings(kind: type) -> dict[str, str]:
    """What a class's docstring says of each attribute."""
    text = inspect.getdoc(kind) or ""
    _, _, attributes = text.partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}


def _options(command: click.Command) -> Iterable[tuple[str, str, str, str]]:
    prefix = command.context_settings.get("auto_envvar_prefix")
    for option in command.params:
        if not isinstance(option, click.Option) or option.hidden:
            continue
        variable = option.envvar or (f"{prefix}_{(option.name or '').upper()}" if prefix else "")
        default = "required" if option.required else ""
        if option.show_default and option.default is not None:
            default = f"`{option.default}`"
        yield f"`{option.opts[0]}`", f"`{variable}`", " ".join((option.help or "").split()), default


def metric_table() -> str:
    """docs/metrics.md, from the table of metrics."""
    rows = [(f"`{item.name}`", item.kind, item.description, _labels(item.labels)) for item in metrics.TABLE]
    return "\n".join(
        [
            "# Metrics",
            "",
            "Served by controller and node over plain HTTP with `--metrics-address`, at `/metrics`; `/healthz` beside it answers while the",
            "process lives. A histogram's buckets go from 1 ms to 100 s. `kill -USR1` turns debug log lines on, and off again.",
            "",
            *_table(("metric", "type", "description", "labels and their values"), rows),
        ]
    )


def _labels(labels: Mapping[str, str]) -> str:
    return "<br>".join(f"`{label}`: {values}" for label, values in labels.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


PAGES: dict[str, Callable[[], str]] = {
    "parameters.md": parameters,
    "configuration.md": configuration,
    "metrics.md": metric_table,
}


def main() -> None:
    """Write the pages, or with ``--check`` compare them."""
    stale = []
    for name, make in PAGES.items():
        text = f"{_NOTICE}{make()}\n"
        page = _HERE / name
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(f"stale: {', '.join(stale)} in docs/; run `make docs`")


if __name__ == "__main__":
    main()
