{{/* A variable whose value is a Secret's; of (variable, secret, key). */}}
{{- define "agora.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}

{{/* How a service is told what it must know; of (root, name, service). */}}
{{- define "agora.environment" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
{{- $name := .name }}
{{- $service := .service }}
{{- $full := include "agora.fullname" .root }}
{{- $ports := index (include "agora.services" .root | fromYaml) .name }}
{{- with $values.installation.name }}
- {name: AGORA_INSTALLATION__NAME, value: {{ . | quote }}}
{{- else }}
# Of the namespace that the pod is in, wherever these manifests are applied.
- name: AGORA_NAMESPACE
  valueFrom:
    fieldRef: {fieldPath: metadata.namespace}
- {name: AGORA_INSTALLATION__NAME, value: $(AGORA_NAMESPACE)/{{ $full }}}
{{- end }}
- {name: AGORA_SERVER__LISTEN, value: "{{ $values.server.address }}:{{ $ports.grpc }}"}
- {name: AGORA_SERVER__HTTP_LISTEN, value: "{{ $values.server.address }}:{{ $ports.http }}"}
- {name: AGORA_SERVER__MAX_CONNECTION_AGE_MS, value: "{{ mul $values.server.maxConnectionAgeSeconds 1000 }}"}
- {name: AGORA_SERVER__DRAIN_TIMEOUT_MS, value: "{{ mul $values.server.drainSeconds 1000 }}"}
{{- with $values.server.corsOrigins }}
- {name: AGORA_SERVER__CORS_ORIGINS, value: {{ toJson . | quote }}}
{{- end }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_SERVER__SECRET" "secret" (include "agora.secret" (dict "root" $root "name" $name "given" $service.serverSecret.name)) "key" $service.serverSecret.key) }}
- {name: AGORA_AUTH__ISSUER, value: {{ $values.auth.issuer | quote }}}
- {name: AGORA_AUTH__AUDIENCE, value: {{ $values.auth.audience | quote }}}
{{- $keys := list }}
{{- range $values.auth.publicKeys.keys }}
{{- $keys = append $keys (printf "/etc/agora/public/%s" .) }}
{{- end }}
- {name: AGORA_AUTH__PUBLIC_KEYS, value: {{ toJson $keys | quote }}}
- {name: AGORA_NATS__URL, value: {{ include "agora.natsUrl" $root | quote }}}
- {name: AGORA_NATS__REPLICAS, value: "{{ $values.nats.bundled.enabled | ternary (min 3 (int $values.nats.bundled.replicas)) $values.nats.streamReplicas }}"}
- {name: AGORA_NATS__MAX_BYTES, value: "{{ int64 $values.nats.maxBytes }}"}
{{- with include "agora.natsLogin" $root }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_NATS__USER" "secret" . "key" $values.nats.login.userKey) }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_NATS__PASSWORD" "secret" . "key" $values.nats.login.passwordKey) }}
{{- end }}
{{- if $values.nats.credentials.secret }}
- {name: AGORA_NATS__CREDENTIALS_FILE, value: /etc/agora/nats/nats.creds}
{{- end }}
{{- range $file, $_ := include "agora.natsTls" $root | fromYaml }}
- {name: AGORA_NATS__{{ upper $file }}_FILE, value: /etc/agora/nats-tls/{{ $file }}.pem}
{{- end }}
- {name: AGORA_TELEMETRY__LOG, value: {{ $values.telemetry.log | quote }}}
- {name: AGORA_TELEMETRY__LOG_FORMAT, value: json}
{{- with $values.telemetry.otlpEndpoint }}
- {name: AGORA_TELEMETRY__OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if $values.telemetry.otlpCa.secret }}
- {name: AGORA_TELEMETRY__OTLP_CA_FILE, value: /etc/agora/otlp/ca.crt}
{{- end }}
{{- if ne $name "post" }}
{{- range $owner := list "post" "comment" "moderation" }}
{{- if ne $owner $name }}
- {name: AGORA_OWNERS__{{ upper $owner }}_URL, value: "http://{{ $full }}-{{ $owner }}-headless:{{ index (include "agora.services" $root | fromYaml) $owner "grpc" }}"}
{{- end }}
{{- end }}
- {name: AGORA_OWNERS__TOKEN_FILE, value: /run/agora/token}
{{- end }}
{{- if eq $name "comment" }}
- {name: AGORA_POST_SERVICE__URL, value: "http://{{ $full }}-post-headless:7401"}
{{- end }}
{{- if eq $name "query" }}
- {name: AGORA_DATABASE__PATH, value: /data/view.db}
- {name: AGORA_DATABASE__READERS, value: "{{ $service.readers }}"}
- {name: AGORA_SNAPSHOT__PEERS, value: "http://{{ $full }}-query-headless:7404"}
- {name: AGORA_SNAPSHOT__TOKEN_FILE, value: /run/agora/token}
{{- if $service.fallback.enabled }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_FALLBACK__POST__URL" "secret" (include "agora.secret" (dict "root" $root "name" "query" "given" $service.fallback.postUrlSecret.name)) "key" $service.fallback.postUrlSecret.key) }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_FALLBACK__COMMENT__URL" "secret" (include "agora.secret" (dict "root" $root "name" "query" "given" $service.fallback.commentUrlSecret.name)) "key" $service.fallback.commentUrlSecret.key) }}
{{- end }}
{{- else }}
{{ include "agora.secretVariable" (dict "variable" "AGORA_DATABASE__URL" "secret" (include "agora.databaseSecret" .) "key" $service.postgres.urlSecret.key) }}
- {name: AGORA_DATABASE__READERS, value: "{{ $service.postgres.readers }}"}
{{- end }}
{{- end }}

{{/* What `env` says, as a list; of what it says: a list already, or a map of names to texts or to `valueFrom`. */}}
{{- define "agora.variables" -}}
{{- $variables := list }}
{{- if kindIs "map" . }}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
{{- $variables = append $variables (merge (dict "name" $name) $value) }}
{{- else if not (kindIs "invalid" $value) }}
{{- $variables = append $variables (dict "name" $name "value" $value) }}
{{- end }}
{{- end }}
{{- else }}
{{- $variables = . | default list }}
{{- end }}
{{- toYaml $variables }}
{{- end }}

{{/* The Secret with the URL of a service's database; of (root, name, service). */}}
{{- define "agora.databaseSecret" -}}
{{- if not (or .service.postgres.urlSecret.name .root.Values.postgres.bundled.enabled) }}
{{- fail (printf "%s.postgres.urlSecret.name must name a Secret with the database's URL, unless postgres.bundled.enabled (values-trial.yaml)" .name) }}
{{- end }}
{{- include "agora.secret" (dict "root" .root "name" .name "given" .service.postgres.urlSecret.name) }}
{{- end }}
