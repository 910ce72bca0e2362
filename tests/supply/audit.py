"""``make audit``: known vulnerabilities in what is installed, from every service that can be reached.

pip-audit alone counts a package that its service does not know, or an index that has no such service, as
skipped, and succeeds. Here that is told apart: the end says how many packages were checked, and fails where
none was, unless ``--offline-ok`` says that this is expected.
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
    """What one service said: the packages it knows, and a line for each vulnerability."""

    checked: int
    skipped: int
    vulnerabilities: tuple[str, ...]
    failure: str = ""


def ask(tool: str, service: str) -> Audit:
    """Let pip-audit ask ``service`` about every installed package."""
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
        last = done.stderr.strip().splitlines() or ["it said nothing"]
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
    """Ask all services; the exit status."""
    parser = argparse.ArgumentParser(prog="make audit")
    parser.add_argument("tool")
    parser.add_argument("--offline-ok", action="store_true", help="do not fail where no service can be asked")
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
    print(line, flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    sys.exit(main())
