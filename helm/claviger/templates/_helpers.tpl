{{- define "claviger.name" -}}
{{- default (ternary .Release.Name (printf "%s-claviger" .Release.Name) (contains "claviger" .Release.Name)) .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "claviger.selector" -}}
app.kubernetes.io/name: claviger
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "claviger.labels" -}}
{{ include "claviger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "claviger.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "claviger.secret" -}}
{{- if eq .Values.secrets.source "existing" -}}{{ .Values.secrets.existing }}{{- else -}}{{ include "claviger.name" . }}{{- end -}}
{{- end -}}

{{- define "claviger.tlsSecret" -}}
{{- default (printf "%s-tls" (include "claviger.name" .)) .Values.tls.existingSecret -}}
{{- end -}}

{{/* Keys of the Secret that nodes use, with the settings that they are. */}}
{{- define "claviger.secretKeys" -}}
{{- if ne .Values.secrets.source "generated" }}
master-key: CLAVIGER_SEAL__MASTER_KEY_FILE
{{- if .Values.secrets.bootstrapToken }}
bootstrap-token: CLAVIGER_BOOTSTRAP_TOKEN_FILE
{{- end }}
{{- if eq .Values.database.kind "postgres" }}
database-url: CLAVIGER_DATABASE__URL_FILE
{{- if .Values.secrets.migrationUrl }}
migration-url: CLAVIGER_DATABASE__MIGRATION_URL_FILE
{{- end }}
{{- end }}
{{- if .Values.redis.enabled }}
redis-url: CLAVIGER_REDIS__URL_FILE
{{- end }}
{{- end }}
{{- end -}}

{{/* Keys of the Secret of channels, with the settings that they are. */}}
{{- define "claviger.channelKeys" -}}
{{- range .Values.alerts.secretKeys }}
{{- $member := regexFind "[a-z]+$" . }}
{{- $channel := trimSuffix (printf ".%s" $member) . }}
{{ . }}: {{ printf "CLAVIGER_CHANNELS__%s__%s_FILE" (regexReplaceAll "[.-]" $channel "_" | upper) (upper $member) }}
{{- end }}
{{- end -}}

{{/* Ports that channels go to. Where a URL is secret, that of https. */}}
{{- define "claviger.channelPorts" -}}
{{- $ports := dict -}}
{{- range $name, $channel := .Values.alerts.channels -}}
{{- $port := "443" -}}
{{- if eq $channel.type "email" -}}
{{- $port = toString (default (ternary 587 465 (eq (default "tls" $channel.tls) "starttls")) $channel.port) -}}
{{- else -}}
{{- $port = default "443" (trimPrefix ":" (regexFind ":[0-9]+$" (urlParse (default "" $channel.url)).host)) -}}
{{- end -}}
{{- $_ := set $ports $port true -}}
{{- end -}}
{{- range keys $ports | sortAlpha }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end -}}

{{- define "claviger.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "claviger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every process of the binary is given. */}}
{{- define "claviger.environment" -}}
{{- range $key, $variable := include "claviger.secretKeys" . | fromYaml }}
- name: {{ $variable }}
  value: /run/secrets/claviger/{{ $key }}
{{- end }}
{{- if eq .Values.database.kind "sqlite" }}
- name: CLAVIGER_DATABASE__URL
  value: sqlite:///var/lib/claviger/claviger.db
{{- else }}
- name: CLAVIGER_DATABASE__MAX_CONNECTIONS
  value: {{ .Values.database.maxConnections | quote }}
{{- end }}
- name: CLAVIGER_AUDIT__DIR
  value: /var/lib/claviger/audit
{{- if .Values.tls.caConfigMap }}
- name: CLAVIGER_TLS__CA_FILE
  value: /run/ca/ca.crt
{{- end }}
{{- end -}}

