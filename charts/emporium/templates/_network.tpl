{{/* Who may talk to whom: the edges of the design, and nothing else. */}}

{{- define "emporium.peer" -}}
- podSelector:
    matchLabels:
      {{- include "emporium.selector" . | nindent 6 }}
{{- end }}

{{/* For each role, the roles whose internal port it dials. */}}
{{- define "emporium.dials" -}}
{{- $cache := eq .Values.cache.mode "server" -}}
frontend: [{{ if $cache }}cache, {{ end }}catalog, order]
{{- if $cache }}
cache: [catalog, order]
{{- end }}
order: [catalog, order]
catalog: [catalog]
{{- end }}

{{- define "emporium.networkPolicy" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $role := .role -}}
{{- $port := (index $v $role).port -}}
{{- $health := add $port $v.ports.healthOffset -}}
{{- $dials := fromYaml (include "emporium.dials" $root) -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "emporium.roleName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "emporium.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- $dialers := list }}
    {{- range $from, $to := $dials }}
    {{- if has $role $to }}{{ $dialers = append $dialers $from }}{{ end }}
    {{- end }}
    {{- if $dialers }}
    - from:
        {{- range $dialers }}
        {{- include "emporium.peer" (dict "root" $root "role" .) | nindent 8 }}
        {{- end }}
      ports:
        - protocol: TCP
          port: {{ add $port $v.ports.internalOffset }}
    {{- end }}
    {{- if eq $role "frontend" }}
    # The public: everybody, unless networkPolicy.frontendFrom says who.
    - {{ with $v.networkPolicy.frontendFrom }}from:
        {{- toYaml . | nindent 8 }}
      {{ end }}ports:
        - protocol: TCP
          port: {{ int $port }}
    {{- end }}
    - from:
        {{- include "emporium.peer" (dict "root" $root "role" "client") | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ int $port }}
        - protocol: TCP
          port: {{ $health }}
    {{- with $v.networkPolicy.monitoringFrom }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ $health }}
    {{- end }}
  egress:
    {{- include "emporium.dns" $root | nindent 4 }}
    {{- range index $dials $role }}
    - to:
        {{- include "emporium.peer" (dict "root" $root "role" .) | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ add (index $v .).port $v.ports.internalOffset }}
    {{- end }}
{{- end }}

{{- define "emporium.dns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end }}
