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
                    "k8s_sky_provider.operators.cluster",
                    "k8s_sky_provider.operators.launch",
                ],
            }
        ],
        "config": {
            "skypilot": {
                "description": "Defaults of the Sky operators; an operator's own argument beats them.",
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
                    "config_map": _option("ConfigMap whose key config.yaml is SkyPilot's configuration."),
                    "credentials": _option(
                        "Secrets with cloud credentials, a JSON list.",
                        example='[{"secret": "aws-credentials", "path": ".aws"}]',
                        default="[]",
                    ),
                    "default_image_id": _option(
                        "Image of launched clusters whose task names none, for clusters without internet access.",
                        example="docker:registry.example.com/k8s-sky/skypilot-cluster:0.1.0",
                    ),
                    "allow_network_file_system": _option(
                        "Accept SkyPilot's SQLite state on a network file system.", kind="boolean", default="False"
                    ),
                },
            }
        },
    }
