"""The rules about imports: each one objects when it is broken, and no package is left out of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "csi_powerflex"

BREAKS = {
    "layers": ("units", "csi_powerflex.background"),
    "operator": ("operator.schema", "csi_powerflex.gateway.codes"),
    "operator-apart": ("kube_objects.reader", "kopf"),
    "mover": ("operator.turns", "csi_powerflex.mover.disk"),
    "operations": ("operations.node.filesystem_growth", "subprocess"),
    "halves": ("operations.node.stats", "csi_powerflex.operations.controller.lookup"),
    "controller-host": ("gateway.codes", "csi_powerflex.host.run"),
    "node-process": ("host.fssize", "requests"),
    "controller-edge": ("csi.group", "csi_powerflex.operations.node.stats"),
    "grpc": ("qos_store.local", "grpc"),
    "http": ("config.document", "urllib3"),
    "processes": ("transport.sdc.drv_cfg", "subprocess"),
    "simulator": ("simulator.names", "csi_powerflex.names"),
    "driver-simulator": ("host.mounts", "csi_powerflex.simulator.clock"),
    "demo": ("demo.leftovers", "csi_powerflex.host.mounts"),
}
"""For each rule a module and an import that breaks it."""

# Who may import what: these packages and modules are left out of the rule on purpose.
ALLOWED = {
    "grpc": {"app", "csi", "demo"},
    "http": {"connection_errors", "demo", "gateway", "kube", "mover.web", "simulator", "tls"},
    "processes": {"demo", "simulator"},
}


def contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return {contract["id"]: contract for contract in settings["contracts"]}


def packages(within: str = "") -> set[str]:
    """The packages and modules of the driver, or of one of its packages."""
    return {
        path.stem
        for path in (ROOT / PACKAGE / within).iterdir()
        if path.suffix in ("", ".py") and path.name[0] not in "._" and path.stem not in ("pb", "py")
    } - {"__pycache__"}


def forbidden(rule: str) -> set[str]:
    """What a rule about a library has to name. Of a package with a module that may use it, all others."""
    allowed = ALLOWED[rule]
    divided = {name.partition(".")[0] for name in allowed if "." in name}
    modules = {f"{package}.{module}" for package in divided for module in packages(package)}
    return (packages() - divided | modules) - allowed


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and of the rules."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    return tmp_path


def broken(folder: Path) -> tuple[set[str], str]:
    """The ids of the rules that lint-imports finds broken in ``folder``, and what it printed."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "500", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    return {key for key, contract in contracts().items() if f"{contract['name']} BROKEN" in output}, output


def test_each_rule_objects_when_it_is_broken(copy: Path) -> None:
    for module, imported in BREAKS.values():
        path = copy / PACKAGE / f"{module.replace('.', '/')}.py"
        path.write_text(path.read_text(encoding="utf-8") + f"\nimport {imported}\n", encoding="utf-8")
    found, output = broken(copy)
    assert found == set(BREAKS) == set(contracts()), output


def test_a_package_without_a_place_in_the_layers_is_refused(copy: Path) -> None:
    (copy / PACKAGE / "misplaced").mkdir()
    (copy / PACKAGE / "misplaced" / "__init__.py").touch()
    found, output = broken(copy)
    assert found == {"layers"} or "misplaced" in output, output


def test_the_rules_hold_as_they_are(copy: Path) -> None:
    found, output = broken(copy)
    assert not found, output
    assert f"{len(contracts())} kept, 0 broken" in output


@pytest.mark.parametrize("rule", ALLOWED)
def test_a_rule_about_a_library_names_every_package_but_those_that_may_use_it(rule: str) -> None:
    named = {name.removeprefix(f"{PACKAGE}.") for name in contracts()[rule]["source_modules"]}
    assert named == forbidden(rule)
