{{/* The spec of a client's pod, but for what it runs; `token`: may it ask the API server? */}}
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
{{- with $v.nodeSelector }}
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
