{{- /* Settings of one role, as the ConfigMap that its containers take their environment from. */ -}}
{{- define "trabecula.environment" -}}
{{- $role := .role -}}
{{- $own := index .root.Values $role -}}
{{- $root := .root -}}
{{- with .root.Values -}}
{{- range $key, $value := .extraEnv }}
{{ $key | quote }}: {{ $value | quote }}
{{- end }}
{{- range $key, $value := .settings }}
TRABECULA_{{ upper $key }}: {{ include "trabecula.number" $value | quote }}
{{- end }}
HOME: /tmp
TMPDIR: /tmp
TRABECULA_ROLE: {{ $role }}
TRABECULA_STATE_DIR: /var/lib/trabecula/state
TRABECULA_DATABASE_URL: {{ include "trabecula.databaseUrl" $root | quote }}
TRABECULA_DATABASE_PASSWORD_FILE: /run/secrets/trabecula/database/password
TRABECULA_METRICS_LISTEN: {{ printf "%s:9090" .bindAddress | quote }}
TRABECULA_HEALTH_LISTEN: {{ printf "%s:8081" .bindAddress | quote }}
TRABECULA_DRAIN_TIMEOUT_S: {{ int $own.drainSeconds | quote }}
{{- with .content.url }}
TRABECULA_CONTENT_URL: {{ . | quote }}
{{- end }}
{{- if .content.existingSecret }}
TRABECULA_CONTENT_OPTIONS_FILE: /run/secrets/trabecula/content/content.toml
{{- end }}
{{- if ne .models.source "builtin" }}
TRABECULA_MODELS_DIR: {{ include "trabecula.modelsDir" $root | quote }}
{{- end }}
{{- if .delivery.existingSecret }}
TRABECULA_DESTINATIONS_FILE: /run/secrets/trabecula/delivery/destinations.toml
{{- end }}
{{- if .clientKeys.existingSecret }}
TRABECULA_CLIENT_KEYS_DIR: /run/secrets/trabecula/client-keys
{{- end }}
{{- if .http.enabled }}
TRABECULA_PUBLIC_BASE_URL: {{ .http.publicBaseUrl | quote }}
{{- end }}
{{- if eq $role "worker" }}
TRABECULA_WORKERS: {{ int .worker.studiesAtOnce | quote }}
TRABECULA_WORKER_MEMORY_BYTES: {{ mul (int64 .worker.studyMemoryMiB) 1048576 | quote }}
{{- else }}
TRABECULA_LISTEN: {{ printf "%s:50051" .bindAddress | quote }}
{{- if .tls.existingSecret }}
TRABECULA_TLS_CERTIFICATE_FILE: /run/secrets/trabecula/tls/tls.crt
TRABECULA_TLS_KEY_FILE: /run/secrets/trabecula/tls/tls.key
{{- if .tls.clientCaKey }}
TRABECULA_TLS_CLIENT_CA_FILE: /run/secrets/trabecula/tls/client-ca.crt
{{- end }}
{{- end }}
{{- if .http.enabled }}
TRABECULA_HTTP_LISTEN: {{ printf "%s:8080" .bindAddress | quote }}
{{- if .http.tls.existingSecret }}
TRABECULA_HTTP_TLS_CERTIFICATE_FILE: /run/secrets/trabecula/http-tls/tls.crt
TRABECULA_HTTP_TLS_KEY_FILE: /run/secrets/trabecula/http-tls/tls.key
{{- end }}
{{- if .http.users.existingSecret }}
TRABECULA_USERS_FILE: /run/secrets/trabecula/users/users.toml
{{- end }}
{{- if .http.sessionKey.existingSecret }}
TRABECULA_SESSION_KEY_FILE: /run/secrets/trabecula/session-key/session.key
{{- end }}
{{- if .http.cdsClients.existingSecret }}
TRABECULA_CDS_CLIENTS_FILE: /run/secrets/trabecula/cds-clients/clients.toml
{{- end }}
{{- end }}
{{- if .dicom.enabled }}
TRABECULA_DIMSE_LISTEN: {{ printf "%s:11112" .bindAddress | quote }}
TRABECULA_DIMSE_AE_TITLE: {{ .dicom.aeTitle | quote }}
TRABECULA_DIMSE_PEERS: {{ join "," .dicom.peers | quote }}
{{- if .dicom.tls.existingSecret }}
TRABECULA_DIMSE_TLS_CERTIFICATE_FILE: /run/secrets/trabecula/dicom-tls/tls.crt
TRABECULA_DIMSE_TLS_KEY_FILE: /run/secrets/trabecula/dicom-tls/tls.key
{{- if .dicom.tls.clientCaKey }}
TRABECULA_DIMSE_TLS_CLIENT_CA_FILE: /run/secrets/trabecula/dicom-tls/client-ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trabecula.modelsDir" -}}
{{- if eq .Values.models.source "imageVolume" }}/models{{ .Values.models.image.path }}{{ else }}/models{{ end }}
{{- end }}

