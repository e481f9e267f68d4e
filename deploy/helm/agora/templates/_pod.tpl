{{/*
What every pod of the chart has alike; of (root, own, uid): `own` says where its pods go, in place of what is global.
OpenShift chooses the ids itself: an id that podSecurityContext does not have, no pod has.
*/}}
{{- define "agora.podSettings" -}}
{{- $values := .root.Values }}
{{- $own := .own | default dict }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with concat ($values.global.imagePullSecrets | default list) ($values.image.pullSecrets | default list) }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "map" . | ternary . (dict "name" .) | dig "name" "" }}
  {{- end }}
{{- end }}
{{- $security := deepCopy ($values.podSecurityContext | default dict) }}
{{- range $id := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- if kindIs "invalid" (index $security $id) }}
{{- $_ := unset $security $id }}
{{- else if $.uid }}
{{- $_ := set $security $id $.uid }}
{{- end }}
{{- end }}
{{- with $security }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $setting := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $own $setting | default (index $values.global $setting) }}
{{ $setting }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $own.priorityClassName | default $values.global.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* A container's securityContext and resources, if it has any; of (root, resources). */}}
{{- define "agora.containerSettings" -}}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A pod's labels and annotations; of (root, name, own, annotations), the last ones the chart's. */}}
{{- define "agora.podMetadata" -}}
{{- $own := .own | default dict }}
{{- $global := .root.Values.global }}
labels:
  {{- $labels := merge dict ($own.podLabels | default dict) ($global.podLabels | default dict) }}
  {{- include "agora.joined" (dict "chart" (include "agora.labels" . | fromYaml) "given" $labels "where" (printf "podLabels of %s" .name)) | nindent 2 }}
{{- $annotations := merge dict ($own.podAnnotations | default dict) ($global.podAnnotations | default dict) }}
{{- if or .annotations $annotations }}
annotations:
  {{- include "agora.joined" (dict "chart" (.annotations | default dict) "given" $annotations "where" (printf "podAnnotations of %s" .name)) | nindent 2 }}
{{- end }}
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
  {{- include "agora.containerSettings" (dict "root" .root "resources" .root.Values.cli.resources) | trim | nindent 2 }}
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

{{/* Where a service finds the chart's volumes; of (root, name). */}}
{{- define "agora.mounts" -}}
{{- $values := .root.Values }}
- {name: tmp, mountPath: /tmp}
- {name: public, mountPath: /etc/agora/public, readOnly: true}
{{- if eq .name "query" }}
- {name: data, mountPath: /data}
{{- end }}
{{- if ne .name "post" }}
- {name: token, mountPath: /run/agora, readOnly: true}
{{- end }}
{{- if $values.nats.credentials.secret }}
- {name: nats, mountPath: /etc/agora/nats, readOnly: true}
{{- end }}
{{- if $values.telemetry.otlpCa.secret }}
- {name: otlp, mountPath: /etc/agora/otlp, readOnly: true}
{{- end }}
{{- if $values.nats.tls.secret }}
- {name: nats-tls, mountPath: /etc/agora/nats-tls, readOnly: true}
{{- end }}
{{- end }}

{{/* The volumes that the chart gives a service's pod, that of query's view aside; of (root, name). */}}
{{- define "agora.volumes" -}}
{{- $values := .root.Values }}
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
{{- if eq .name "post" }}
{{- else if include "agora.signs" .root }}
{{ include "agora.keyVolume" .root }}
- name: token
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- else }}
- name: token
  secret:
    secretName: {{ $values.auth.serviceToken.secret }}
    defaultMode: 0440
    items: [{key: {{ $values.auth.serviceToken.key }}, path: token}]
{{- end }}
{{- if $values.telemetry.otlpCa.secret }}
- name: otlp
  secret:
    secretName: {{ $values.telemetry.otlpCa.secret }}
    defaultMode: 0440
    items: [{key: {{ $values.telemetry.otlpCa.key }}, path: ca.crt}]
{{- end }}
{{- if $values.nats.credentials.secret }}
- name: nats
  secret:
    secretName: {{ $values.nats.credentials.secret }}
    defaultMode: 0440
    items: [{key: {{ $values.nats.credentials.key }}, path: nats.creds}]
{{- end }}
{{- with include "agora.natsTls" .root | fromYaml }}
- name: nats-tls
  secret:
    secretName: {{ $values.nats.tls.secret }}
    defaultMode: 0440
    items:
      {{- range $file, $key := . }}
      - {key: {{ $key }}, path: {{ $file }}.pem}
      {{- end }}
{{- end }}
{{- end }}

