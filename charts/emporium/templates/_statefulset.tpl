{{/* The StatefulSet of a role. Pods start side by side, and have names before they are ready. */}}
{{- define "emporium.statefulset" -}}
{{- $v := .root.Values -}}
{{- $own := index $v .role -}}
{{- $group := has .role (list "catalog" "order") -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "emporium.roleName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "emporium.labels" . | nindent 4 }}
  {{- with $v.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  replicas: {{ int $own.replicas }}
  serviceName: {{ include "emporium.roleName" . }}-headless
  podManagementPolicy: Parallel
  minReadySeconds: {{ int $v.minReadySeconds }}
  revisionHistoryLimit: 5
  updateStrategy:
    type: RollingUpdate
  selector:
    matchLabels:
      {{- include "emporium.selector" . | nindent 6 }}
  {{- if $group }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "emporium.selector" . | nindent 8 }}
        {{- with $v.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        kubectl.kubernetes.io/default-container: {{ .role }}
        # A rotation replaces the pods: settings are read once.
        emporium/secrets: {{ printf "%d %t %d" (int $v.secrets.generation) $v.secrets.acceptPrevious (int $v.secrets.operatorTokenGeneration) | quote }}
        {{- with mergeOverwrite (deepCopy $v.podAnnotations) $own.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "emporium.roleName" . }}
      automountServiceAccountToken: false
      # A variable for each Service would begin with EMPORIUM_, and be refused as no setting.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ int $v.terminationGracePeriodSeconds }}
      {{- include "emporium.pullSecrets" .root | nindent 6 }}
      {{- include "emporium.placement" . | nindent 6 }}
      {{- include "emporium.spread" . | nindent 6 }}
      securityContext:
        {{- include "emporium.podSecurity" . | nindent 8 }}
      containers:
        - name: {{ .role }}
          image: {{ include "emporium.image" . | quote }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          securityContext:
            {{- include "emporium.containerSecurity" . | nindent 12 }}
          env:
            {{- include "emporium.env" . | nindent 12 }}
          ports:
            - name: public
              containerPort: {{ int $own.port }}
            - name: internal
              containerPort: {{ add $own.port $v.ports.internalOffset }}
            - name: health
              containerPort: {{ add $own.port $v.ports.healthOffset }}
          startupProbe:
            {{- include "emporium.probe" (dict "path" "/healthz" "times" $v.probes.startup) | nindent 12 }}
          readinessProbe:
            {{- include "emporium.probe" (dict "path" "/readyz" "times" $v.probes.readiness) | nindent 12 }}
          livenessProbe:
            {{- include "emporium.probe" (dict "path" "/healthz" "times" $v.probes.liveness) | nindent 12 }}
          resources:
            {{- toYaml $own.resources | nindent 12 }}
          volumeMounts:
            {{- include "emporium.mounts" . | nindent 12 }}
            {{- if $group }}
            - name: data
              mountPath: /data
            {{- end }}
      volumes:
        {{- include "emporium.volumes" . | nindent 8 }}
        {{- if and $group (not $own.persistence.enabled) }}
        - name: data
          emptyDir:
            sizeLimit: {{ $own.persistence.size }}
        {{- end }}
  {{- if and $group $own.persistence.enabled }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels:
          {{- include "emporium.selector" . | nindent 10 }}
        {{- with $own.persistence.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes:
          {{- toYaml $own.persistence.accessModes | nindent 10 }}
        {{- with $own.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $own.persistence.size }}
  {{- end }}
{{- end }}
