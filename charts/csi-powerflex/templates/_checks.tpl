{{/* Checks of values that the schema cannot express. Each refuses wrong values and says what to change. */}}

{{/* Refuses two ports with one number where they meet: in one pod, and on a node whose network several pods use. */}}
{{- define "csi-powerflex.requirePorts" -}}
{{- $controller := list (dict "value" "controller.ports.health" "port" (int .Values.controller.ports.health)) -}}
{{- $node := list
    (dict "value" "node.ports.health" "port" (int .Values.node.ports.health))
    (dict "value" "node.ports.registrar" "port" (int .Values.node.ports.registrar)) -}}
{{- if .Values.metrics.enabled -}}
{{- range $number, $part := list "driver" "provisioner" "attacher" "resizer" "snapshotter" -}}
{{- $value := ternary "controller.ports.metrics" (printf "controller.ports.metrics + %d (%s)" $number $part) (eq $number 0) -}}
{{- $controller = append $controller (dict "value" $value "port" (add (int $.Values.controller.ports.metrics) $number | int)) -}}
{{- end -}}
{{- $node = append $node (dict "value" "node.ports.metrics" "port" (int .Values.node.ports.metrics)) -}}
{{- end -}}
{{- include "csi-powerflex.requireDifferent" $controller -}}
{{- include "csi-powerflex.requireDifferent" $node -}}
{{- $host := list -}}
{{- if .Values.controller.hostNetwork -}}
{{- $host = concat $host $controller -}}
{{- end -}}
{{- if include "csi-powerflex.nodeHostNetwork" . -}}
{{- $host = concat $host $node -}}
{{- end -}}
{{- if and .Values.simulator.enabled .Values.simulator.hostNetwork -}}
{{- $host = append $host (dict "value" "simulator.port" "port" (int .Values.simulator.port)) -}}
{{- end -}}
{{- include "csi-powerflex.requireDifferent" $host -}}
{{- end -}}

{{/* Takes a list of dicts: value, port. */}}
{{- define "csi-powerflex.requireDifferent" -}}
{{- $seen := dict -}}
{{- range . -}}
{{- $port := toString .port -}}
{{- if gt .port 65535 -}}
{{- fail (printf "%s is port %s, but the highest port is 65535: choose another controller.ports.metrics" .value $port) -}}
{{- end -}}
{{- if hasKey $seen $port -}}
{{- fail (printf "port %s is used twice, by %s and by %s: choose another number for one of them" $port (get $seen $port) .value) -}}
{{- end -}}
{{- $_ := set $seen $port .value -}}
{{- end -}}
{{- end -}}

{{/*
Refuses extra volumes, mounts and containers that do not fit those of the chart.
Takes a dict: component, its values extraVolumes, extraVolumeMounts, initContainers and extraContainers, and what the chart has:
volumes and containers (names), mounts (paths).
*/}}
{{- define "csi-powerflex.requireExtras" -}}
{{- $component := .component -}}
{{- $volumes := .volumes -}}
{{- range .extraVolumes -}}
{{- if has .name $volumes -}}
{{- fail (printf "%s.extraVolumes: the pod has a volume %s already: choose another name" $component .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- $mounts := .mounts -}}
{{- range .extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "%s.extraVolumeMounts: there is no volume %s: add it to %s.extraVolumes" $component .name $component) -}}
{{- end -}}
{{- if has (trimSuffix "/" .mountPath) $mounts -}}
{{- fail (printf "%s.extraVolumeMounts: something is mounted at %s already: choose another mountPath" $component .mountPath) -}}
{{- end -}}
{{- $mounts = append $mounts (trimSuffix "/" .mountPath) -}}
{{- end -}}
{{- $containers := .containers -}}
{{- range concat (default list .initContainers) (default list .extraContainers) -}}
{{- if has .name $containers -}}
{{- fail (printf "%s.initContainers and extraContainers: the pod has a container %s already: choose another name" $component .name) -}}
{{- end -}}
{{- $containers = append $containers .name -}}
{{- end -}}
{{- end -}}

