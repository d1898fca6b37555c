from __future__ import annotations

from airflow import __version__
from packaging.version import Version

_V = Version(Version(__version__).base_version).release[:2]
AIRFLOW_V_2_10_PLUS = _V >= (2, 10)
AIRFLOW_V_2_11_PLUS = _V >= (2, 11)
AIRFLOW_V_3_0_PLUS = _V >= (3, 0)
AIRFLOW_V_3_1_PLUS = _V >= (3, 1)
AIRFLOW_V_3_2_PLUS = _V >= (3, 2)
AIRFLOW_V_3_3_PLUS = _V >= (3, 3)
