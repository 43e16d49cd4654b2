{{/* Names and labels. Most templates get a dict with `root` (the chart's own dot) and `role`. */}}

{{- define "emporium.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "emporium.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "emporium.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "emporium.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "emporium.roleName" -}}
{{- printf "%s-%s" (include "emporium.fullname" .root) .role -}}
{{- end }}

{{/* The roles that run: no cache unless it is a server of its own. */}}
{{- define "emporium.roles" -}}
{{- ternary "frontend cache catalog order" "frontend catalog order" (eq .Values.cache.mode "server") -}}
{{- end }}

{{- define "emporium.storeSelector" -}}
app.kubernetes.io/name: {{ include "emporium.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "emporium.selector" -}}
{{ include "emporium.storeSelector" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* Labels of objects. Pods get only the selector's and the user's: a new chart version alone
replaces no pod. */}}
{{- define "emporium.storeLabels" -}}
{{ include "emporium.storeSelector" . }}
app.kubernetes.io/part-of: emporium
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "emporium.labels" -}}
{{ include "emporium.storeLabels" .root }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "emporium.secretName" -}}
{{- .Values.secrets.existing | default (printf "%s-secrets" (include "emporium.fullname" .)) -}}
{{- end }}

{{- define "emporium.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := printf "%s/%s/%s" $image.registry $image.repository .role -}}
{{- with get $image.digests .role -}}
{{- printf "%s@%s" $name . -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce (get $image.tags .role) $image.tag .root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}
