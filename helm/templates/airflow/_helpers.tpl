{{- define "sky.airflow.name" -}}
{{ include "sky.fullname" . }}-airflow
{{- end -}}

{{- define "sky.airflow.selectorLabels" -}}
{{ include "sky.selectorLabels" . }}
app.kubernetes.io/component: airflow
{{- end -}}

{{- define "sky.airflow.serviceAccount" -}}
{{- include "sky.serviceAccountName" (dict "root" . "account" .Values.airflow.serviceAccount "path" "airflow.serviceAccount" "suffix" "airflow") -}}
{{- end -}}

{{- define "sky.airflow.secretName" -}}
{{- .Values.airflow.existingSecret | default (include "sky.airflow.name" .) -}}
{{- end -}}

{{- define "sky.airflow.logsClaim" -}}
{{- .Values.airflow.logs.persistence.existingClaim | default (printf "%s-airflow-logs" (include "sky.fullname" .)) -}}
{{- end -}}

{{- define "sky.airflow.image" -}}
{{- include "sky.image" (dict "root" . "image" .Values.airflow.image) | required "airflow.image.repository: name the image with Airflow and the provider (images/airflow), or set airflow.enabled to false" -}}
{{- end -}}

{{- define "sky.airflow.apiPath" -}}
{{- hasPrefix "2." .Values.airflow.version | ternary "/api/v1" "/api/v2" -}}
{{- end -}}

{{- define "sky.airflow.healthPath" -}}
{{- hasPrefix "2." .Values.airflow.version | ternary "/health" "/api/v2/monitor/health" -}}
{{- end -}}

{{/* Environment of Airflow's own containers and of its tasks. */}}
{{- define "sky.airflow.commonEnv" -}}
# The image's entry point need not wait for the database: `prepare` does, and tasks have none.
- name: CONNECTION_CHECK_MAX_COUNT
  value: "0"
# A signal goes to the main process alone, which ends its children in their order.
- name: DUMB_INIT_SETSID
  value: "0"
- name: AIRFLOW_HOME
  value: /opt/airflow
# Airflow writes this file where it is missing, and the root file system is read-only.
- name: AIRFLOW_CONFIG
  value: /tmp/airflow.cfg
- name: AIRFLOW__CORE__DAGS_FOLDER
  value: /opt/airflow/dags
# As in Airflow 3, for the chart's own .airflowignore.
- name: AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX
  value: glob
- name: AIRFLOW__CORE__LOAD_EXAMPLES
  value: "False"
# A small node that is busy takes longer than Airflow's 30 s to read a file, and drops its DAGs then.
- name: AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT
  value: "150"
- name: AIRFLOW__CORE__EXECUTION_API_SERVER_URL
  value: http://{{ include "sky.airflow.name" . }}:{{ .Values.airflow.service.port }}/execution/
# The address needs no name server, and nothing asks for the name: logs are on a shared volume.
- name: AIRFLOW__CORE__HOSTNAME_CALLABLE
  value: airflow.utils.net.get_host_ip_address
- name: AIRFLOW__LOGGING__COLORED_CONSOLE_LOG
  value: "False"
- name: AIRFLOW__LOGGING__DAG_PROCESSOR_LOG_TARGET
  value: stdout
{{- end -}}

{{- define "sky.airflow.envFrom" -}}
- configMapRef:
    name: {{ include "sky.providerConfigMapName" . }}
{{- with .Values.airflow.extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The database and the key of what is encrypted in it: for Airflow's own containers, and for the tasks of Airflow 2. */}}
{{- define "sky.airflow.databaseEnv" -}}
- name: AIRFLOW__CORE__FERNET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "sky.airflow.secretName" . }}, key: fernet-key}}
- name: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN
{{- if .Values.airflow.database.existingSecret }}
  valueFrom: {secretKeyRef: {name: {{ .Values.airflow.database.existingSecret }}, key: {{ .Values.airflow.database.existingSecretKey }}}}
{{- else if .Values.airflow.database.uri }}
  valueFrom: {secretKeyRef: {name: {{ include "sky.airflow.name" . }}-database, key: connection}}
{{- else if hasPrefix "2." .Values.airflow.version }}
{{- fail "airflow.database: the tasks of Airflow 2 need a database that their pods reach: set existingSecret or uri" -}}
{{- else }}
  value: sqlite:////opt/airflow/state/airflow.db
{{- end }}
{{- end -}}

{{/* Who may call the API: SimpleAuthManager's user, or in Airflow 2 a user of its database with a password. */}}
{{- define "sky.airflow.apiEnv" -}}
{{- $secret := include "sky.airflow.secretName" . -}}
{{- if hasPrefix "2." .Values.airflow.version -}}
- name: AIRFLOW__API__AUTH_BACKENDS
  value: airflow.providers.fab.auth_manager.api.auth.backend.basic_auth,airflow.api.auth.backend.session
- name: AIRFLOW__WEBSERVER__SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: api-secret-key}}
- name: AIRFLOW__WEBSERVER__WORKERS
  value: "1"
