{{/* The two Services of a role, its account, its disruption budget. */}}

{{- define "emporium.headless" -}}
{{- $own := index .root.Values .role -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "emporium.roleName" . }}-headless
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
    emporium/service: headless
spec:
  clusterIP: None
  # A replica has to be found before it is ready: it gets ready by talking to the others.
  publishNotReadyAddresses: true
  selector:
    {{- include "emporium.selector" . | nindent 4 }}
  ports:
    - name: public
      port: {{ int $own.port }}
      targetPort: public
      appProtocol: http
    - name: internal
      port: {{ add $own.port .root.Values.ports.internalOffset }}
      targetPort: internal
    - name: health
      port: {{ add $own.port .root.Values.ports.healthOffset }}
      targetPort: health
      appProtocol: http
{{- end }}

{{- define "emporium.service" -}}
{{- $own := index .root.Values .role -}}
{{- $type := (get $own.service "type") | default "ClusterIP" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "emporium.roleName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
  {{- with $own.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $type }}
  selector:
    {{- include "emporium.selector" . | nindent 4 }}
  ports:
    - name: public
      port: {{ int ((get $own.service "port") | default $own.port) }}
      targetPort: public
      appProtocol: http
      {{- if ne $type "ClusterIP" }}
      {{- with get $own.service "nodePort" }}
      nodePort: {{ int . }}
      {{- end }}
      {{- end }}
{{- end }}

{{- define "emporium.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "emporium.roleName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end }}

{{/* A group keeps a majority; of the others one at a time may go. One replica has no budget: it
could never be drained. */}}
{{- define "emporium.budget" -}}
{{- $replicas := int (index .root.Values .role).replicas -}}
{{- if and .root.Values.podDisruptionBudget.enabled (gt $replicas 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "emporium.roleName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
spec:
  {{- if has .role (list "catalog" "order") }}
  minAvailable: {{ add (div $replicas 2) 1 }}
  {{- else }}
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  {{- end }}
  selector:
    matchLabels:
      {{- include "emporium.selector" . | nindent 6 }}
{{- end }}
{{- end }}
