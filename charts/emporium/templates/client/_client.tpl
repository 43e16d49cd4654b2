{{/* The spec of a client's pod, but for what it runs; `token`: may it ask the API server?
`nodeSelector`: where it runs, if not where every pod may. */}}
{{- define "emporium.clientPod" -}}
{{- $v := .root.Values -}}
restartPolicy: Never
serviceAccountName: {{ include "emporium.roleName" . }}
automountServiceAccountToken: {{ .token }}
enableServiceLinks: false
terminationGracePeriodSeconds: 5
{{- include "emporium.pullSecrets" .root }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector | default $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "emporium.podSecurity" . | nindent 2 }}
volumes:
  {{- include "emporium.volumes" . | nindent 2 }}
  - name: report
    emptyDir:
      sizeLimit: 64Mi
containers:
  - name: client
    image: {{ include "emporium.image" . | quote }}
    imagePullPolicy: {{ $v.image.pullPolicy }}
    command:
      {{- toYaml .command | nindent 6 }}
    securityContext:
      {{- include "emporium.containerSecurity" . | nindent 6 }}
    env:
      {{- include "emporium.env" . | nindent 6 }}
      - name: STORE_NAMESPACE
        value: {{ .root.Release.Namespace | quote }}
      - name: STORE_NAME
        value: {{ include "emporium.fullname" .root | quote }}
    resources:
      {{- toYaml $v.client.resources | nindent 6 }}
    volumeMounts:
      {{- include "emporium.mounts" . | nindent 6 }}
      - name: report
        mountPath: /report
{{- end }}

{{- define "emporium.jobSpec" -}}
{{- $v := .Values -}}
{{- $command := concat (list "python3" "-m" "emporium.client.job") $v.client.job.args -}}
{{- $job := dict "root" . "role" "client" "token" true "command" $command "nodeSelector" $v.client.job.nodeSelector -}}
backoffLimit: 0
completions: 1
parallelism: 1
activeDeadlineSeconds: {{ int $v.client.job.deadlineSeconds }}
# Without this, a Job whose pod was evicted only says that it failed.
podFailurePolicy:
  rules:
    - action: FailJob
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
template:
  metadata:
    labels:
      {{- include "emporium.selector" $job | nindent 6 }}
      {{- with $v.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    annotations:
      cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
  spec:
    {{- include "emporium.clientPod" $job | nindent 4 }}
{{- end }}

{{/* What a Job runs can't be changed. So its name has a hash of it: other arguments or another image
make another Job, and Helm removes the old one; any other upgrade leaves a running one alone. */}}
{{- define "emporium.jobName" -}}
{{- include "emporium.roleName" (dict "root" . "role" "client") }}-{{ include "emporium.jobSpec" . | sha256sum | trunc 8 }}
{{- end }}
