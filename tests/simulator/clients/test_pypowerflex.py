"""An unchanged PyPowerFlex from the package index with every version that it supports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import Simulator, SystemPlan

_CACHE = Path(__file__).parents[3] / ".cache" / "pypowerflex"
_SCENARIO = Path(__file__).with_name("pypowerflex_scenario.py")


def installed(requirement: str) -> Path:
    """A folder with the newest release that ``requirement`` allows. It is downloaded once."""
    folder = _CACHE / "".join(character if character.isalnum() else "-" for character in requirement)
    if (folder / "PyPowerFlex").is_dir():
        return folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    partial = folder.with_suffix(f".partial-{os.getpid()}")
    done = subprocess.run(
        [*command, "--target", str(partial), requirement],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{requirement} cannot be downloaded: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    if not folder.exists():
        partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def major_1() -> Path:
    return installed("PyPowerFlex>=1,<2")


@pytest.fixture(scope="session")
def major_2() -> Path:
    return installed("PyPowerFlex>=2,<3")


def run_scenario(package: Path, version: str, folder: Path) -> str:
    with (
        Simulator([SystemPlan(version)], folder=folder, sdcs=("a",)) as simulator,
        Server(simulator) as server,
    ):
        authority = str(server.certificates.authority)
        port = server.url.rpartition(":")[2]
        # With one authority instead of the machine's hundred, each of the many connections is 20 ms faster.
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "SSL_CERT_FILE": authority}
        done = subprocess.run(
            [sys.executable, str(_SCENARIO), port, "admin", "Simulated1!", authority],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        unknown = {entry.path for entry in simulator.gateway.log.find(route="unknown")}
    assert done.returncode == 0, done.stderr[-3000:]
    assert unknown - {"/rest/auth/login"} == set()
    return done.stdout


@pytest.mark.parametrize("version", ["3.6", "4.0", "4.5", "4.6"])
def test_version_1_works_with_the_first_generation(tmp_path: Path, major_1: Path, version: str) -> None:
    assert run_scenario(major_1, version, tmp_path).splitlines()[-1] == f"completed {version}"


@pytest.mark.parametrize("version", ["3.6", "4.0", "4.5", "4.6", "5.0"])
def test_version_2_works_with_every_generation(tmp_path: Path, major_2: Path, version: str) -> None:
    assert run_scenario(major_2, version, tmp_path).splitlines()[-1] == f"completed {version}"
