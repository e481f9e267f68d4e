{{/* What names begin with: the release's name, and the chart's unless that holds it. */}}
{{- define "agora.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that select pods; of (root, name). */}}
{{- define "agora.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Labels of everything; of (root, name). */}}
{{- define "agora.labels" -}}
{{ include "agora.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: agora
{{- end }}

{{/* The services: what they are called by over gRPC, and where. */}}
{{- define "agora.services" -}}
post: {grpc: 7401, http: 7481, rpc: agora.post.v1.PostService}
comment: {grpc: 7402, http: 7482, rpc: agora.comment.v1.CommentService}
moderation: {grpc: 7403, http: 7483, rpc: agora.moderation.v1.ModerationService}
query: {grpc: 7404, http: 7484, rpc: agora.query.v1.QueryService}
{{- end }}

{{/* An image, by its digest if that is given; of (root, name, image), the last one a whole reference or empty. */}}
{{- define "agora.image" -}}
{{- $image := .root.Values.image }}
{{- $name := .name }}
{{- with $image.registry }}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name }}
{{- end }}
{{- $version := printf ":%s" (default .root.Chart.AppVersion $image.tag) }}
{{- with index $image.digests (eq .name "agora" | ternary "cli" (trimPrefix "agora-" .name)) }}
{{- $version = printf "@%s" . }}
{{- end }}
{{- .image | default (print $name $version) | quote }}
{{- end }}

{{/* The name of a Secret; of (root, name, given). */}}
{{- define "agora.secret" -}}
{{- .given | default (printf "%s-%s" (include "agora.fullname" .root) .name) }}
{{- end }}

{{/* Labels or annotations: the chart's, and those that are given; of (chart, given, where). */}}
{{- define "agora.joined" -}}
{{- range $key, $_ := .given }}
{{- if hasKey $.chart $key }}
{{- fail (printf "%s: %s is set by the chart, it cannot be given" $.where $key) }}
{{- end }}
{{- end }}
{{- merge .chart .given | toYaml }}
{{- end }}

{{/* Fails where something is given twice; of (chart, given, by, where): lists, and the field that tells things apart. */}}
{{- define "agora.unique" -}}
{{- $seen := dict }}
{{- range .chart }}
{{- $_ := set $seen (index . $.by) "is set by the chart, it cannot be given" }}
{{- end }}
{{- range .given }}
{{- $key := index . $.by }}
{{- with index $seen $key }}
{{- fail (printf "%s: %s %s" $.where $key .) }}
{{- end }}
{{- $_ := set $seen $key "is given twice" }}
{{- end }}
{{- end }}

{{/* Spreads a component's pods; of (root, name, deployment), the last one whether each rollout counts by itself. */}}
{{- define "agora.spread" -}}
{{- range $key, $when := dict "kubernetes.io/hostname" .root.Values.topologySpread.hosts "topology.kubernetes.io/zone" .root.Values.topologySpread.zones }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: {{ $when }}
  labelSelector:
    matchLabels:
      {{- include "agora.selector" $ | nindent 6 }}
  {{- if $.deployment }}
  matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/*
The number of replicas; of (root, name, kind, replicas, scaled). Of what is scaled it is what it is now: were it
left out, who had set it before would give it up, and Kubernetes would go on with one.
*/}}
{{- define "agora.replicas" -}}
{{- if not .scaled }}
replicas: {{ .replicas }}
{{- else }}
{{- with lookup "apps/v1" .kind .root.Release.Namespace (printf "%s-%s" (include "agora.fullname" .root) .name) }}
replicas: {{ .spec.replicas }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether pods sign their tokens themselves. */}}
{{- define "agora.signs" -}}
{{- if not .Values.auth.serviceToken.secret }}true{{ end }}
{{- end }}

{{/* The addresses of NATS. */}}
{{- define "agora.natsUrl" -}}
{{- if .Values.nats.bundled.enabled }}
{{- $name := printf "%s-nats" (include "agora.fullname" .) }}
{{- $servers := list }}
{{- range $index := until (int .Values.nats.bundled.replicas) }}
{{- $servers = append $servers (printf "nats://%s-%d.%s-headless:4222" $name $index $name) }}
{{- end }}
{{- join "," $servers }}
{{- else }}
{{- required "nats.url must say where NATS is, unless nats.bundled.enabled (values-trial.yaml)" .Values.nats.url }}
{{- end }}
{{- end }}

{{/* The Secret with the login to NATS, if there is one. */}}
{{- define "agora.natsLogin" -}}
{{- if or .Values.nats.bundled.enabled .Values.nats.login.secret }}
{{- include "agora.secret" (dict "root" . "name" "nats" "given" .Values.nats.login.secret) }}
{{- end }}
{{- end }}

{{/* The files for TLS to NATS, and the Secret's key of each. */}}
{{- define "agora.natsTls" -}}
{{- $tls := .Values.nats.tls }}
{{- if $tls.secret }}
{{- if .Values.nats.bundled.enabled }}
{{- fail "nats.tls.secret is for servers that nats.url names: those of nats.bundled speak without TLS" }}
{{- end }}
{{- with $tls.caKey }}
ca: {{ . }}
{{- end }}
{{- if $tls.clientCertificate }}
cert: {{ $tls.certKey }}
key: {{ $tls.keyKey }}
{{- end }}
{{- end }}
{{- end }}

{{/* Selects the pods of the release that call others. */}}
{{- define "agora.selectsCallers" -}}
matchLabels:
  app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
  app.kubernetes.io/instance: {{ .Release.Name }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [post, comment, moderation, query, test]}
{{- end }}