{{- define "claviger.mounts" -}}
{{- if ne .Values.secrets.source "generated" }}
- name: secrets
  mountPath: /run/secrets/claviger
  readOnly: true
{{- end }}
{{- if .Values.tls.caConfigMap }}
- name: ca
  mountPath: /run/ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* Called with the root and the name of the Secret. */}}
{{- define "claviger.volumes" -}}
{{- $root := .root -}}
{{- if ne $root.Values.secrets.source "generated" }}
- name: secrets
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
    {{- range $key, $_ := include "claviger.secretKeys" $root | fromYaml }}
      - key: {{ $key }}
        path: {{ $key }}
    {{- end }}
{{- end }}
{{- if $root.Values.tls.caConfigMap }}
- name: ca
  configMap:
    name: {{ $root.Values.tls.caConfigMap }}
{{- end }}
{{- end -}}

{{- define "claviger.secretData" -}}
{{- with .Values.secrets.values }}
master-key: {{ .masterKey | quote }}
{{- if $.Values.secrets.bootstrapToken }}
bootstrap-token: {{ .bootstrapToken | quote }}
{{- end }}
{{- if eq $.Values.database.kind "postgres" }}
database-url: {{ .databaseUrl | quote }}
{{- if $.Values.secrets.migrationUrl }}
migration-url: {{ .migrationUrl | quote }}
{{- end }}
{{- end }}
{{- if $.Values.redis.enabled }}
redis-url: {{ .redisUrl | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Combinations that can't work, each with its sentence. */}}
{{- define "claviger.check" -}}
{{- $v := .Values -}}
{{- $sqlite := eq $v.database.kind "sqlite" -}}
{{- if and $sqlite (or (gt (int $v.replicas) 1) $v.autoscaling.enabled) }}{{ fail "SQLite serves one node: set replicas to 1 and autoscaling.enabled to false, or database.kind to postgres." }}{{ end -}}
{{- if and $sqlite (not $v.persistence.enabled) }}{{ fail "SQLite without persistence loses every key with its pod: set persistence.enabled." }}{{ end -}}
{{- if and $sqlite $v.backup.enabled }}{{ fail "The backup job needs PostgreSQL: the volume of SQLite is mounted by its node." }}{{ end -}}
{{- if and (eq $v.secrets.source "generated") (not $sqlite) }}{{ fail "There is no seal secret: with PostgreSQL secrets.source must be existing, values or external, since each node would make its own." }}{{ end -}}
{{- if and (eq $v.secrets.source "generated") $v.redis.enabled }}{{ fail "redis.enabled needs a Secret with redis-url: secrets.source can't be generated." }}{{ end -}}
{{- if and (eq $v.secrets.source "existing") (not $v.secrets.existing) }}{{ fail "There is no seal secret: name the Secret in secrets.existing, or choose another secrets.source." }}{{ end -}}
{{- if eq $v.secrets.source "values" -}}
{{- if lt (len $v.secrets.values.masterKey) 32 }}{{ fail "There is no seal secret: secrets.values.masterKey needs at least 32 bytes." }}{{ end -}}
{{- if and $v.secrets.bootstrapToken (lt (len $v.secrets.values.bootstrapToken) 16) }}{{ fail "secrets.values.bootstrapToken needs at least 16 characters, or secrets.bootstrapToken must be false." }}{{ end -}}
{{- if and (not $sqlite) (not $v.secrets.values.databaseUrl) }}{{ fail "database.kind is postgres: secrets.values.databaseUrl is missing." }}{{ end -}}
{{- if and $v.redis.enabled (not $v.secrets.values.redisUrl) }}{{ fail "redis.enabled is set: secrets.values.redisUrl is missing." }}{{ end -}}
{{- if and $v.secrets.migrationUrl (not $v.secrets.values.migrationUrl) }}{{ fail "secrets.migrationUrl is set: secrets.values.migrationUrl is missing." }}{{ end -}}
{{- end -}}
{{- if and (eq $v.secrets.source "external") (not (and $v.secrets.external.store $v.secrets.external.remoteKey)) }}{{ fail "secrets.source is external: secrets.external.store and secrets.external.remoteKey are needed." }}{{ end -}}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) (not $v.certManager.enabled) }}{{ fail "TLS has no certificate: name a Secret in tls.existingSecret, set certManager.enabled, or set tls.enabled to false and let something else speak TLS." }}{{ end -}}
{{- if and (not $v.tls.enabled) (or $v.certManager.enabled $v.tls.clientCaConfigMap) }}{{ fail "tls.enabled is false: certManager.enabled and tls.clientCaConfigMap mean nothing without it." }}{{ end -}}
{{- if and $v.certManager.enabled (not $v.certManager.issuer) }}{{ fail "certManager.enabled is set: certManager.issuer is missing." }}{{ end -}}
{{- if and (not $v.persistence.enabled) (not (has "stdout" $v.audit.requiredSinks)) }}{{ fail "Without persistence the audit log goes with its pod: put stdout into audit.requiredSinks, or set persistence.enabled." }}{{ end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) }}{{ fail "autoscaling.minReplicas exceeds autoscaling.maxReplicas." }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}{{ fail "ingress.enabled is set: ingress.host is missing." }}{{ end -}}
{{- if and $v.ingress.enabled (not $v.ingress.tlsSecret) }}{{ fail "The Ingress has no certificate: ingress.tlsSecret is missing, and credentials would be readable on their way." }}{{ end -}}
{{- if and $v.gateway.enabled (not (and $v.gateway.name $v.gateway.host)) }}{{ fail "gateway.enabled is set: gateway.name and gateway.host are needed." }}{{ end -}}
{{- if and $v.backup.enabled (not (and $v.backup.recipient $v.backup.existingClaim)) }}{{ fail "backup.enabled is set: backup.recipient and backup.existingClaim are needed." }}{{ end -}}
{{- $own := list "CLAVIGER_SERVER__LISTEN" "CLAVIGER_SERVER__INTERNAL_LISTEN" "CLAVIGER_SERVER__DRAIN_DELAY" "CLAVIGER_SERVER__SHUTDOWN_TIMEOUT" "CLAVIGER_NODE__NAME" "CLAVIGER_DATABASE__URL" "CLAVIGER_DATABASE__MAX_CONNECTIONS" "CLAVIGER_AUDIT__DIR" "CLAVIGER_AUDIT__REQUIRED_SINKS" "CLAVIGER_AUDIT__FSYNC" "CLAVIGER_AUDIT__KEEP" "CLAVIGER_TLS__CERT" "CLAVIGER_TLS__KEY" "CLAVIGER_TLS__CLIENT_CA" "CLAVIGER_TLS__CA_FILE" "CLAVIGER_TOKENS__ISSUER" "CLAVIGER_REDIS__URL" "CLAVIGER_SEAL__MASTER_KEY" "CLAVIGER_BOOTSTRAP_TOKEN" "CLAVIGER_DATABASE__MIGRATION_URL" -}}
{{- if and $v.alerts.secretKeys (not $v.alerts.existingSecret) }}{{ fail "alerts.secretKeys names keys of a Secret: alerts.existingSecret is missing." }}{{ end -}}
{{- range $v.alerts.secretKeys }}{{ if not (hasKey $v.alerts.channels (trimSuffix (printf ".%s" (regexFind "[a-z]+$" .)) .)) }}{{ fail (printf "alerts.secretKeys: %s is of a channel that is not in alerts.channels." .) }}{{ end }}{{ end -}}
{{- range $name, $_ := $v.settings }}{{ if hasPrefix "CLAVIGER_CHANNELS" $name }}{{ fail (printf "settings.%s: channels belong into alerts.channels, and secrets into alerts.existingSecret." $name) }}{{ end }}{{ if has $name $own }}{{ fail (printf "settings.%s: the chart has a value of its own for it, and secrets belong into the Secret." $name) }}{{ end }}{{ end -}}
{{- end -}}
