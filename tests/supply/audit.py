"""``make audit``: known vulnerabilities of the installed packages, from every service that can be reached.

pip-audit alone succeeds if a service does not know a package, or if no service can be reached. This command
says how many packages were checked, and fails if it is none, unless ``--offline-ok`` allows that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass

_SERVICES = ("pypi", "osv")


@dataclass(frozen=True)
class Audit:
    """The answer of one service: the number of known packages, and a line for each vulnerability."""

    checked: int
    skipped: int
    vulnerabilities: tuple[str, ...]
    failure: str = ""


def ask(tool: str, service: str) -> Audit:
    """Check every installed package with pip-audit at ``service``."""
    packages = sysconfig.get_paths()["purelib"]
    command = [
        tool,
        "--format=json",
        f"--vulnerability-service={service}",
        f"--path={packages}",
        "--skip-editable",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        entries = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines() or ["no output"]
        return Audit(0, 0, (), failure=last[-1][:200])
    return Audit(
        checked=sum("vulns" in entry for entry in entries),
        skipped=sum("vulns" not in entry for entry in entries),
        vulnerabilities=tuple(
            f"{entry['name']} {entry['version']}: {found['id']}, fixed in {found['fix_versions'] or 'none'}"
            for entry in entries
            for found in entry.get("vulns", ())
        ),
    )


def main() -> int:
    """Ask all services; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make audit")
    parser.add_argument("tool")
    parser.add_argument("--offline-ok", action="store_true", help="do not fail if no service can be reached")
    asked = parser.parse_args()
    checked, vulnerable = 0, False
    for service in _SERVICES:
        audit = ask(asked.tool, service)
        checked += audit.checked
        vulnerable |= bool(audit.vulnerabilities)
        known = f"{audit.checked} packages checked, {audit.skipped} not known to it"
        _say(f"{service}: {audit.failure or known}")
        for line in audit.vulnerabilities:
            _say(f"VULNERABLE {line}")
    if not checked:
        _say("NOTHING WAS CHECKED: no vulnerability service can be reached from here")
        return 0 if asked.offline_ok else 1
    return 1 if vulnerable else 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is its output


if __name__ == "__main__":
    sys.exit(main())
