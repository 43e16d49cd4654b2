{{/* What the pods of all roles have in common. */}}

{{- define "emporium.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "emporium.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Where pods may run: what the role says, else what is said for all. */}}
{{- define "emporium.placement" -}}
{{- $v := .root.Values -}}
{{- $own := index $v .role -}}
{{- with (get $own "priorityClassName") | default $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with (get $own "nodeSelector") | default $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (get $own "tolerations") | default $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "emporium.spread" -}}
{{- if eq .root.Values.spread "soft" }}
{{- /* Only nodes that have all topology keys are compared for topologySpreadConstraints; so zones,
which many clusters don't have, are not among those. */}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "emporium.selector" . | nindent 8 }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- $place := . }}
      {{- range $weight, $key := dict "100" "kubernetes.io/hostname" "50" "topology.kubernetes.io/zone" }}
      - weight: {{ $weight }}
        podAffinityTerm:
          topologyKey: {{ $key }}
          labelSelector:
            matchLabels:
              {{- include "emporium.selector" $place | nindent 14 }}
      {{- end }}
{{- else if eq .root.Values.spread "nodes" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "emporium.storeSelector" .root | nindent 12 }}
          matchExpressions:
            - key: app.kubernetes.io/component
              operator: In
              values: [frontend, cache, catalog, order]
{{- end }}
{{- end }}

{{- define "emporium.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "emporium.probe" -}}
httpGet:
  path: {{ .path }}
  port: health
{{ toYaml .times }}
{{- end }}

{{- define "emporium.volumes" -}}
- name: tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
- name: secrets
  secret:
    secretName: {{ include "emporium.secretName" .root }}
    defaultMode: 0440
    items:
      {{- if ne .role "client" }}
      - key: internal
        path: internal
      {{- end }}
      - key: operator-token
        path: operator-token
{{- if and .root.Values.tls.existingSecret (ne .role "client") }}
- name: tls
  secret:
    secretName: {{ .root.Values.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and (eq .role "catalog") .root.Values.items }}
- name: items
  configMap:
    name: {{ include "emporium.fullname" .root }}-items
{{- end }}
{{- end }}

{{- define "emporium.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: secrets
  mountPath: /etc/emporium/secrets
  readOnly: true
{{- if and .root.Values.tls.existingSecret (ne .role "client") }}
- name: tls
  mountPath: /etc/emporium/tls
  readOnly: true
{{- end }}
{{- if and (eq .role "catalog") .root.Values.items }}
- name: items
  mountPath: /etc/emporium/items
  readOnly: true
{{- end }}
{{- end }}
