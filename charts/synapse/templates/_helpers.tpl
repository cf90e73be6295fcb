{{/*
Names are fixed, not derived from the release: the injector is one per cluster (its configuration is cluster-scoped),
and a second release then fails at once, on Helm's own ownership check, instead of injecting everything twice.
*/}}
{{- define "synapse.labels" -}}
{{ include "synapse.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: synapse
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "synapse.selector" -}}
app.kubernetes.io/name: synapse-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Takes (list IMAGE $): registry/repository, then @digest or :tag. */}}
{{- define "synapse.image" -}}
{{- $image := index . 0 -}}
{{- $chart := (index . 1).Chart -}}
{{- $name := printf "%s/%s" $image.registry $image.repository -}}
{{- if $image.digest }}{{ $name }}@{{ $image.digest }}{{ else }}{{ $name }}:{{ $image.tag | default $chart.AppVersion }}{{ end -}}
{{- end }}

{{/* What PodSecurity "restricted" asks of a pod, and of each container. */}}
{{- define "synapse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "synapse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The namespaces that no webhook entry sees. */}}
{{- define "synapse.excludedNamespaces" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values: {{ append .Values.webhook.excludedNamespaces .Release.Namespace | uniq | sortAlpha | toJson }}
{{- end }}