{{/* Refuses two classes with one name, and two default classes. Takes a dict: value, classes, annotation (or ""). */}}
{{- define "csi-powerflex.requireClasses" -}}
{{- $value := .value -}}
{{- $annotation := .annotation -}}
{{- $names := list -}}
{{- $defaults := list -}}
{{- range .classes -}}
{{- if has .name $names -}}
{{- fail (printf "%s: two classes have the name %s: choose another name for one of them" $value .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if or .isDefault (eq "true" (dig $annotation "" (default dict .annotations))) -}}
{{- $defaults = append $defaults .name -}}
{{- end -}}
{{- end -}}
{{- if gt (len $defaults) 1 -}}
{{- fail (printf "%s: %s are all the default class: set isDefault for only one of them" $value (join ", " $defaults)) -}}
{{- end -}}
{{- end -}}

{{/*
Refuses numbers in parameters that the driver would refuse. files/numbers.yaml has the rules of the driver's code.
Takes a dict: root, value, classes.
*/}}
{{- define "csi-powerflex.requireNumbers" -}}
{{- $value := .value -}}
{{- $rules := .root.Files.Get "files/numbers.yaml" | fromYaml -}}
{{- range $class := .classes -}}
{{- range $key, $rule := $rules -}}
{{- if hasKey (default dict $class.parameters) $key -}}
{{- $given := get $class.parameters $key -}}
{{- $number := ternary (atoi (toString $given)) (int64 $given) (kindIs "string" $given) | int64 -}}
{{- $where := printf "%s: class %s: %s is %d" $value $class.name $key $number -}}
{{- if and $number (lt $number (int64 (default 0 $rule.least))) -}}
{{- fail (printf "%s, but the array accepts 0 (unlimited) or at least %d" $where (int64 $rule.least)) -}}
{{- end -}}
{{- if mod $number (int64 (default 1 $rule.step)) -}}
{{- fail (printf "%s, but it must be a multiple of %d" $where (int64 $rule.step)) -}}
{{- end -}}
{{- if gt $number (int64 (default $number $rule.most)) -}}
{{- fail (printf "%s, but it must be at most %d" $where (int64 $rule.most)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses a StorageClass that names two filesystems. Takes its values. */}}
{{- define "csi-powerflex.requireOneFilesystem" -}}
{{- $named := compact (list .fsType (get (default dict .parameters) "fstype") (get (default dict .parameters) "csi.storage.k8s.io/fstype")) -}}
{{- if gt (len (uniq $named)) 1 -}}
{{- fail (printf "storageClasses: class %s names the filesystems %s: set only fsType" .name (join " and " (uniq $named))) -}}
{{- end -}}
{{- end -}}

{{/* Refuses systems with which the controller would end at its start, as far as the values tell. */}}
{{- define "csi-powerflex.requireSystems" -}}
{{- $names := list -}}
{{- $endpoints := list -}}
{{- range $index, $system := .Values.systems -}}
{{- $where := printf "systems[%d]" $index -}}
{{- if not $system.url -}}
{{- if eq (empty $system.password) (empty $system.passwordFile) -}}
{{- fail (printf "%s: set exactly one of password and passwordFile" $where) -}}
{{- end -}}
{{- end -}}
{{- if and $system.caFile (eq (toString $system.verifyCertificate) "false") -}}
{{- fail (printf "%s: caFile has no use with verifyCertificate: false: remove one of them" $where) -}}
{{- end -}}
{{- range $key := list "passwordFile" "caFile" -}}
{{- $file := get $system $key -}}
{{- if and (hasPrefix "/etc/powerflex/" $file) (not (hasKey (default dict $.Values.systemsFiles) (trimPrefix "/etc/powerflex/" $file))) -}}
{{- fail (printf "%s.%s is %s, but systemsFiles has no %s: add it" $where $key $file (trimPrefix "/etc/powerflex/" $file)) -}}
{{- end -}}
{{- end -}}
{{- range compact (list $system.name $system.id) | uniq -}}
{{- if has . $names -}}
{{- fail (printf "%s: the name or id %s is that of another system already" $where .) -}}
{{- end -}}
{{- $names = append $names . -}}
{{- end -}}
{{- range $system.endpoints -}}
{{- if has (trimSuffix "/" .) $endpoints -}}
{{- fail (printf "%s: the endpoint %s is there already: a gateway manages one system" $where .) -}}
{{- end -}}
{{- $endpoints = append $endpoints (trimSuffix "/" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.systems -}}
{{- range .Values.storageClasses -}}
{{- $system := dig "systemID" "" (default dict .parameters) -}}
{{- if not (or (empty $system) (has $system $names) (regexMatch "^[0-9a-f]{16}$" $system)) -}}
{{- fail (printf "storageClasses: class %s: systemID is %s, but systems has no system with this name" .name $system) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses values about transports that contradict each other. */}}
{{- define "csi-powerflex.requireTransport" -}}
{{- $usesNvme := include "csi-powerflex.usesNvme" . -}}
{{- $usesSdc := include "csi-powerflex.usesSdc" . -}}
{{- if and $.Values.node.sdcOnDemand.enabled (not $usesSdc) -}}
{{- fail "node.sdcOnDemand.enabled is true, but node.transport is nvme, so no node uses an SDC: set one of them to another value" -}}
{{- end -}}
{{- if and .Values.simulator.enabled $usesNvme -}}
{{- fail (printf "simulator.enabled is true, and node.transport is %s: the nodes reach this simulator by simulated SDCs only; set node.transport to sdc" $.Values.node.transport) -}}
{{- end -}}
{{- if not $usesNvme -}}
{{- range $key := list "systems" "createHostNqn" "loadModules" "singlePath" "ioQueues" -}}
{{- if get $.Values.node.nvme $key -}}
{{- fail (printf "node.nvme.%s is set, but node.transport is sdc: set node.transport to nvme or auto, or remove node.nvme.%s" $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $class := .Values.storageClasses -}}
{{- $wanted := dig "transport" "auto" (default dict .parameters) -}}
{{- if or (and (eq $wanted "nvme") (not $usesNvme)) (and (eq $wanted "sdc") (not $usesSdc)) -}}
{{- fail (printf "storageClasses: class %s has transport %s, but node.transport is %s: no node could use its volumes" .name $wanted $.Values.node.transport) -}}
{{- end -}}
{{- $parameters := default dict .parameters -}}
{{- if and (not $usesSdc) (ne (default "" $parameters.qosOnNvme) "ignore") -}}
{{- range $key := list "iopsLimit" "bandwidthLimitInKbps" "iopsPerGiB" "bandwidthPerGiBInKbps" -}}
{{- if not (eq "0" (toString (default "0" (get $parameters $key)))) -}}
{{- fail (printf "storageClasses: class %s has %s, but node.transport is nvme, and the array cannot limit NVMe hosts: remove the limit, or set qosOnNvme: ignore" $class.name $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Refuses values that would have no effect, because another value turns their feature off. */}}
{{- define "csi-powerflex.requireEffect" -}}
{{- $snapshots := include "csi-powerflex.hasSnapshots" . -}}
{{- if and (eq (toString .Values.snapshots.groups) "true") (not $snapshots) -}}
{{- fail "snapshots.groups is true, but the snapshotter does not run: set snapshots.enabled to true" -}}
{{- end -}}
{{- if eq (toString .Values.snapshots.enabled) "false" -}}
{{- range $value := list "volumeSnapshotClasses" "volumeGroupSnapshotClasses" -}}
{{- if get $.Values $value -}}
{{- fail (printf "%s has classes, but snapshots.enabled is false: remove the classes, or set it to true" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq (toString .Values.snapshots.groups) "false") .Values.volumeGroupSnapshotClasses -}}
{{- fail "volumeGroupSnapshotClasses has classes, but snapshots.groups is false: remove the classes, or set it to true" -}}
{{- end -}}
{{- if and (eq (toString .Values.metrics.serviceMonitors) "true") (not .Values.metrics.enabled) -}}
{{- fail "metrics.serviceMonitors is true, but metrics.enabled is false: set metrics.enabled to true" -}}
{{- end -}}
{{- if and .Values.metrics.tls.secret (not .Values.metrics.enabled) -}}
{{- fail "metrics.tls.secret is set, but metrics.enabled is false: set metrics.enabled to true, or remove the name" -}}
{{- end -}}
{{- if and .Values.metrics.tls.monitorConfig (not .Values.metrics.tls.secret) -}}
{{- fail "metrics.tls.monitorConfig is set, but metrics.tls.secret is empty: the driver serves no TLS without a certificate" -}}
{{- end -}}
{{- if and .Values.networkPolicy.metricsFrom (not .Values.networkPolicy.enabled) -}}
{{- fail "networkPolicy.metricsFrom is set, but networkPolicy.enabled is false: everyone may read the metrics; set it to true" -}}
{{- end -}}
{{- if and .Values.node.sdcOnDemand.mdms (not .Values.node.sdcOnDemand.enabled) -}}
{{- fail "node.sdcOnDemand.mdms is set, but node.sdcOnDemand.enabled is false: set it to true, or remove mdms" -}}
{{- end -}}
{{- if and .Values.rbac.secrets (not .Values.rbac.create) -}}
{{- fail "rbac.secrets is true, but rbac.create is false, so the chart makes no roles: add the right to your own roles, and set rbac.secrets to false" -}}
{{- end -}}
{{- end -}}
