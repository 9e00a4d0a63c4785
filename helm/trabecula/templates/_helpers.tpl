{{- define "trabecula.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Prefix of object names; short enough for what is added to it. */ -}}
{{- define "trabecula.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "trabecula.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trabecula.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trabecula.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "trabecula.labels" -}}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "trabecula.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: trabecula
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Metadata of an object. Takes: root, name (a suffix), component, labels, annotations. */ -}}
{{- define "trabecula.metadata" -}}
{{- $root := .root -}}
name: {{ include "trabecula.fullname" $root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "trabecula.labels" $root | trim | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- range $key, $value := .labels }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
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
  - name: {{ . }}
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
{{ . }}: {{ dig "metadata" "resourceVersion" "" (lookup "v1" "Secret" $root.Release.Namespace .) | quote }}
{{- end }}
{{- with .files.existingConfigMap }}
{{ . }}: {{ dig "metadata" "resourceVersion" "" (lookup "v1" "ConfigMap" $root.Release.Namespace .) | quote }}
{{- end }}
revision: {{ .secretsRevision | quote }}
{{- end }}
{{- end }}

{{- /* A volume of one Secret, files readable by the group alone. Takes: name, secret, items (key to file). */ -}}
{{- define "trabecula.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    {{- with .items }}
    items:
      {{- range $key, $path := . }}
      - key: {{ $key }}
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