{{/* The pod of a service; of (root, name, service). */}}
{{- define "agora.pod" -}}
{{- $values := .root.Values }}
{{- $service := .service }}
{{- $ports := index (include "agora.services" .root | fromYaml) .name }}
{{- $variables := include "agora.variables" $service.env | fromYamlArray }}
{{- include "agora.unique" (dict "chart" (include "agora.environment" . | fromYamlArray) "given" $variables "by" "name" "where" (printf "%s.env" .name)) }}
{{- $mounts := concat ($values.extraVolumeMounts | default list) ($service.extraVolumeMounts | default list) }}
{{- include "agora.unique" (dict "chart" (include "agora.mounts" . | fromYamlArray) "given" $mounts "by" "mountPath" "where" (printf "extraVolumeMounts of %s" .name)) }}
{{- $volumes := concat ($values.extraVolumes | default list) ($service.extraVolumes | default list) }}
{{- include "agora.unique" (dict "chart" (append (include "agora.volumes" . | fromYamlArray) (dict "name" "data")) "given" $volumes "by" "name" "where" (printf "extraVolumes of %s" .name)) }}
{{- $signs := and (ne .name "post") (include "agora.signs" .root) }}
{{- $containers := concat ($service.extraInitContainers | default list) ($service.extraContainers | default list) }}
{{- include "agora.unique" (dict "chart" (list (dict "name" .name) (dict "name" "token")) "given" $containers "by" "name" "where" (printf "extraInitContainers and extraContainers of %s" .name)) }}
metadata:
  {{- include "agora.podMetadata" (dict "root" .root "name" .name "own" $service) | trim | nindent 2 }}
spec:
  serviceAccountName: {{ include "agora.fullname" .root }}-{{ .name }}
  {{- include "agora.podSettings" (dict "root" .root "own" $service) | trim | nindent 2 }}
  # The pause before SIGTERM, the drain, and what ends after it.
  terminationGracePeriodSeconds: {{ add $values.server.preStopSeconds $values.server.drainSeconds 15 }}
  topologySpreadConstraints:
    {{- include "agora.spread" (dict "root" .root "name" .name "deployment" (ne .name "query")) | trim | nindent 4 }}
  {{- if or $signs $service.extraInitContainers }}
  initContainers:
    {{- if $signs }}
    {{- include "agora.signer" (dict "root" .root "user" (printf "agora-%s" .name) "site" "*" "roles" "service" "lifetime" $values.auth.serviceToken.lifetime) | nindent 4 }}
    {{- end }}
    {{- with $service.extraInitContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ .name }}
      image: {{ include "agora.image" (dict "root" .root "name" (printf "agora-%s" .name) "image" $service.image) }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      env:
        {{- include "agora.environment" . | trim | nindent 8 }}
        {{- with $variables }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: grpc, containerPort: {{ $ports.grpc }}}
        - {name: http, containerPort: {{ $ports.http }}}
      # That the process is up; not that it is ready, or what takes long to be so would be ended.
      startupProbe:
        grpc: {port: {{ $ports.grpc }}, service: liveness}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: {{ div ($service.startupSeconds | default 300) 2 }}
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
      {{- include "agora.containerSettings" (dict "root" .root "resources" $service.resources) | trim | nindent 6 }}
      volumeMounts:
        {{- include "agora.mounts" . | trim | nindent 8 }}
        {{- with $mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $service.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "agora.volumes" . | trim | nindent 4 }}
    {{- with $volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
