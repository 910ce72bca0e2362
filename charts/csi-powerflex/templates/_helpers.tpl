{{/* Names, labels and conditions that several templates use. */}}

{{- define "csi-powerflex.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $wanted := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $made := default $wanted .Values.fullnameOverride | replace "." "-" | trunc 44 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]" $made) -}}
{{- fail (printf "names of Services would start with %s, but they must start with a letter: choose another release name, or set fullnameOverride" $made) -}}
{{- end -}}
{{- $made -}}
{{- end -}}

{{/* Labels of an object. Takes a dict: root, component (or ""), and optionally more, which override commonLabels. */}}
{{- define "csi-powerflex.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "csi-powerflex.selector" . }}
{{- with merge (dict) (default dict .more) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of pods. Takes the annotations of the values. */}}
{{- define "csi-powerflex.podAnnotations" -}}
{{ merge (dict) . (dict "kubectl.kubernetes.io/default-container" "driver") | toYaml }}
{{- end -}}

{{/* Labels that select the pods of a component. They must never change. Takes a dict: root, component (or ""). */}}
{{- define "csi-powerflex.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* The reference of an image. Takes a dict: root, image. */}}
{{- define "csi-powerflex.image" -}}
{{- $registry := default .image.registry .root.Values.imageRegistry | trimSuffix "/" -}}
{{- $name := printf "%s/%s" $registry .image.repository | trimPrefix "/" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The value of clusterId, or the simulator's default. */}}
{{- define "csi-powerflex.clusterId" -}}
{{- if .Values.clusterId -}}
{{- .Values.clusterId -}}
{{- else if .Values.simulator.enabled -}}
sim0
{{- else -}}
{{- fail "clusterId is not set: choose four characters of a-z and 0-9 that no other cluster on the array uses, and never change them" -}}
{{- end -}}
{{- end -}}

{{/* Refuses an upgrade that changes clusterId or driverName: the driver would not recognize the existing volumes. */}}
{{- define "csi-powerflex.requireSame" -}}
{{- $present := lookup "apps/v1" "Deployment" .Release.Namespace (printf "%s-controller" (include "csi-powerflex.fullname" .)) -}}
{{- $wanted := dict "cluster-id" (include "csi-powerflex.clusterId" .) "driver-name" .Values.driverName -}}
{{- $values := dict "cluster-id" "clusterId" "driver-name" "driverName" -}}
{{- range (dig "spec" "template" "spec" "containers" list $present) -}}
{{- if eq .name "driver" -}}
{{- range .args -}}
{{- $argument := . -}}
{{- range $option, $value := $wanted -}}
{{- $prefix := printf "--%s=" $option -}}
{{- if and (hasPrefix $prefix $argument) (ne $argument (print $prefix $value)) -}}
{{- fail (printf "%s is %s and was %s: it must never change, because the driver would not recognize the existing volumes; set it back" (get $values $option) $value (trimPrefix $prefix $argument)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Secret with systems.yaml. */}}
{{- define "csi-powerflex.systemsSecret" -}}
{{- if .Values.existingSecret -}}
{{- if or .Values.systems .Values.systemsFiles -}}
{{- fail "existingSecret and systems (or systemsFiles) are both set: use only one of them" -}}
{{- end -}}
{{- if .Values.simulator.enabled -}}
{{- fail "existingSecret and simulator.enabled are both set: the chart cannot add the simulated array to an existing Secret; list other systems under systems" -}}
{{- end -}}
{{- .Values.existingSecret -}}
{{- else if or .Values.systems .Values.simulator.enabled -}}
{{- include "csi-powerflex.fullname" . }}-systems
{{- else -}}
{{- fail "no PowerFlex system is configured: name a Secret in existingSecret, list systems, or set simulator.enabled=true to try the driver without an array" -}}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.simulatorSecret" -}}
{{- default (printf "%s-simulator" (include "csi-powerflex.fullname" .)) .Values.simulator.existingSecret -}}
{{- end -}}

{{/* "true" if the cluster has VolumeAttributesClasses: they are enabled by default since 1.34. */}}
{{- define "csi-powerflex.hasVolumeAttributes" -}}
{{- if semverCompare ">=1.34-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end -}}

{{- define "csi-powerflex.hasSnapshots" -}}
{{- $wanted := toString .Values.snapshots.enabled -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1")) }}true{{ end -}}
{{- end -}}

{{- define "csi-powerflex.hasGroupSnapshots" -}}
{{- $wanted := toString .Values.snapshots.groups -}}
{{- if include "csi-powerflex.hasSnapshots" . -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "groupsnapshot.storage.k8s.io/v1")) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.hasServiceMonitors" -}}
{{- $wanted := toString .Values.metrics.serviceMonitors -}}
{{- if .Values.metrics.enabled -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* Whether to create a PrometheusRule. */}}
{{- define "csi-powerflex.hasPrometheusRule" -}}
{{- $wanted := toString .Values.metrics.prometheusRule -}}
{{- if .Values.metrics.enabled -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/*
From where the nodes get their zone: "pod", "node", or "" if they tell none. Kubernetes copies only two labels of a node to its
pods, by default since 1.35 (PodTopologyLabelsAdmission).
*/}}
{{- define "csi-powerflex.zoneSource" -}}
{{- $node := .Values.node -}}
{{- if $node.zone.enabled -}}
{{- $copied := and (semverCompare ">=1.35-0" .Capabilities.KubeVersion.Version) (has $node.zone.label (list "topology.kubernetes.io/zone" "topology.kubernetes.io/region")) -}}
{{- if ne $node.zone.source "auto" }}{{ $node.zone.source }}{{ else if and $copied (not $node.maxVolumesLabel) }}pod{{ else }}node{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" if an init container reads labels of the node. */}}
{{- define "csi-powerflex.readsNode" -}}
{{- if or .Values.node.maxVolumesLabel (eq (include "csi-powerflex.zoneSource" .) "node") }}true{{ end -}}
{{- end -}}

{{/* "true" if the nodes may use NVMe/TCP. */}}
{{- define "csi-powerflex.usesNvme" -}}
{{- if ne .Values.node.transport "sdc" }}true{{ end -}}
{{- end -}}

{{/* "true" if the nodes may use the SDC. */}}
{{- define "csi-powerflex.usesSdc" -}}
{{- if ne .Values.node.transport "nvme" }}true{{ end -}}
{{- end -}}

{{/*
"true" if the node's pods use the node's network. An NVMe connection belongs to the network of the process that opened it. In the
network of a pod, it would be lost with the pod.
*/}}
{{- define "csi-powerflex.nodeHostNetwork" -}}
{{- if or .Values.node.hostNetwork (include "csi-powerflex.usesNvme" .) }}true{{ end -}}
{{- end -}}

{{/* The systems that the nodes reach over NVMe/TCP, as {"items": [...]}. */}}
{{- define "csi-powerflex.nvmeSystems" -}}
{{- $found := .Values.node.nvme.systems -}}
{{- if not $found -}}
{{- range $index, $system := .Values.systems -}}
{{- if not $system.id -}}
{{- fail (printf "systems[%d] has no id, and node.transport is %s: set its id, or list in node.nvme.systems the ids of the systems that the nodes reach over NVMe/TCP" $index $.Values.node.transport) -}}
{{- end -}}
{{- $found = append $found $system.id -}}
{{- end -}}
{{- end -}}
{{- if not $found -}}
{{- fail (printf "node.transport is %s, but the chart cannot read the ids of the systems in existingSecret: list them in node.nvme.systems" .Values.node.transport) -}}
{{- end -}}
{{- dict "items" (uniq $found) | toYaml -}}
{{- end -}}

{{/* The classes to create, as {"items": [...]}: those of the values. With the simulator and no classes in the values: default classes. */}}
{{- define "csi-powerflex.storageClasses" -}}
{{- if or .Values.storageClasses (not .Values.simulator.enabled) -}}
{{- dict "items" .Values.storageClasses | toYaml -}}
{{- else -}}
{{- dict "items" (list (dict "name" "powerflex" "parameters" dict)) | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.volumeSnapshotClasses" -}}
{{- if or .Values.volumeSnapshotClasses (not .Values.simulator.enabled) -}}
{{- dict "items" .Values.volumeSnapshotClasses | toYaml -}}
{{- else -}}
{{- dict "items" (list (dict "name" "powerflex")) | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.volumeGroupSnapshotClasses" -}}
{{- if or .Values.volumeGroupSnapshotClasses (not .Values.simulator.enabled) -}}
{{- dict "items" .Values.volumeGroupSnapshotClasses | toYaml -}}
{{- else -}}
{{- dict "items" (list (dict "name" "powerflex")) | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.volumeAttributesClasses" -}}
{{- if or .Values.volumeAttributesClasses (not .Values.simulator.enabled) -}}
{{- dict "items" .Values.volumeAttributesClasses | toYaml -}}
{{- else -}}
{{- $gold := dict "name" "powerflex-gold" "parameters" (dict "iopsLimit" "10000" "bandwidthLimitInKbps" "512000") -}}
{{- $silver := dict "name" "powerflex-silver" "parameters" (dict "iopsLimit" "500" "bandwidthLimitInKbps" "10240") -}}
{{- dict "items" (list $gold $silver) | toYaml -}}
{{- end -}}
{{- end -}}

{{/* An update strategy. Takes that of the values. Kubernetes allows rollingUpdate only for the type RollingUpdate. */}}
{{- define "csi-powerflex.updateStrategy" -}}
{{ ternary . (omit . "rollingUpdate") (eq (default "RollingUpdate" .type) "RollingUpdate") | toYaml }}
{{- end -}}

{{/* The security context of the chart's containers that have no value for it. */}}
{{- define "csi-powerflex.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The metadata of a class. Takes a dict: root, class, defaultAnnotation (or ""). */}}
{{- define "csi-powerflex.classMetadata" -}}
name: {{ toYaml .class.name }}
labels:
  {{- include "csi-powerflex.labels" (dict "root" .root "component" "" "more" .class.labels) | nindent 2 }}
{{- $default := ternary (dict .defaultAnnotation "true") dict (default false .class.isDefault) }}
{{- with merge (dict) $default (default dict .class.annotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The parameters of a class, with every value as a string. Kubernetes accepts only strings. */}}
{{- define "csi-powerflex.parameters" -}}
{{- range $number, $key := keys . | sortAlpha }}
{{- $value := get $ $key }}
{{- if $number }}
{{ end }}
{{- $key }}: {{ if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end -}}

{{/*
The first part of a sidecar's container. args comes last, so that the caller can append to it.
Takes a dict: root, name, sidecar (its values), and optionally env, elects, metrics, portName, port.
*/}}
{{- define "csi-powerflex.sidecar" -}}
name: {{ .name }}
image: {{ include "csi-powerflex.image" (dict "root" .root "image" .sidecar.image) }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml .sidecar.securityContext | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml .sidecar.resources | nindent 2 }}
volumeMounts:
  - {name: socket, mountPath: /csi}
{{- if and .metrics .port }}
ports:
  - {name: {{ .portName }}, containerPort: {{ .port }}}
{{- end }}
{{- with concat (default list .env) (default list .sidecar.env) }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
args:
  - --csi-address=/csi/csi.sock
  - --v={{ .sidecar.logLevel }}
  {{- if .elects }}
  - --leader-election
  {{- end }}
  {{- if and .metrics .port }}
  - --http-endpoint=:{{ .port }}
  {{- end }}
{{- end -}}

{{/* The name of the service account of a component. Takes a dict: root, component, account (its values). */}}
{{- define "csi-powerflex.serviceAccount" -}}
{{- $component := .component -}}
{{- $usual := printf "%s-%s" (include "csi-powerflex.fullname" .root) $component -}}
{{- with .account -}}
{{- if not (or .create .name) -}}
{{- fail (printf "%s.serviceAccount.create is false, and %s.serviceAccount.name is not set: name the service account to use" $component $component) -}}
{{- end -}}
{{- default $usual .name -}}
{{- end -}}
{{- end -}}

{{/* Network and DNS of a pod. Takes a dict: component, hostNetwork, dnsPolicy, dnsConfig, hostAliases. */}}
{{- define "csi-powerflex.network" -}}
{{- if and (eq (default "" .dnsPolicy) "None") (not (default dict .dnsConfig).nameservers) -}}
{{- fail (printf "%s.dnsPolicy is None: list the name servers in %s.dnsConfig.nameservers" .component .component) -}}
{{- end -}}
hostNetwork: {{ .hostNetwork }}
{{- with default (ternary "ClusterFirstWithHostNet" "" .hostNetwork) .dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The certificate of the driver's metrics, in the driver's container and in the pod. */}}
{{- define "csi-powerflex.metricsTlsMount" -}}
{{- if .Values.metrics.tls.secret -}}
- {name: metrics-tls, mountPath: /etc/metrics-tls, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "csi-powerflex.metricsTlsVolume" -}}
{{- with .Values.metrics.tls.secret -}}
- name: metrics-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
{{- end -}}
{{- end -}}
