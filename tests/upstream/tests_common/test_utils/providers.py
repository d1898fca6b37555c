from __future__ import annotations


def get_provider_min_airflow_version(name: str) -> tuple[int, int]:
    return (2, 11)
