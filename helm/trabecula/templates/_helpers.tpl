{{- define "trabecula.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Prefix of object names; short enough for what is added to it. */ -}}
{{- define "trabecula.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "trabecula.name" . }}
{{- $release := .Release.Name | replace "." "-" }}
{{- /* Names of Services begin with a letter and have no dot; releases need not. */}}
{{- if not (regexMatch "^[a-z]" $release) }}{{ $release = printf "r%s" $release }}{{ end }}
{{- if contains $name $release }}
{{- $release | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" $release $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trabecula.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trabecula.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* All labels of an object or of pods; the chart's own before the caller's before the common ones. Takes: root,
component, labels. */ -}}
{{- define "trabecula.labels" -}}
{{- $root := .root -}}
{{- $own := include "trabecula.selectorLabels" $root | fromYaml -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "trabecula" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- with .component }}{{ $_ := set $own "app.kubernetes.io/component" . }}{{ end -}}
{{- toYaml (merge $own (default (dict) .labels) $root.Values.commonLabels) }}
{{- end }}

{{- /* Takes: root, name (a suffix). */ -}}
{{- define "trabecula.objectName" -}}
{{ include "trabecula.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
{{- end }}

{{- /* Metadata of an object. Takes: root, name (a suffix), component, labels, annotations. */ -}}
{{- define "trabecula.metadata" -}}
{{- $root := .root -}}
name: {{ include "trabecula.objectName" . | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- include "trabecula.labels" . | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "trabecula.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "trabecula.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "trabecula.image" -}}
{{- with .Values.image -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- /* A number without the exponent that YAML's floating point would get. */ -}}
{{- define "trabecula.number" -}}
{{- if kindIs "float64" . }}{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "trabecula.databaseUrl" -}}
{{- with .Values.database -}}
{{- $host := .host }}{{ if contains ":" .host }}{{ $host = printf "[%s]" .host }}{{ end -}}
postgresql://{{ .user }}@{{ $host }}:{{ int .port }}/{{ .name }}?sslmode={{ .sslMode }}
{{- if .caKey }}&sslrootcert=/run/secrets/trabecula/database/ca.crt{{ else if eq .sslMode "verify-full" }}&sslrootcert=system{{ end }}
{{- end }}
{{- end }}

{{- define "trabecula.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ int .Values.security.runAsUser }}
runAsGroup: {{ int .Values.security.runAsGroup }}
fsGroup: {{ int .Values.security.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "trabecula.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* What all pods share, whatever runs in them. */ -}}
{{- define "trabecula.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- if not .Values.security.hostUsers }}
hostUsers: false
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "trabecula.podSecurityContext" . | nindent 2 }}
{{- end }}

{{- /* Names of every Secret and ConfigMap the pods read, with what the cluster knows of their version. */ -}}
{{- define "trabecula.secretVersions" -}}
{{- $root := . -}}
{{- with .Values -}}
{{- $secrets := list .database.existingSecret .content.existingSecret .tls.existingSecret .files.existingSecret .clientKeys.existingSecret .delivery.existingSecret .http.tls.existingSecret .http.users.existingSecret .http.sessionKey.existingSecret .http.cdsClients.existingSecret .dicom.tls.existingSecret -}}
{{- range ($secrets | uniq | compact) }}
{{ . | quote }}: {{ dig "metadata" "resourceVersion" "" (lookup "v1" "Secret" $root.Release.Namespace .) | quote }}
{{- end }}
{{- with .files.existingConfigMap }}
{{ . | quote }}: {{ dig "metadata" "resourceVersion" "" (lookup "v1" "ConfigMap" $root.Release.Namespace .) | quote }}
{{- end }}
revision: {{ .secretsRevision | quote }}
{{- end }}
{{- end }}

{{- /* A volume of one Secret, files readable by the group alone. Takes: name, secret, items (key to file). */ -}}
{{- define "trabecula.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    {{- with .items }}
    items:
      {{- range $key, $path := . }}
      - key: {{ $key | quote }}
        path: {{ $path }}
      {{- end }}
    {{- end }}
{{- end }}

{{- /* Peers and ports of one rule. Takes: direction (from, to), peers, ports. Nothing at all for an empty list: in
Kubernetes a rule without peers would mean everybody. */ -}}
{{- define "trabecula.policyRule" -}}
{{- if .peers }}
- {{ .direction }}:
    {{- toYaml .peers | nindent 4 }}
  ports:
    {{- range .ports }}
    - port: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ int . }}{{ end }}
      protocol: TCP
    {{- end }}
{{- end }}
{{- end }}

{{- define "trabecula.databaseVolume" -}}
{{- $items := dict .Values.database.passwordKey "password" -}}
{{- with .Values.database.caKey }}{{ $_ := set $items . "ca.crt" }}{{ end -}}
{{- include "trabecula.secretVolume" (dict "name" "database" "secret" .Values.database.existingSecret "items" $items) }}
{{- end }}

{{- define "trabecula.dnsRule" -}}
{{- with . }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}
{{- end }}
