{{- /* What the schema cannot say: values that must be given together, or must not. */ -}}
{{- define "trabecula.checks" -}}
{{- $found := list -}}
{{- $missing := list -}}
{{- with .Values -}}
{{- if not .database.host }}{{ $missing = append $missing "database.host: name your PostgreSQL 14 or newer" }}{{ end -}}
{{- if not .database.existingSecret }}{{ $missing = append $missing "database.existingSecret: name the Secret with its password" }}{{ end -}}
{{- if and (eq .database.sslMode "verify-ca") (not .database.caKey) }}{{ $found = append $found "database.caKey: verify-ca needs the authority's certificate" }}{{ end -}}
{{- if not (or .content.url .content.existingClaim) }}{{ $missing = append $missing "content: give content.url (object storage) or content.existingClaim (a ReadWriteMany volume); api and worker share it" }}{{ end -}}
{{- if and .content.url .content.existingClaim }}{{ $found = append $found "content: url and existingClaim exclude each other" }}{{ end -}}
{{- if and .networkPolicy.enabled (not .networkPolicy.egress.database.to) }}{{ $missing = append $missing "networkPolicy.egress.database.to: say where PostgreSQL is, or nothing can reach it (networkPolicy.enabled=false opens everything)" }}{{ end -}}
{{- if and .networkPolicy.enabled .content.url (not .networkPolicy.egress.objectStorage.to) }}{{ $found = append $found "networkPolicy.egress.objectStorage.to: say where content.url is" }}{{ end -}}
{{- if ne (dig "grpc_auth" "auto" .settings) "off-beyond-loopback" }}
{{- if not (or .tls.clientCaKey .settings.auth_issuers) }}{{ $missing = append $missing "settings.auth_issuers or tls.clientCaKey: say who may call gRPC (settings.grpc_auth=off-beyond-loopback asks nobody)" }}{{ end -}}
{{- if not (or .tls.existingSecret .settings.tls_elsewhere) }}{{ $missing = append $missing "tls.existingSecret: gRPC needs TLS, or settings.tls_elsewhere=true where a mesh or gateway encrypts" }}{{ end -}}
{{- if and .settings.auth_issuers (not (or .settings.grpc_audience .settings.auth_audience (and .http.enabled .http.publicBaseUrl))) }}{{ $found = append $found "settings.grpc_audience: say which audience tokens for gRPC name" }}{{ end -}}
{{- end }}
{{- if and .worker.autoscaling.enabled .worker.keda.enabled }}{{ $found = append $found "worker: autoscaling (HPA) and keda exclude each other" }}{{ end -}}
{{- range $role := list "api" "worker" "migrations" "tests" }}
{{- $resources := (index $.Values $role).resources -}}
{{- range $what := list "memory" "ephemeral-storage" }}
{{- $most := include "trabecula.mebibytes" (dig "limits" $what "" $resources) -}}
{{- $least := include "trabecula.mebibytes" (dig "requests" $what "" $resources) -}}
{{- if and $most $least (gt (int64 $least) (int64 $most)) }}{{ $found = append $found (printf "%s.resources: the request of %s is more than its limit" $role $what) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $what, $keys := dict "database" (list .database.passwordKey .database.caKey) "tls" (list .tls.certificateKey .tls.keyKey .tls.clientCaKey) "http.tls" (list .http.tls.certificateKey .http.tls.keyKey) "dicom.tls" (list .dicom.tls.certificateKey .dicom.tls.keyKey .dicom.tls.clientCaKey) }}
{{- $given := compact $keys -}}
{{- if ne (len $given) (len (uniq $given)) }}{{ $found = append $found (printf "%s: one key of the Secret cannot be two files" $what) }}{{ end -}}
{{- end -}}
{{- if and .http.enabled (eq (int .api.service.grpcPort) (int .api.service.httpPort)) }}{{ $found = append $found "api.service: grpcPort and httpPort are the same" }}{{ end -}}
{{- $limit := include "trabecula.mebibytes" (dig "limits" "memory" "" .worker.resources) -}}
{{- if and $limit (le (int64 $limit) (mul (int64 .worker.studyMemoryMiB) (int64 .worker.studiesAtOnce))) }}{{ $found = append $found (printf "worker.resources.limits.memory: %d studies of %d MiB do not fit into it" (int .worker.studiesAtOnce) (int .worker.studyMemoryMiB)) }}{{ end -}}
{{- if gt (int .api.autoscaling.minReplicas) (int .api.autoscaling.maxReplicas) }}{{ $found = append $found "api.autoscaling: minReplicas is more than maxReplicas" }}{{ end -}}
{{- if gt (int .worker.autoscaling.minReplicas) (int .worker.autoscaling.maxReplicas) }}{{ $found = append $found "worker.autoscaling: minReplicas is more than maxReplicas" }}{{ end -}}
{{- if gt (int .worker.keda.minReplicas) (int .worker.keda.maxReplicas) }}{{ $found = append $found "worker.keda: minReplicas is more than maxReplicas" }}{{ end -}}
{{- if has .models.source (list "imageVolume" "initContainer") }}
{{- if not (and .models.image.repository .models.image.digest) }}{{ $found = append $found (printf "models.image: %s needs repository and digest" .models.source) }}{{ end -}}
{{- end -}}
{{- if and (eq .models.source "imageVolume") (semverCompare "<1.36.0-0" $.Capabilities.KubeVersion.Version) }}{{ $missing = append $missing (printf "models.source: image volumes need Kubernetes 1.36, this is %s; take existingClaim or initContainer" $.Capabilities.KubeVersion.Version) }}{{ end -}}
{{- if and (eq .models.source "existingClaim") (not .models.existingClaim) }}{{ $found = append $found "models.existingClaim: name the claim" }}{{ end -}}
{{- if and .http.enabled (not .http.publicBaseUrl) }}{{ $found = append $found "http.publicBaseUrl: say under which address clients reach it; tokens name it" }}{{ end -}}
{{- if and (or .http.users.existingSecret .settings.oidc_issuer) (not .http.sessionKey.existingSecret) }}{{ $found = append $found "http.sessionKey.existingSecret: replicas must share the key of the pages' sessions" }}{{ end -}}
{{- if and .settings.oidc_issuer (not (and .http.enabled .settings.oidc_client_id)) }}{{ $found = append $found "settings.oidc_issuer: needs http.enabled and settings.oidc_client_id" }}{{ end -}}
{{- if and .tests.enabled (ne (dig "grpc_auth" "auto" .settings) "off-beyond-loopback") .settings.auth_issuers (not .tls.clientCaKey) (not .tests.tokenSecret) }}{{ $found = append $found "tests.tokenSecret: gRPC asks for a token, the test pod needs one too (or tests.enabled=false)" }}{{ end -}}
{{- if and .dicom.enabled (not .dicom.peers) }}{{ $found = append $found "dicom.peers: say who may send" }}{{ end -}}
{{- if and .gateway.grpcRoute.enabled (not .gateway.grpcRoute.parentRefs) }}{{ $found = append $found "gateway.grpcRoute.parentRefs: name the Gateway" }}{{ end -}}
{{- if .gateway.httpRoute.enabled }}
{{- if not .gateway.httpRoute.parentRefs }}{{ $found = append $found "gateway.httpRoute.parentRefs: name the Gateway" }}{{ end -}}
{{- if not .http.enabled }}{{ $found = append $found "gateway.httpRoute: needs http.enabled" }}{{ end -}}
{{- end -}}
{{- if .ingress.enabled }}
{{- if not (or .ingress.grpc.host .ingress.http.host) }}{{ $found = append $found "ingress: give grpc.host or http.host" }}{{ end -}}
{{- if and .ingress.http.host (not .http.enabled) }}{{ $found = append $found "ingress.http.host: needs http.enabled" }}{{ end -}}
{{- if and .ingress.grpc.host (not .ingress.tlsSecret) }}{{ $found = append $found "ingress.tlsSecret: gRPC through an Ingress needs TLS at the edge" }}{{ end -}}
{{- end -}}
{{- if and .externalSecrets.enabled (not (and .externalSecrets.secretStoreRef.name .externalSecrets.secrets)) }}{{ $found = append $found "externalSecrets: give secretStoreRef.name and secrets" }}{{ end -}}
{{- if and .tests.enabled .tls.existingSecret (not .tests.clientTlsSecret) }}{{ $found = append $found "tests.clientTlsSecret: with tls the test pod needs certificates (or tests.enabled=false)" }}{{ end -}}
{{- end -}}
{{- $text := printf "\n\n%d value(s) to look at:\n- %s\n" (len (concat $missing $found)) (join "\n- " (concat $missing $found)) -}}
{{- if $found }}{{ fail $text }}{{ end -}}
{{- /* What is only missing is forgiven by helm lint, which knows the defaults alone. */ -}}
{{- if $missing }}{{ $_ := required $text "" }}{{ end -}}
{{- end }}

{{- /* A quantity of bytes in MiB; nothing for nothing. */ -}}
{{- define "trabecula.mebibytes" -}}
{{- $text := include "trabecula.number" . -}}
{{- if $text -}}
{{- $sizes := dict "" 0.00000095367431640625 "m" 0.00000000095367431640625 "k" 0.00095367431640625 "M" 0.95367431640625 "G" 953.67431640625 "T" 953674.31640625 "P" 953674316.40625 "Ki" 0.0009765625 "Mi" 1.0 "Gi" 1024.0 "Ti" 1048576.0 "Pi" 1073741824.0 -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $sizes (regexReplaceAll "^[0-9.]+" $text "")) | int64 -}}
{{- end -}}
{{- end }}
