{{- /* A pod of the Ray cluster: root, component, group and the port by which it is seen to be alive. */ -}}
{{- define "freehold.rayPod" -}}
{{- $root := .root -}}
{{- $tunes := and $root.Values.fineTuning.sharedVolume (eq .component "ray-worker") -}}
metadata:
  labels: {{- include "freehold.selector" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    freehold.dev/ray: member
spec:
  serviceAccountName: {{ include "freehold.name" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- include "freehold.pullSecrets" $root | nindent 2 }}
  securityContext: {{- include "freehold.podSecurity" $root | nindent 4 }}
  {{- with .group.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .group.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "freehold.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext: {{- include "freehold.containerSecurity" $root | nindent 8 }}
      readinessProbe: {tcpSocket: {port: {{ .port }}}, periodSeconds: 5, failureThreshold: 60}
      livenessProbe: {tcpSocket: {port: {{ .port }}}, periodSeconds: 10, initialDelaySeconds: 60, failureThreshold: 12}
      resources:
        {{- $resources := deepCopy .group.resources }}
        {{- if .group.gpus }}
        {{- $limits := merge (dict "nvidia.com/gpu" (toString .group.gpus)) ($resources.limits | default dict) }}
        {{- $_ := set $resources "limits" $limits }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/lib/freehold}
        - {name: temporary, mountPath: /tmp}
        - {name: shared-mem, mountPath: /dev/shm}
        {{- if $tunes }}
        {{- include "freehold.tuningMount" $root | nindent 8 }}
        {{- end }}
  volumes:
    - name: home
      emptyDir: {sizeLimit: {{ $root.Values.ray.weights }}}
    - name: temporary
      emptyDir: {}
    - name: shared-mem
      emptyDir: {medium: Memory, sizeLimit: {{ $root.Values.ray.sharedMemory }}}
    {{- if $tunes }}
    {{- include "freehold.tuningVolume" $root | nindent 4 }}
    {{- end }}
{{- end -}}
