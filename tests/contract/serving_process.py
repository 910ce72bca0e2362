"""A process that serves CSI as the driver does: its one slow call waits for a line on standard input.

Arguments: the endpoint, and optionally the seconds of grace.
"""

import sys
from typing import Any

from csi_powerflex.csi import server
from csi_powerflex.observability import log
from tests.contract.conftest import Scripted, registrations


def wait_for_line(_request: Any) -> None:
    sys.stdout.write("call is inside\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    log.configure(stream=sys.stdout)
    scripted = Scripted()
    scripted.act = wait_for_line
    grace_seconds = float(sys.argv[2]) if len(sys.argv) > 2 else server.GRACE_SECONDS
    server.serve(sys.argv[1], registrations(scripted), grace_seconds=grace_seconds)
    sys.stdout.write("served to the end\n")
