"""Running the tools of the host from a container: in the host's mount namespace.

The tools that start services or load kernel modules are there, and so are systemd's socket and the modules.
"""

from __future__ import annotations

from pathlib import Path

from csi_powerflex.errors import FailedPrecondition

_OWN_NAMESPACE = Path("/proc/self/ns/mnt")


def on_host(namespace: Path | None, *command: str) -> tuple[str, ...]:
    """The command, to be run in the host's mount namespace; unchanged if ``namespace`` is None.

    Its exit code is 127 where the host lacks it.
    """
    return command if namespace is None else ("nsenter", f"--mount={namespace}", "--", *command)


def require_host(namespace: Path | None) -> None:
    """Check that the configured mount namespace exists, and is not that of this container.

    Raises:
        FailedPrecondition: it is not.
    """
    if namespace is None:
        return
    try:
        own = namespace.samefile(_OWN_NAMESPACE)
    except OSError as error:
        raise FailedPrecondition(
            f"the host's mount namespace {namespace} cannot be read: {error.strerror}; the "
            "container must be privileged"
        ) from error
    if own:
        raise FailedPrecondition(
            f"{namespace} is the mount namespace of this process: a pod needs hostPID: true, and on "
            "the host itself leave out --host-mount-namespace"
        )