# Airflow writes this file where it is missing, and the root file system is read-only.
- name: AIRFLOW__WEBSERVER__CONFIG_FILE
  value: /tmp/webserver_config.py
{{- else -}}
- name: AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS
  value: {{ printf "%s:admin" .Values.airflow.admin.username | quote }}
- name: AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
  value: /opt/airflow/state/passwords.json
- name: AIRFLOW__API_AUTH__JWT_SECRET
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: jwt-secret}}
- name: AIRFLOW__API__SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: api-secret-key}}
{{- end }}
{{- end -}}

{{/* Environment of Airflow's own containers only: in Airflow 3, tasks run the users' code and get no key and no database. */}}
{{- define "sky.airflow.serverEnv" -}}
{{- include "sky.airflow.commonEnv" . }}
{{ include "sky.airflow.databaseEnv" . }}
{{ include "sky.airflow.apiEnv" . }}
- name: AIRFLOW__CORE__EXECUTOR
  value: KubernetesExecutor
- name: AIRFLOW__CORE__PARALLELISM
  value: {{ .Values.airflow.parallelism | quote }}
- name: AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION
  value: "False"
- name: AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT
  value: "180"
- name: AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL
  value: {{ .Values.airflow.dagRefreshInterval | quote }}
- name: AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK
  value: "True"
{{- if hasPrefix "2." .Values.airflow.version }}
- name: AIRFLOW__SCHEDULER__STANDALONE_DAG_PROCESSOR
  value: "True"
- name: AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL
  value: {{ .Values.airflow.dagRefreshInterval | quote }}
{{- end }}
- name: AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE
  value: {{ .Release.Namespace | quote }}
- name: AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE
  value: /opt/airflow/worker/pod_template.yaml
- name: AIRFLOW__KUBERNETES_EXECUTOR__DELETE_WORKER_PODS
  value: "True"
- name: AIRFLOW__KUBERNETES_EXECUTOR__DELETE_WORKER_PODS_ON_FAILURE
  value: "True"
- name: AIRFLOW__KUBERNETES_EXECUTOR__WORKER_PODS_CREATION_BATCH_SIZE
  value: "8"
{{- end -}}

{{/* Environment of a task's own pod. The task runs in that very pod, hence LocalExecutor. */}}
{{- define "sky.airflow.workerEnv" -}}
{{ include "sky.airflow.commonEnv" . }}
- name: AIRFLOW__CORE__EXECUTOR
  value: LocalExecutor
{{- if hasPrefix "2." .Values.airflow.version }}
{{ include "sky.airflow.databaseEnv" . }}
{{- end }}
{{- end -}}

{{- define "sky.airflow.prepareEnv" -}}
- name: ADMIN_USERNAME
  value: {{ .Values.airflow.admin.username | quote }}
- name: ADMIN_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "sky.airflow.secretName" . }}, key: admin-password}}
{{- end -}}

{{/* The chart's variables and, in the place of those with the same name, airflow.extraEnv: Kubernetes refuses a name twice. */}}
{{- define "sky.airflow.env" -}}
{{- $extra := .root.Values.airflow.extraEnv -}}
{{- $taken := dict -}}
{{- range $extra }}{{ $_ := set $taken .name true }}{{ end -}}
{{- range fromYamlArray .env -}}
{{- if not (hasKey $taken .name) -}}
{{- $extra = append $extra . -}}
{{- end -}}
{{- end -}}
{{- toYaml $extra -}}
{{- end -}}

{{/* The same places in Airflow's own containers and in its tasks' pods; nothing else can be written to. */}}
{{- define "sky.airflow.commonMounts" -}}
- name: dags
  mountPath: /opt/airflow/dags
  readOnly: true
- name: logs
  mountPath: /opt/airflow/logs
- name: tmp
  mountPath: /tmp
{{- end -}}

