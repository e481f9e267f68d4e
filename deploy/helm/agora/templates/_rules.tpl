{{- /*
Rules as this installation's own; of (root, rules). Their files are written for a release `agora` in a namespace `agora`,
as they hold for Docker Compose. Without the chart's ServiceMonitors nobody is known to set the label `release`.
*/}}
{{- define "agora.rules" -}}
{{- $full := include "agora.fullname" .root }}
{{- $certificates := list .root.Values.ingress.tls.secretName .root.Values.gateway.create.secretName | compact | uniq | join "|" }}
{{- $release := "" }}
{{- if .root.Values.monitoring.serviceMonitors.enabled }}
{{- $release = printf `,release="%s"` .root.Release.Name }}
{{- end }}
{{- $rules := .rules | replace `namespace="agora"` (printf `namespace="%s"` .root.Release.Namespace) }}
{{- $rules = $rules | replace `,release="agora"` $release }}
{{- $rules = $rules | replace `name=~"agora-tls"` (printf `name=~"%s"` $certificates) }}
{{- $rules = regexReplaceAll `\b((?:deployment|statefulset|pod|cronjob|persistentvolumeclaim)=~?"(?:data-)?)agora-` $rules (printf "${1}%s-" $full) }}
{{- $rules }}
{{- end }}
