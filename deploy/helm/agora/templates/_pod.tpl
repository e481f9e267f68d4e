{{/* A variable whose value is a Secret's; of (variable, secret, key). */}}
{{- define "agora.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}
{{- end }}

{{/* The init container that signs a token into the volume `token`; of (root, user, site, roles, lifetime). */}}
{{- define "agora.signer" -}}
- name: token
  image: {{ include "agora.image" (dict "root" .root "name" "agora" "image" .root.Values.cli.image) }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - token
    - --key=/etc/agora/key/private.pem
    - --user={{ .user }}
    - --site={{ .site }}
    - --role={{ .roles }}
    - --issuer={{ .root.Values.auth.issuer }}
    - --audience={{ .root.Values.auth.audience }}
    - --lifetime={{ .lifetime }}
    - --to=/run/agora/token
  terminationMessagePolicy: FallbackToLogsOnError
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  securityContext:
    {{- include "agora.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: key, mountPath: /etc/agora/key, readOnly: true}
    - {name: token, mountPath: /run/agora}
{{- end }}

{{/* The volume with the private key. */}}
{{- define "agora.keyVolume" -}}
- name: key
  secret:
    secretName: {{ include "agora.secret" (dict "root" . "name" "signing" "given" .Values.auth.privateKey.secret) }}
    defaultMode: 0440
    items: [{key: {{ .Values.auth.privateKey.key }}, path: private.pem}]
{{- end }}

{{/* How a service is told what it must know; of (root, name, service). */}}
{{- define "agora.environment" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
{{- $name := .name }}
{{- $service := .service }}
{{- $full := include "agora.fullname" .root }}
{{- $ports := index (include "agora.services" .root | fromYaml) .name }}
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
{{- range $variable, $value := $service.env }}
- {name: {{ $variable }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* The Secret with the URL of a service's database; of (root, name, service). */}}
{{- define "agora.databaseSecret" -}}
{{- if not (or .service.postgres.urlSecret.name .root.Values.postgres.bundled.enabled) }}
{{- fail (printf "%s.postgres.urlSecret.name must name a Secret with the database's URL, unless postgres.bundled.enabled (values-trial.yaml)" .name) }}
{{- end }}
{{- include "agora.secret" (dict "root" .root "name" .name "given" .service.postgres.urlSecret.name) }}
{{- end }}

{{/* The pod of a service; of (root, name, service). */}}
{{- define "agora.pod" -}}
{{- $values := .root.Values }}
{{- $ports := index (include "agora.services" .root | fromYaml) .name }}
{{- $shows := ne .name "post" }}
metadata:
  labels:
    {{- include "agora.labels" . | nindent 4 }}
  {{- with .service.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "agora.fullname" .root }}-{{ .name }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "agora.podSecurity" 65532 | nindent 4 }}
  # The pause before SIGTERM, the drain, and what ends after it.
  terminationGracePeriodSeconds: {{ add $values.server.preStopSeconds $values.server.drainSeconds 15 }}
  topologySpreadConstraints:
    {{- include "agora.spread" (dict "root" .root "name" .name "deployment" (ne .name "query")) | trim | nindent 4 }}
  {{- with .service.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .service.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .service.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .service.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if and $shows (include "agora.signs" .root) }}
  initContainers:
    {{- include "agora.signer" (dict "root" .root "user" (printf "agora-%s" .name) "site" "*" "roles" "service" "lifetime" $values.auth.serviceToken.lifetime) | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "agora.image" (dict "root" .root "name" (printf "agora-%s" .name) "image" .service.image) }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      env:
        {{- include "agora.environment" . | trim | nindent 8 }}
      ports:
        - {name: grpc, containerPort: {{ $ports.grpc }}}
        - {name: http, containerPort: {{ $ports.http }}}
      # That the process is up; not that it is ready, or what takes long to be so would be ended.
      startupProbe:
        grpc: {port: {{ $ports.grpc }}, service: liveness}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ div (.service.startupSeconds | default 300) 2 }}
      readinessProbe:
        grpc: {port: {{ $ports.grpc }}, service: ""}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        grpc: {port: {{ $ports.grpc }}, service: liveness}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        preStop:
          sleep: {seconds: {{ $values.server.preStopSeconds }}}
      # A pod with a wrong setting says so in its status.
      terminationMessagePolicy: FallbackToLogsOnError
      resources:
        {{- toYaml .service.resources | nindent 8 }}
      securityContext:
        {{- include "agora.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: public, mountPath: /etc/agora/public, readOnly: true}
        {{- if eq .name "query" }}
        - {name: data, mountPath: /data}
        {{- end }}
        {{- if $shows }}
        - {name: token, mountPath: /run/agora, readOnly: true}
        {{- end }}
        {{- if $values.nats.credentials.secret }}
        - {name: nats, mountPath: /etc/agora/nats, readOnly: true}
        {{- end }}
        {{- if $values.telemetry.otlpCa.secret }}
        - {name: otlp, mountPath: /etc/agora/otlp, readOnly: true}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: public
      secret:
        secretName: {{ include "agora.secret" (dict "root" .root "name" "auth" "given" $values.auth.publicKeys.secret) }}
        defaultMode: 0440
        items:
          {{- range $values.auth.publicKeys.keys }}
          - {key: {{ . }}, path: {{ . }}}
          {{- end }}
    {{- if and $shows (include "agora.signs" .root) }}
    {{- include "agora.keyVolume" .root | nindent 4 }}
    - name: token
      emptyDir: {medium: Memory, sizeLimit: 1Mi}
    {{- else if $shows }}
    - name: token
      secret:
        secretName: {{ $values.auth.serviceToken.secret }}
        defaultMode: 0440
        items: [{key: {{ $values.auth.serviceToken.key }}, path: token}]
    {{- end }}
    {{- if $values.nats.credentials.secret }}
    - name: nats
      secret:
        secretName: {{ $values.nats.credentials.secret }}
        defaultMode: 0440
        items: [{key: {{ $values.nats.credentials.key }}, path: nats.creds}]
    {{- end }}
    {{- if $values.telemetry.otlpCa.secret }}
    - name: otlp
      secret:
        secretName: {{ $values.telemetry.otlpCa.secret }}
        defaultMode: 0440
        items: [{key: {{ $values.telemetry.otlpCa.key }}, path: ca.crt}]
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
