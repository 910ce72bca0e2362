"""Reads YAML files: the systems to simulate (``--config``) and their faults (``--faults``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from csi_powerflex.simulator import faults
from csi_powerflex.simulator.faults import Fault
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SystemId, SystemName
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan


class BadScenario(Exception):
    """A file cannot be used. The message names the file and the key."""


class SystemEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One entry below ``systems``.

    Attributes:
        name: up to 31 letters, digits, dots, underscores and hyphens; each name once
        version: PowerFlex version
        id: system id, 16 lower-case hexadecimal digits; without it, a new one
        domains: list of protection domains
        volumes: number of thin volumes that the system has at first, each of the smallest size
        settings: settings of the system
    """

    name: SystemName
    version: Literal["3.6", "4.0", "4.5", "4.6", "5.0"] = "4.5"
    id: SystemId | None = None
    domains: tuple[DomainPlan, ...] = (DomainPlan(),)
    volumes: Annotated[int, msgspec.Meta(ge=0, le=131072)] = 0
    settings: dict[str, Any] = {}


class _Systems(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    systems: Annotated[tuple[SystemEntry, ...], msgspec.Meta(min_length=1)]


def read_systems(path: Path, defaults: Settings) -> list[SystemPlan]:
    """The systems in a file. ``defaults`` are the settings that an entry does not set.

    Raises:
        BadScenario: the file cannot be read or is not valid.
    """
    try:
        systems = msgspec.convert(_load(path), _Systems).systems
        return [_plan(system, defaults) for system in systems]
    except (TypeError, ValueError) as error:
        raise BadScenario(f"{path}: {error}") from error


def _plan(system: SystemEntry, defaults: Settings) -> SystemPlan:
    given = {**msgspec.to_builtins(defaults), **system.settings}
    try:
        settings = msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise ValueError(f"systems: {system.name}: settings: {error}") from error
    initial_state = InitialState(system.name, system.id, system.domains, system.volumes)
    return SystemPlan(system.version, initial_state, settings)


def read_faults(path: Path) -> list[Fault]:
    """The faults in a file, from its list ``faults``.

    Raises:
        BadScenario: the file cannot be read or is not valid.
    """
    data = _load(path)
    if not isinstance(data, dict) or not isinstance(data.get("faults"), list):
        raise BadScenario(f"{path}: faults must be a list")
    try:
        return [faults.parse(item) for item in data["faults"]]
    except ValueError as error:
        raise BadScenario(f"{path}: faults: {error}") from error


def _load(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadScenario(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise BadScenario(f"{path} is not YAML: {' '.join(str(error).split())}") from error