{{/*
The files of airflow.dags.files with our .airflowignore: path -> content. Kubernetes shows the files through links to
"..data"; Airflow stops with "recursive loop" when it follows them.
*/}}
{{- define "sky.airflow.dagFiles" -}}
{{- $files := deepCopy .Values.airflow.dags.files -}}
{{- $_ := set $files ".airflowignore" (printf "..*\n%s" (get $files ".airflowignore")) -}}
{{- $keys := list -}}
{{- range $path, $content := $files -}}
{{- $key := replace "/" "__" $path -}}
{{- if has $key $keys -}}
{{- fail (printf "airflow.dags.files: %s and another file would be the same key %s of a ConfigMap; rename one" $path $key) -}}
{{- end -}}
{{- $keys = append $keys $key -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{- define "sky.airflow.commonVolumes" -}}
{{- $dags := .Values.airflow.dags -}}
{{- if and $dags.existingClaim (or $dags.configMap $dags.files) -}}
{{- fail "airflow.dags.existingClaim: DAGs come from this claim or from airflow.dags.configMap and airflow.dags.files, not from both" -}}
{{- end -}}
- name: dags
{{- if $dags.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ $dags.existingClaim }}
    readOnly: true
{{- else }}
  projected:
    sources:
      {{- with $dags.configMap }}
      - configMap:
          name: {{ . }}
      {{- end }}
      # The last one wins where file names meet: Airflow needs our .airflowignore.
      - configMap:
          name: {{ include "sky.airflow.name" . }}-dags
          {{- $files := include "sky.airflow.dagFiles" . | fromJson }}
          {{- if contains "/" (keys $files | join " ") }}
          # A key of a ConfigMap has no slash.
          items:
            {{- range $path, $content := $files }}
            - {key: {{ replace "/" "__" $path | quote }}, path: {{ $path | quote }}}
            {{- end }}
          {{- end }}
{{- end }}
- name: logs
{{- if .Values.airflow.logs.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "sky.airflow.logsClaim" . }}
{{- else }}
  emptyDir: {}
{{- end }}
- name: tmp
  emptyDir: {}
{{- end -}}

{{/*
A script instead of a file: it puts the password where SimpleAuthManager reads it, then makes or upgrades the tables,
once a database elsewhere answers. In Airflow 2 the user is in the database; the password goes by standard input, for no
list of processes to show it.
*/}}
{{- define "sky.airflow.prepare" -}}
import json, os, pathlib, subprocess
{{- if not (hasPrefix "2." .Values.airflow.version) }}
passwords = pathlib.Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
passwords.write_text(json.dumps({os.environ["ADMIN_USERNAME"]: os.environ["ADMIN_PASSWORD"]}))
{{- end }}
{{- if or .Values.airflow.database.existingSecret .Values.airflow.database.uri }}
subprocess.run(["airflow", "db", "check", "--retry", "60", "--retry-delay", "2"], check=True)
{{- end }}
{{- if hasPrefix "2." .Values.airflow.version }}
subprocess.run(["airflow", "db", "migrate"], check=True)
username, password = os.environ["ADMIN_USERNAME"], os.environ["ADMIN_PASSWORD"]
user = ["--username", username, "--firstname", "Airflow", "--lastname", "Admin", "--email", f"{username}@example.com"]
subprocess.run(
    ["airflow", "users", "create", *user, "--role", "Admin"],
    check=True, input=f"{password}\n{password}\n", text=True, start_new_session=True,
)
{{- else }}
os.execvp("airflow", ["airflow", "db", "migrate"])
{{- end }}
{{- end -}}

{{- define "sky.airflow.placement" -}}
{{- with .Values.airflow.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.airflow.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.airflow.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A ReadWriteOnce volume with the logs binds the tasks to Airflow's node; Kubernetes' scheduler does not see that. */}}
{{- define "sky.airflow.workerAffinity" -}}
{{- $logs := .Values.airflow.logs.persistence -}}
{{- if and $logs.enabled (not $logs.existingClaim) (has "ReadWriteOnce" $logs.accessModes) (not .Values.airflow.affinity) -}}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "sky.airflow.selectorLabels" . | nindent 12 }}
{{- end -}}
{{- end -}}

{{/*
One of Airflow's own containers: include with (dict "root" $ "name" "scheduler" "args" (list "airflow" "scheduler")
"resources" ...). The image's entrypoint stays in charge, so that its init process reaps and forwards signals.
*/}}
{{- define "sky.airflow.container" -}}
- name: {{ .name }}
  image: {{ include "sky.airflow.image" .root }}
  imagePullPolicy: {{ .root.Values.airflow.image.pullPolicy }}
  args:
    {{- toYaml .args | nindent 4 }}
  env:
    {{- $env := printf "%s\n%s" (include "sky.airflow.serverEnv" .root) (.env | default "") }}
    {{- include "sky.airflow.env" (dict "root" .root "env" $env) | nindent 4 }}
  envFrom:
    {{- include "sky.airflow.envFrom" .root | nindent 4 }}
  volumeMounts:
    {{- include "sky.airflow.serverMounts" .root | nindent 4 }}
  securityContext:
    {{- toYaml .root.Values.airflow.containerSecurityContext | nindent 4 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
{{- end -}}

{{- define "sky.airflow.serverMounts" -}}
{{ include "sky.airflow.commonMounts" . }}
- name: state
  mountPath: /opt/airflow/state
- name: worker
  mountPath: /opt/airflow/worker
  readOnly: true
{{- end -}}

{{/*
A liveness probe for a component without a port: what the API server in the same pod says of its heartbeat.
When the API server itself does not answer, its own probe is the one to act.
*/}}
{{- define "sky.airflow.heartbeatProbe" -}}
exec:
  command:
    - python
    - -c
    - |
      import json, sys, urllib.request
      try:
          with urllib.request.urlopen("http://localhost:8080{{ include "sky.airflow.healthPath" .root }}", timeout=20) as answer:
              status = json.load(answer)[{{ .component | quote }}]["status"]
      except OSError:
          sys.exit(0)
      sys.exit(0 if status in ("healthy", None) else f"{{ .component }} is {status}")
initialDelaySeconds: 120
periodSeconds: 60
timeoutSeconds: 30
failureThreshold: 5
{{- end -}}
