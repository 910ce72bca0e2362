"""The driver with defects: unexpected errors whose messages contain the objects with secrets.

``python -m tests.secrets.crashing controller ...``: creating a volume raises an exception with the client's
settings and token. So does another thread, and so does the end of the process.
"""

from __future__ import annotations

import threading
from typing import Any

from csi_powerflex.app import controller
from csi_powerflex.cli.main import main
from csi_powerflex.gateway.array import GatewayArray


def _holders(array: GatewayArray) -> str:
    client = array._client
    (authenticator,) = client._authenticators
    refusals = vars(authenticator._refusals)
    token = authenticator.token()
    return repr(
        [vars(array), array.settings, vars(client), vars(authenticator), refusals, token, token.platform]
    )


def _crash(array: GatewayArray, **_: Any) -> str:
    thread = threading.Thread(target=_fail_in_thread, args=(_holders(array),))
    thread.start()
    thread.join()
    raise RuntimeError(f"a fault in a call: {_holders(array)}")


def _fail_in_thread(text: str) -> None:
    raise RuntimeError(f"a fault in a thread: {text}")


def _run(settings: Any) -> None:
    _serve(settings)
    raise RuntimeError(f"a fault at the end: {settings!r}")


_serve = controller.run

if __name__ == "__main__":
    setattr(GatewayArray, "create_volume", _crash)  # noqa: B010 - mypy allows no other way
    setattr(controller, "run", _run)  # noqa: B010
    main()
