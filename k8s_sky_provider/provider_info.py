"""What Airflow's provider discovery reads through the ``apache_airflow_provider`` entry point."""

from __future__ import annotations

from typing import Any


def _option(
    description: str, *, kind: str = "string", example: str | None = None, default: str | None = None
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }


def _field(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-skypilot-k8s",
        "name": "SkyPilot on Kubernetes",
        "description": "Runs SkyPilot actions in Kubernetes pods that share one SkyPilot state.",
        "integrations": [
            {"integration-name": "SkyPilot", "external-doc-url": "https://docs.skypilot.co/", "tags": ["service"]}
        ],
        "operators": [
            {
                "integration-name": "SkyPilot",
                "python-modules": [
                    "k8s_sky_provider.operators.bash",
                    "k8s_sky_provider.operators.cluster",
                    "k8s_sky_provider.operators.cluster_jobs",
                    "k8s_sky_provider.operators.infra",
                    "k8s_sky_provider.operators.jobs",
                    "k8s_sky_provider.operators.launch",
                    "k8s_sky_provider.operators.reap",
                    "k8s_sky_provider.operators.rsync",
                    "k8s_sky_provider.operators.serve",
                    "k8s_sky_provider.operators.ssh",
                    "k8s_sky_provider.operators.storage",
                ],
            }
        ],
        "hooks": [{"integration-name": "SkyPilot", "python-modules": ["k8s_sky_provider.hooks.skypilot"]}],
        "connection-types": [
            {
                "connection-type": "skypilot",
                "hook-class-name": "k8s_sky_provider.hooks.skypilot.SkyPilotHook",
                "hook-name": "SkyPilot",
                # An option of [skypilot] each, and of the same meaning; host is api_server_endpoint.
                "conn-fields": {
                    "namespace": _field("Namespace", "Namespace of the pods."),
                    "image": _field("Image", "SkyPilot image with the runner."),
                    "volume_claim": _field("Volume claim", "PersistentVolumeClaim with SkyPilot's state."),
                    "config_map": _field("Config map", "ConfigMap whose key config.yaml is SkyPilot's configuration."),
                    "service_account_name": _field("Service account", "ServiceAccount of the pods."),
                    "credentials": _field(
                        "Credentials (JSON list)", "Secrets and Airflow connections with cloud credentials."
                    ),
                    "state_mode": _field(
                        "State mode", "Where SkyPilot's state lives: volume (default), database or api_server."
                    ),
                    "database_secret": _field(
                        "Database secret (name/key)", "Secret and key with the URI of SkyPilot's PostgreSQL."
                    ),
                    "api_server_endpoint_secret": _field(
                        "API server endpoint secret (name/key)", "Secret and key with the server's URL with a password."
                    ),
                    "api_server_token_secret": _field(
                        "API server token secret (name/key)", "Secret and key with the API server's token."
                    ),
                    "dashboard_url": _field("Dashboard URL", "SkyPilot's dashboard, for the links of the tasks."),
                    "default_image_id": _field("Default image id", "Image of launched clusters whose task names none."),
                    "default_resources": _field(
                        "Default resources (JSON)", "Resources where neither the operator nor the task says them."
                    ),
                    "deployment": _field("Deployment", "SkyPilot's user id and a label of every pod."),
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "port", "extra"],
                    "relabeling": {"host": "API server endpoint"},
                    "placeholders": {
                        "host": "https://sky.example.com",
                        "image": "registry.example.com/k8s-sky/skypilot:0.1.0",
                        "state_mode": "volume",
                        "database_secret": "sky-database/uri",
                        "api_server_token_secret": "sky-api-server/token",
                        "credentials": '[{"secret": "aws-credentials", "path": ".aws"}]',
                        "default_resources": '{"infra": "aws", "cpus": "4+"}',
                    },
                },
            }
        ],
        "extra-links": [
            "k8s_sky_provider.links.skypilot.SkyPilotDashboardLink",
            "k8s_sky_provider.links.skypilot.SkyJobLogLink",
            "k8s_sky_provider.links.skypilot.SkyServeEndpointLink",
        ],
        "task-decorators": [{"class-name": "k8s_sky_provider.decorators.sky_task", "name": "sky"}],
        "config": {
            "skypilot": {
                "description": "Defaults of the Sky operators; an argument and the SkyPilot connection beat them.",
                "options": {
                    "deployment": _option(
                        "Name of this deployment: SkyPilot's user id and a label of every pod.", default="airflow"
                    ),
                    "image": _option(
                        "SkyPilot image with the runner.", example="registry.example.com/k8s-sky/skypilot:0.1.0"
                    ),
                    "image_pull_policy": _option("Pull policy of that image.", example="IfNotPresent"),
                    "image_pull_secrets": _option("Secrets for the registry, separated by commas."),
                    "namespace": _option("Namespace of the pods.", example="k8s-sky"),
                    "service_account_name": _option("ServiceAccount of the pods.", example="sky-k8s-sky-runner"),
                    "volume_claim": _option(
                        "PersistentVolumeClaim with SkyPilot's state.", example="sky-k8s-sky-state"
                    ),
                    "state_mode": _option(
                        "Where SkyPilot's state lives: volume, database or api_server.",
                        example="database",
                        default="volume",
                    ),
                    "database_secret": _option(
                        "Secret and key, as name/key, with the URI of SkyPilot's PostgreSQL.",
                        example="sky-database/uri",
                    ),
                    "api_server_endpoint": _option(
                        "URL of the SkyPilot API server of state_mode api_server, and for the links of the tasks.",
                        example="https://sky.example.com",
                    ),
                    "api_server_endpoint_secret": _option(
                        "Secret and key, as name/key, with that URL where it has a name and a password in it.",
                        example="sky-api-server/url",
                    ),
                    "api_server_token_secret": _option(
                        "Secret and key, as name/key, with the token of a service account of the API server.",
                        example="sky-api-server/token",
                    ),
                    "dashboard_url": _option(
                        "SkyPilot's dashboard, if it is not the API server's.",
                        example="https://sky.example.com/dashboard",
                    ),
                    "config_map": _option("ConfigMap whose key config.yaml is SkyPilot's configuration."),
                    "credentials": _option(
                        "Secrets and Airflow connections with cloud credentials, a JSON list.",
                        example='[{"secret": "aws-credentials", "path": ".aws"}, {"connection": "gcp_default"}]',
                        default="[]",
                    ),
                    "default_image_id": _option(
                        "Image of launched clusters whose task names none, for clusters without internet access.",
                        example="docker:registry.example.com/k8s-sky/skypilot-cluster:0.1.0",
                    ),
                    "default_resources": _option(
                        "Resources of launched clusters where neither the operator nor the task says them, as JSON.",
                        example='{"infra": "aws", "cpus": "4+"}',
                    ),
                    "local_files_limit_mb": _option(
                        "Megabytes that the packed files beside a DAG may have which travel with a task.",
                        kind="integer",
                        example="5",
                        default="1",
                    ),
                    "allow_network_file_system": _option(
                        "Accept SkyPilot's SQLite state on a network file system.", kind="boolean", default="False"
                    ),
                },
            }
        },
    }
