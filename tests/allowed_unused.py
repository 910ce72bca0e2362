"""Names that vulture must not report as unused. ``make check`` gives it this module; nothing imports it.

Each of them is used by name: by a library, by a protocol, or by people who use the simulator from Python.
"""

from typing import Any

_: Any = None

# gRPC calls the methods of a servicer by the names of the RPCs.
_.GetPluginInfo, _.GetPluginCapabilities, _.Probe
_.ControllerExpandVolume, _.ControllerModifyVolume, _.ControllerGetCapabilities
_.ControllerGetVolume, _.ControllerGetVolumeHealth, _.ControllerListVolumeHealth
_.CreateSnapshot, _.DeleteSnapshot, _.GetSnapshot, _.ListSnapshots, _.ListVolumes, _.GetCapacity
_.GroupControllerGetCapabilities
_.CreateVolumeGroupSnapshot, _.DeleteVolumeGroupSnapshot, _.GetVolumeGroupSnapshot
_.CreateVolume, _.DeleteVolume, _.ControllerPublishVolume, _.ControllerUnpublishVolume
_.ValidateVolumeCapabilities
_.NodeStageVolume, _.NodeUnstageVolume, _.NodePublishVolume, _.NodeUnpublishVolume
_.NodeExpandVolume, _.NodeGetVolumeStats, _.NodeGetVolumeHealth, _.NodeGetStorageHealth
_.NodeGetInfo, _.NodeGetCapabilities
# Generated code adds handlers, and gRPC submits calls to the threads.
_.add_generic_rpc_handlers, _.submit
# The library logging reads these.
_.logThreads, _.logProcesses, _.logMultiprocessing
# Values of AccessMode and FaultKind are looked up by name.
_.SINGLE_NODE_WRITER, _.MULTI_NODE_SINGLE_WRITER, _.MULTI_NODE_MULTI_WRITER
_.LATENCY
# kopf asks for it when it connects to the cluster.
_.as_ssl_context
# click asks the group of commands, and reads this setting of options.
_.get_command, _.format_commands, _.show_envvar
# Fields of a message of CSI, and of a PersistentVolume whose fields are read all together.
_.capacity_bytes, _.on_nvme
# click runs the commands of a group.
_.list_volumes, _.list_snapshots, _.list_orphans, _.import_volume, _.import_snapshot, _.release_volume
# requests and urllib3 read these settings of their classes, and call these methods.
_.pool_classes_by_scheme, _.ConnectionCls, _.response_class
_.get_connection_with_tls_context, _.cert_verify, _.request_url, _.build_response
# The same for the commands of the mover.
_.import_, _.export, _.inspect
# A program that starts the mover reads its outcome with these, and chooses this state by its value.
_.is_worth_repeating, _.read_outcome, _.NEW
# Fields of the status of custom resources, which their users read.
(
    _.bytes_done,
    _.bytes_total,
    _.bytes_per_second,
    _.observed_generation,
    _.completed_at,
    _.disk_bytes,
    _.image_bytes,
    _.remarks,
)
# A protocol of functions. charts/definitions.py calls the function.
_.__call__, _.definition_object
# kopf reads these settings, and calls this method.
_.server_timeout, _.client_timeout, _.connect_timeout, _.enabled, _.disabled, _.as_ssl_context
# http.server and socketserver call these methods and read these settings.
_.log_message, _.version_string, _.address_string, _.service_actions, _.handle_error
_.daemon_threads, _.request_queue_size
# uvicorn calls this method and reads these settings.
_.main_loop, _.should_exit, _.ssl_certfile, _.ssl_keyfile
# A row shows the symbol to the reader, and a test compares it with the simulator's.
_.symbol
# Users of the simulator call these from Python (docs/simulator.md), and so do the tests.
_.ManualClock, _.act
# Only the demo and the simulator use it.
_.deferred
