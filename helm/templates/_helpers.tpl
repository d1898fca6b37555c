{{- define "sky.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sky.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sky.labels" -}}
{{ include "sky.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object: include with (dict "root" $ "suffix" "runner"), and with "namespace" if that is not the release's. */}}
{{- define "sky.metadata" -}}
name: {{ include "sky.fullname" .root }}-{{ .suffix }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "sky.labels" .root | nindent 2 }}
{{- end -}}

{{/* The full reference of an image: include with (dict "image" .Values.image "root" $). Empty without a repository. */}}
{{- define "sky.image" -}}
{{- with .image -}}
{{- if and .repository .digest -}}
{{ .repository }}@{{ .digest }}
{{- else if .repository -}}
{{ .repository }}:{{ .tag | default $.root.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sky.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* The body of a claim that the chart makes, from values with size, storageClassName and accessModes. */}}
{{- define "sky.claimSpec" -}}
accessModes:
  {{- toYaml .accessModes | nindent 2 }}
{{- if eq .storageClassName "-" }}
storageClassName: ""
{{- else if .storageClassName }}
storageClassName: {{ .storageClassName }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{- define "sky.volumeClaim" -}}
{{- .Values.volume.existingClaim | default (printf "%s-state" (include "sky.fullname" .)) -}}
{{- end -}}

{{- define "sky.configMapName" -}}
{{ include "sky.fullname" . }}-config
{{- end -}}

{{- define "sky.providerConfigMapName" -}}
{{ include "sky.fullname" . }}-provider
{{- end -}}

{{- define "sky.deploymentName" -}}
{{- .Values.deploymentName | default (include "sky.fullname" .) -}}
{{- end -}}

{{/* Cluster-wide, so the namespace is part of it; no namespace has ":" in its name. */}}
{{- define "sky.clusterRoleName" -}}
{{ .Release.Namespace }}:{{ include "sky.fullname" . }}-runner
{{- end -}}

{{/* Where SkyPilot makes its clusters. */}}
{{- define "sky.clustersNamespace" -}}
{{- .Values.skyKubernetes.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* All namespaces with clusters of this release, as a YAML list: where they are made, and where they were made before. */}}
{{- define "sky.clusterNamespaces" -}}
{{- if .Values.skyKubernetes.enabled -}}
{{- uniq (prepend .Values.skyKubernetes.formerNamespaces (include "sky.clustersNamespace" .)) | toYaml -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* The name of a ServiceAccount: include with (dict "root" $ "account" .Values.x "path" "x" "suffix" "runner"). */}}
{{- define "sky.serviceAccountName" -}}
{{- if .account.name -}}
{{ .account.name }}
{{- else if .account.create -}}
{{ include "sky.fullname" .root }}-{{ .suffix }}
{{- else -}}
{{- fail (printf "%s.name: name the existing ServiceAccount, or set %s.create to true" .path .path) -}}
{{- end -}}
{{- end -}}

{{- define "sky.runnerServiceAccount" -}}
{{- include "sky.serviceAccountName" (dict "root" . "account" .Values.serviceAccounts.runner "path" "serviceAccounts.runner" "suffix" "runner") -}}
{{- end -}}

{{- define "sky.controllerServiceAccount" -}}
{{- include "sky.serviceAccountName" (dict "root" . "account" .Values.serviceAccounts.controller "path" "serviceAccounts.controller" "suffix" "controller") -}}
{{- end -}}

{{- define "sky.clusterServiceAccount" -}}
{{- include "sky.serviceAccountName" (dict "root" . "account" .Values.serviceAccounts.cluster "path" "serviceAccounts.cluster" "suffix" "cluster") -}}
{{- end -}}

{{/* Who starts clusters, as RoleBinding subjects: the operators' pods, and the controllers wherever they may run. */}}
{{- define "sky.starters" -}}
- kind: ServiceAccount
  name: {{ include "sky.runnerServiceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- range include "sky.clusterNamespaces" . | fromYamlArray }}
- kind: ServiceAccount
  name: {{ include "sky.controllerServiceAccount" $ }}
  namespace: {{ . }}
{{- end }}
{{- end -}}

{{/* SkyPilot's configuration: what the user gave, over what this installation needs. An API server has its own. */}}
{{- define "sky.config" -}}
{{- $defaults := dict -}}
{{- if and .Values.skyKubernetes.enabled (not .Values.apiServer.endpoint) -}}
{{- $kubernetes := dict
      "remote_identity" (include "sky.clusterServiceAccount" .)
      "provision_timeout" (int .Values.skyKubernetes.provisionTimeout) -}}
{{- /* SkyPilot notes it in each cluster's own YAML (provider.namespace), and reads it there for all that follows a launch. */ -}}
{{- with .Values.skyKubernetes.namespace }}{{ $_ := set $kubernetes "namespace" . }}{{ end -}}
{{- if dig "kubernetes" "namespace" "" .Values.config -}}
{{- fail "config.kubernetes.namespace: say it as skyKubernetes.namespace, which makes the rights there too" -}}
{{- end -}}
{{- $_ := set $defaults "kubernetes" $kubernetes -}}
{{- /* The controllers of managed jobs and services start clusters, as the runner does: they have its rights. */ -}}
{{- range $kind := list "jobs" "serve" -}}
{{- $_ := set $defaults $kind (dict "controller" (dict "resources" (dict "_cluster_config_overrides" (dict
      "kubernetes" (dict "remote_identity" (include "sky.controllerServiceAccount" $)))))) -}}
{{- end -}}
{{- end -}}
{{- $config := mustMergeOverwrite $defaults (deepCopy .Values.config) -}}
{{- if $config }}{{ toYaml $config }}{{ else }}{}{{ end }}
{{- end -}}

{{/* Secrets that the operators mount, in the provider's own words. */}}
{{- define "sky.credentials" -}}
{{- $credentials := list -}}
{{- range $index, $entry := .Values.credentials -}}
{{- if ne (kindIs "map" $entry.env) (and (hasKey $entry "connection") (hasKey $entry "env")) -}}
{{- fail (printf "credentials[%d] (%s): env is true of a Secret, and variables with their fields of a connection: {WANDB_API_KEY: password}" $index (or $entry.secretName $entry.connection)) -}}
{{- else if $entry.connection -}}
{{- $credentials = append $credentials (pick $entry "connection" "cloud" "env") -}}
{{- else if and $entry.path $entry.env -}}
{{- fail (printf "credentials[%d] (%s): give either path or env: true, not both" $index $entry.secretName) -}}
{{- else if $entry.path -}}
{{- $credentials = append $credentials (dict "secret" $entry.secretName "path" $entry.path) -}}
{{- else if $entry.env -}}
{{- $credentials = append $credentials (dict "secret" $entry.secretName "env" true) -}}
{{- else -}}
{{- fail (printf "credentials[%d] (%s): say what becomes of the Secret: path: .aws (files) or env: true (variables)" $index $entry.secretName) -}}
{{- end -}}
{{- end -}}
{{- if $credentials }}{{ toJson $credentials }}{{ end -}}
{{- end -}}

{{/* ServiceAccounts that may launch the operators' pods, as RoleBinding subjects. */}}
{{- define "sky.launchers" -}}
{{- $launchers := list -}}
{{- if .Values.airflow.enabled -}}
{{- $launchers = append $launchers (dict "name" (include "sky.airflow.serviceAccount" .) "namespace" .Release.Namespace) -}}
{{- end -}}
{{- range concat $launchers .Values.airflowServiceAccounts -}}
- kind: ServiceAccount
  name: {{ .name }}
  namespace: {{ .namespace }}
{{ end -}}
{{- end -}}
