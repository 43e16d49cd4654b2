{{/*
The settings of a role, one line each, named as docs/OPERATIONS.md names them. A pod is told what
its role reads and no more, so that another number of frontends replaces no catalog pod.
*/}}

{{/* Public addresses of a role, by id, from its number of replicas. */}}
{{- define "emporium.addresses" -}}
{{- $root := .root -}}
{{- $name := include "emporium.roleName" . -}}
{{- $values := index $root.Values .role -}}
{{- $domain := printf "%s-headless.%s.svc.%s:%d" $name $root.Release.Namespace $root.Values.clusterDomain (int $values.port) -}}
{{- range $id := until (int $values.replicas) -}}
{{- if $id }},{{ end -}}{{ $name }}-{{ $id }}.{{ $domain }}
{{- end -}}
{{- end }}

{{- define "emporium.settings" -}}
{{- $v := .root.Values -}}
{{- $group := has .role (list "catalog" "order") -}}
{{- $served := ne .role "client" -}}
EMPORIUM_ROLE: {{ .role }}
EMPORIUM_EDITION: {{ $v.edition }}
EMPORIUM_MODE: {{ $v.mode }}
EMPORIUM_CACHE_MODE: {{ $v.cache.mode | quote }}
EMPORIUM_INTERNAL_OFFSET: {{ int64 $v.ports.internalOffset | quote }}
EMPORIUM_HEALTH_OFFSET: {{ int64 $v.ports.healthOffset | quote }}
EMPORIUM_CATALOG: {{ include "emporium.addresses" (dict "root" .root "role" "catalog") | quote }}
EMPORIUM_ORDER: {{ include "emporium.addresses" (dict "root" .root "role" "order") | quote }}
{{- if and (eq $v.cache.mode "server") (not $group) }}
EMPORIUM_CACHE: {{ include "emporium.addresses" (dict "root" .root "role" "cache") | quote }}
{{- end }}
EMPORIUM_HEARTBEAT_INTERVAL_MS: {{ int64 $v.heartbeat.intervalMs | quote }}
{{- with $v.heartbeat.failureTimeoutMs }}
EMPORIUM_FAILURE_TIMEOUT_MS: {{ int64 . | quote }}
{{- end }}
{{- with $v.lease.ms }}
EMPORIUM_LEASE_MS: {{ int64 . | quote }}
{{- end }}
EMPORIUM_OPERATOR_TOKEN_FILE: /etc/emporium/secrets/operator-token
{{- if not $served }}
EMPORIUM_FRONTEND: {{ include "emporium.addresses" (dict "root" .root "role" "frontend") | quote }}
{{- else }}
EMPORIUM_HOST: {{ $v.host | quote }}
EMPORIUM_PORT: {{ int64 (index $v .role).port | quote }}
EMPORIUM_THREADS: {{ int64 (index $v .role).threads | quote }}
EMPORIUM_REQUEST_TIMEOUT_MS: {{ int64 $v.requests.timeoutMs | quote }}
EMPORIUM_MAX_BODY_BYTES: {{ int64 $v.requests.maxBodyBytes | quote }}
EMPORIUM_ORDERS_PRIVATE: {{ $v.order.private | quote }}
EMPORIUM_FAULTS: {{ $v.faults | quote }}
EMPORIUM_LOG_LEVEL: {{ $v.logLevel }}
EMPORIUM_OUTPUT_DIR: ""
EMPORIUM_SECRET_FILE: /etc/emporium/secrets/internal
{{- if $v.tls.existingSecret }}
EMPORIUM_TLS_CERT_FILE: /etc/emporium/tls/tls.crt
EMPORIUM_TLS_KEY_FILE: /etc/emporium/tls/tls.key
EMPORIUM_TLS_CA_FILE: /etc/emporium/tls/ca.crt
{{- end }}
{{- if $group }}
EMPORIUM_DATA_DIR: /data
EMPORIUM_LOCK_WAIT_MS: {{ int64 $v.journal.lockWaitMs | quote }}
EMPORIUM_BATCH_ENTRIES: {{ int64 $v.journal.batchEntries | quote }}
EMPORIUM_SNAPSHOT_ENTRIES: {{ int64 $v.journal.snapshotEntries | quote }}
EMPORIUM_KEEP_ENTRIES: {{ int64 $v.journal.keepEntries | quote }}
EMPORIUM_PENDING_PROPOSALS: {{ int64 $v.journal.pendingProposals | quote }}
EMPORIUM_STEP_EVENTS: {{ int64 $v.journal.stepEvents | quote }}
{{- else }}
EMPORIUM_CACHE_ITEMS: {{ int64 $v.cache.items | quote }}
{{- end }}
{{- if and $v.items (eq .role "catalog") }}
EMPORIUM_ITEMS_FILE: /etc/emporium/items/items
{{- end }}
{{- end }}
{{- end }}

{{- define "emporium.env" -}}
{{- if ne .role "client" }}
- name: EMPORIUM_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- range $name, $value := fromYaml (include "emporium.settings" .) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
