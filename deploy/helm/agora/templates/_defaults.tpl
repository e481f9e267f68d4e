{{/*
What holds where a value is missing: somebody has set the map around it to null, or a release of an older chart is
upgraded with --reuse-values. The same as in values.yaml; deploy/helm/check.py compares. What is empty or off by default
is left out.
*/}}
{{- define "agora.defaults" -}}
global: {}
installation: {}
image: {pullPolicy: IfNotPresent, digests: {}}
podSecurityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
containerSecurityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
server: {address: 0.0.0.0, maxConnectionAgeSeconds: 300, preStopSeconds: 5, drainSeconds: 10}
telemetry: {log: "info,async_nats=warn", otlpCa: {key: ca.crt}}
auth:
  issuer: agora
  audience: agora
  publicKeys: {keys: [public.pem]}
  privateKey: {key: private.pem}
  serviceToken: {key: token, lifetime: 365d}
secrets: {generate: true}
cli:
  resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
test:
  tokenSecret: {key: token}
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 128Mi}}
{{- range list "post" "comment" "moderation" "query" }}
{{ . }}:
  replicas: 2
  autoscaling: {minReplicas: 2, maxReplicas: 6, cpuPercent: 70}
  serverSecret: {key: secret}
  {{- if eq . "query" }}
  resources: {requests: {cpu: 250m, memory: 256Mi}, limits: {memory: 1Gi}}
  readers: 4
  persistence: {size: 10Gi, whenScaled: Retain}
  fallback:
    postUrlSecret: {key: fallback-post-url}
    commentUrlSecret: {key: fallback-comment-url}
  startupSeconds: 3600
  {{- else }}
  resources: {requests: {cpu: 250m, memory: 128Mi}, limits: {memory: 512Mi}}
  postgres: {urlSecret: {key: url}, readers: 4}
  {{- end }}
{{- end }}
nats:
  streamReplicas: 3
  maxBytes: -1
  login: {userKey: user, passwordKey: password}
  credentials: {key: nats.creds}
  tls: {caKey: ca.crt, certKey: tls.crt, keyKey: tls.key}
  bundled:
    enabled: false
    replicas: 3
    image: nats:2.15-alpine
    uid: 1000
    resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 1Gi}}
    persistence: {size: 10Gi}
postgres:
  bundled:
    image: postgres:17-alpine
    uid: 70
    maxConnections: 200
    resources: {requests: {cpu: 200m, memory: 256Mi}, limits: {memory: 1Gi}}
    persistence: {size: 10Gi}
topologySpread: {hosts: ScheduleAnyway, zones: ScheduleAnyway}
networkPolicy:
  enabled: true
  clients:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}
    - podSelector: {matchLabels: {agora-client: "true"}}
  operators:
    - podSelector: {matchLabels: {agora-operator: "true"}}
  monitoring:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}
  natsPort: 4222
  postgresPort: 5432
  otlpPort: 4317
ingress: {className: nginx, timeoutSeconds: 3600, tls: {enabled: true, secretName: agora-tls}}
gateway: {create: {secretName: agora-tls}}
keda: {prometheusUrl: "http://prometheus-operated.monitoring:9090", requestsInFlight: 50}
probe:
  everyMinutes: 5
  site: smoke
  timeoutSeconds: 30
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 128Mi}}
monitoring:
  serviceMonitors: {enabled: false, interval: 30s}
  prometheusRule: {runbooks: ""}
  dashboards: {labels: {grafana_dashboard: "1"}}
{{- end }}

{{/* Fills in what is missing; every template begins with it. What is null within these is none: they are filled in whole. */}}
{{- define "agora.fill" -}}
{{- include "agora.fillMap" (dict "values" .Values "defaults" (include "agora.defaults" . | fromYaml)) }}
{{- end }}

{{- define "agora.fillMap" -}}
{{- $values := .values }}
{{- range $key, $default := .defaults }}
{{- $value := index $values $key }}
{{- if kindIs "invalid" $value }}
{{- $_ := set $values $key $default }}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) (not (has $key (list "resources" "podSecurityContext" "containerSecurityContext"))) }}
{{- include "agora.fillMap" (dict "values" $value "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}