{{- /* Volumes that the role's settings name. */ -}}
{{- define "trabecula.volumes" -}}
{{- $role := .role -}}
{{- $own := index .root.Values $role -}}
{{- $root := .root -}}
{{- with .root.Values -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ include "trabecula.number" $own.scratch.tmpSizeLimit | quote }}
    {{- with $own.scratch.tmpMedium }}
    medium: {{ . }}
    {{- end }}
- name: state
{{- if .content.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .content.existingClaim | quote }}
{{- else }}
  emptyDir:
    sizeLimit: {{ include "trabecula.number" $own.scratch.stateSizeLimit | quote }}
{{- end }}
{{ include "trabecula.databaseVolume" $root }}
{{- with .content.existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "content" "secret" . "items" (dict $root.Values.content.optionsKey "content.toml")) }}
{{- end }}
{{- with .delivery.existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "delivery" "secret" . "items" (dict $root.Values.delivery.key "destinations.toml")) }}
{{- end }}
{{- with .clientKeys.existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "client-keys" "secret" .) }}
{{- end }}
{{- with .files.existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "secret-files" "secret" .) }}
{{- end }}
{{- with .files.existingConfigMap }}
- name: files
  configMap:
    name: {{ . | quote }}
{{- end }}
{{- if eq .models.source "imageVolume" }}
- name: models
  image:
    reference: {{ printf "%s@%s" .models.image.repository .models.image.digest | quote }}
    pullPolicy: {{ .models.image.pullPolicy }}
{{- else if eq .models.source "existingClaim" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .models.existingClaim | quote }}
    readOnly: true
{{- else if eq .models.source "initContainer" }}
- name: models
  emptyDir:
    sizeLimit: {{ include "trabecula.number" .models.sizeLimit | quote }}
{{- end }}
{{- if eq $role "api" }}
{{- if .tls.existingSecret }}
{{- $items := dict .tls.certificateKey "tls.crt" .tls.keyKey "tls.key" }}
{{- with .tls.clientCaKey }}{{ $_ := set $items . "client-ca.crt" }}{{ end }}
{{ include "trabecula.secretVolume" (dict "name" "tls" "secret" .tls.existingSecret "items" $items) }}
{{- end }}
{{- if .http.enabled }}
{{- with .http.tls }}{{ if .existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "http-tls" "secret" .existingSecret "items" (dict .certificateKey "tls.crt" .keyKey "tls.key")) }}
{{- end }}{{ end }}
{{- with .http.users }}{{ if .existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "users" "secret" .existingSecret "items" (dict .key "users.toml")) }}
{{- end }}{{ end }}
{{- with .http.sessionKey }}{{ if .existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "session-key" "secret" .existingSecret "items" (dict .key "session.key")) }}
{{- end }}{{ end }}
{{- with .http.cdsClients }}{{ if .existingSecret }}
{{ include "trabecula.secretVolume" (dict "name" "cds-clients" "secret" .existingSecret "items" (dict .key "clients.toml")) }}
{{- end }}{{ end }}
{{- end }}
{{- if and .dicom.enabled .dicom.tls.existingSecret }}
{{- $items := dict .dicom.tls.certificateKey "tls.crt" .dicom.tls.keyKey "tls.key" }}
{{- with .dicom.tls.clientCaKey }}{{ $_ := set $items . "client-ca.crt" }}{{ end }}
{{ include "trabecula.secretVolume" (dict "name" "dicom-tls" "secret" .dicom.tls.existingSecret "items" $items) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Where a volume is mounted, by its name. */ -}}
{{- define "trabecula.mountPath" -}}
{{- $places := dict "tmp" "/tmp" "state" "/var/lib/trabecula" "models" "/models" "files" "/etc/trabecula/files" "secret-files" "/run/secrets/trabecula/files" -}}
{{- default (printf "/run/secrets/trabecula/%s" .) (get $places .) }}
{{- end }}

