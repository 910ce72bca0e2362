"""Keys of the Secret of Dell's driver, and what they become in the systems file.

docs/coming-from-dell.md has the same table.
"""

from __future__ import annotations

_LOGIN = "leave it out; this driver logs in with username and password"

HINTS = {
    "systemID": "here it is id, or name if the value is a name",
    "endpoint": "here it is endpoints, a list",
    "skipCertificateValidation": "here it is verifyCertificate, with the opposite value; better give caFile",
    "insecure": "here it is verifyCertificate, with the opposite value; better give caFile",
    "isDefault": "leave it out; with several systems, a StorageClass names one in systemID",
    "allSystemNames": "leave it out; volume handles begin with the system's id",
    "mdm": "leave it out; the SDC has the MDMs, and the chart's node.sdcOnDemand.mdms can give them to it",
    "nasName": "leave it out; this driver has no NFS volumes",
    "blockProtocol": "leave it out; the StorageClass chooses with the parameter transport",
    "zone": "here it is zones, a list with name, protectionDomain and storagePools",
    "labelKey": "leave it out; the topology key of zones is that of the driver",
    "protectionDomains": "here a zone has one protectionDomain; write a zone for each",
    "pools": "here it is storagePools",
    "oidcClientId": _LOGIN,
    "oidcClientSecret": _LOGIN,
    "ciamClientId": _LOGIN,
    "ciamClientSecret": _LOGIN,
    "issuer": _LOGIN,
    "scopes": _LOGIN,
}
"""For each key, what to do with it."""

_BY_LOWER_CASE = {key.lower(): hint for key, hint in HINTS.items()}


def hint(key: str) -> str | None:
    """What to do with a key of Dell's Secret, in any case of its letters; None for another key."""
    return _BY_LOWER_CASE.get(key.lower())
