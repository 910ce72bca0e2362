"""The package sources of this machine, for the machines and images that tests build."""

from __future__ import annotations

import subprocess
import sys

from tests.commands import output_of

_OF_THE_INDEX = {"cert", "index-url", "extra-index-url", "proxy", "trusted-host", "timeout"}


def debian_mirror() -> list[str]:
    """The mirror of Debian that this machine uses, as debootstrap's argument.

    Empty if this machine is not Debian. Then debootstrap uses its default.
    """
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    for line in done.stdout.splitlines():
        origin, _, address = line.partition(" ")
        if origin == "Debian" and "security" not in address:
            return [address]
    return []


def pip_settings() -> str:
    """The settings of pip for its index on this machine, as the text of a pip.conf."""
    lines = ["[global]"]
    for line in output_of([sys.executable, "-m", "pip", "config", "list"]).splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].removeprefix("default-")
        if name in _OF_THE_INDEX:
            lines.append(f"{name} = {value.strip(chr(39))}")
    return "\n".join(dict.fromkeys(lines)) + "\n"
