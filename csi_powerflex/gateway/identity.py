"""Which PowerFlex system is behind an endpoint. A volume handle must not lead to another system's volume.

An endpoint can lead to the wrong system: a typing error, a DNS record that was changed, the gateways of two
systems in one entry. Each login reads the id of the system. If it differs, nothing else is sent there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import Unavailable

Claim = Callable[[str], str | None]
"""Takes a system id that was found. Returns the label of another entry that has this id, or None."""


class WrongSystem(Unavailable):
    """The endpoint leads to another PowerFlex system, or to one that another entry has.

    Nothing but the login was sent there. It is not final: a call that was repeated may have created something
    on the right system.
    """


class SystemIdentity:
    """The id of one configured system: the configured one, or the first one that a login found.

    Args:
        settings: the system.
        claim: says whether another entry has the id.
    """

    def __init__(self, settings: SystemSettings, claim: Claim) -> None:
        self._settings = settings
        self._claim = claim
        self._lock = threading.Lock()
        self._id = settings.id

    @property
    def known(self) -> str | None:
        """The id, or None if it is not configured and no login has found it yet."""
        return self._id

    def check(self, found: tuple[str, ...], endpoint: str) -> None:
        """Compare with the ids of the systems that ``endpoint`` manages.

        Raises:
            WrongSystem: it manages another system, several systems or none; or another entry has this one.
        """
        label = self._settings.label
        if len(found) != 1:
            raise WrongSystem(
                f"PowerFlex system {label}: its gateway {endpoint} lists {len(found)} systems instead of one"
            )
        with self._lock:
            expected = self._id or found[0]
            if found[0] != expected:
                source = "the configured id" if self._settings.id else "the id that was found before"
                raise WrongSystem(
                    f"PowerFlex system {label}: the endpoint {endpoint} leads to system {found[0]}, but "
                    f"{source} is {expected}; correct id or endpoints in the systems file"
                )
            other = self._claim(expected)
            if other is not None:
                raise WrongSystem(
                    f"PowerFlex system {label}: the endpoint {endpoint} leads to system {expected}, which is "
                    f"system {other} of the systems file already; remove one of the two entries"
                )
            self._id = expected
