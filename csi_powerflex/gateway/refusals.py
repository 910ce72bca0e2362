"""A password that the array refused is not sent again for some time.

An array may lock the account of a user after some wrong passwords. Without this, each call of each sidecar
would send the wrong password again. Another password is tried at once.
"""

from __future__ import annotations

import threading
import time

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import DriverError

FIRST_PAUSE_SECONDS = 15.0
"""How long a password is not sent after its first refusal. The pause doubles at each further refusal."""

LONGEST_PAUSE_SECONDS = 600.0


class Refusals:
    """The last refusal of one system. All endpoints and threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._password: Secret | None = None
        self._accepted: Secret | None = None
        self._error: DriverError | None = None
        self._pause = 0.0
        self._until = 0.0

    def check(self, password: Secret) -> None:
        """Return if the password may be sent now.

        Raises:
            DriverError: as at its last refusal, with the seconds within which it is sent again.
        """
        with self._lock:
            left = self._until - time.monotonic()
            if self._error is None or password != self._password or left <= 0:
                return
            error, pause = self._error, self._pause
        raise type(error)(f"{error}; the driver tries the same password again within {pause:.0f} s")

    def add(self, password: Secret, error: DriverError) -> None:
        """The array has refused the password with ``error``."""
        with self._lock:
            if password == self._accepted:
                # It worked before, so the refusal may be a fault of the gateway. One more attempt finds out.
                self._accepted = None
                return
            again = password == self._password and self._error is not None
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS) if again else FIRST_PAUSE_SECONDS
            self._password, self._error = password, error
            self._until = time.monotonic() + self._pause

    def clear(self, password: Secret) -> None:
        """The array has accepted the password."""
        with self._lock:
            self._password = self._error = None
            self._accepted = password