{{- define "trabecula.mounts" -}}
{{- range (include "trabecula.volumes" . | fromYamlArray) }}
- name: {{ .name }}
  mountPath: {{ include "trabecula.mountPath" .name }}
  {{- if not (has .name (list "tmp" "state")) }}
  readOnly: true
  {{- end }}
{{- end }}
{{- end }}

{{- /* The pods of one role. Takes: root, role, ports (a list of name and port), grace (seconds beyond the drain). */ -}}
{{- define "trabecula.deployment" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $own := index .root.Values .role -}}
metadata:
  labels:
    {{- include "trabecula.labels" (dict "root" $root "component" $role "labels" $own.podLabels) | nindent 4 }}
  annotations:
    {{- $sums := dict "checksum/settings" (include "trabecula.environment" . | sha256sum) "checksum/secrets" (include "trabecula.secretVersions" $root | sha256sum) }}
    {{- toYaml (merge $sums $own.podAnnotations $root.Values.commonAnnotations) | nindent 4 }}
spec:
  {{- include "trabecula.podCommon" $root | nindent 2 }}
  serviceAccountName: {{ include "trabecula.serviceAccountName" $root | quote }}
  terminationGracePeriodSeconds: {{ add (int $own.preStopSleepSeconds) (int $own.drainSeconds) (int .grace) }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.topologySpread }}
  {{- if .enabled }}
  topologySpreadConstraints:
    - maxSkew: {{ int .maxSkew }}
      topologyKey: {{ .topologyKey | quote }}
      whenUnsatisfiable: {{ .whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "trabecula.selectorLabels" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $role }}
      matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
  {{- if eq $root.Values.models.source "initContainer" }}
  initContainers:
    - name: models
      image: {{ printf "%s@%s" $root.Values.models.image.repository $root.Values.models.image.digest | quote }}
      imagePullPolicy: {{ $root.Values.models.image.pullPolicy }}
      command: [cp, -R, {{ printf "%s/." $root.Values.models.image.path | quote }}, /target/]
      securityContext:
        {{- include "trabecula.containerSecurityContext" $root | nindent 8 }}
      resources:
        requests: {cpu: 50m, memory: 64Mi}
        limits: {memory: 256Mi}
      volumeMounts:
        - name: models
          mountPath: /target
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "trabecula.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [trabecula]
      args: [serve, --role, {{ $role }}]
      envFrom:
        - configMapRef:
            name: {{ printf "%s-%s" (include "trabecula.fullname" $root) $role | quote }}
      securityContext:
        {{- include "trabecula.containerSecurityContext" $root | nindent 8 }}
      ports:
        {{- range .ports }}
        - name: {{ .name }}
          containerPort: {{ .port }}
        {{- end }}
        - name: metrics
          containerPort: 9090
        - name: health
          containerPort: 8081
      {{- with $own.probes }}
      startupProbe:
        grpc: {port: 8081, service: startup}
        periodSeconds: {{ int .startupPeriodSeconds }}
        failureThreshold: {{ int .startupFailureThreshold }}
        timeoutSeconds: {{ int .timeoutSeconds }}
      readinessProbe:
        grpc: {port: 8081, service: ready}
        periodSeconds: {{ int .periodSeconds }}
        timeoutSeconds: {{ int .timeoutSeconds }}
      livenessProbe:
        grpc: {port: 8081}
        periodSeconds: {{ int .periodSeconds }}
        failureThreshold: 6
        timeoutSeconds: {{ int .timeoutSeconds }}
      {{- end }}
      {{- with int $own.preStopSleepSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ . }}
      {{- end }}
      resources:
        {{- toYaml $own.resources | nindent 8 }}
      volumeMounts:
        {{- include "trabecula.mounts" . | trim | nindent 8 }}
  volumes:
    {{- include "trabecula.volumes" . | trim | nindent 4 }}
{{- end }}
