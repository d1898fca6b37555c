"""What runs an operator up to its pod."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from unit.k8s_sky_provider.operators.every_parameter import OF_THE_POD, Airflow, Send
from unit.k8s_sky_provider.operators.running import context_of

if TYPE_CHECKING:
    from k8s_sky_provider.operators import SkyBaseOperator


class PodError(Exception):
    """The operator has come so far that it makes its pod; the text is what is to become of it."""


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Send:
    """Return what runs an operator up to its pod, at first or after a deferral, and tells what is sent."""

    def reached(self: SkyBaseOperator, context: Any, event: Any = None) -> None:
        request = dataclasses.asdict(self._build_request(context))
        pod = {name: getattr(self, name) for name in [*OF_THE_POD, "schedule_timeout_seconds"]}
        raise PodError(json.dumps({**pod, **{key: request[key] for key in ("arguments", "on_cancel", "owner")}}))

    monkeypatch.setattr(KubernetesPodOperator, "execute", reached)
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", reached)

    def run(operator: SkyBaseOperator, method: str = "execute", **more: Any) -> dict[str, Any]:
        context = context_of(operator, Airflow())
        operator.render_template_fields(context)
        with pytest.raises(PodError) as caught:
            getattr(operator, method)(context, **more)
        sent: dict[str, Any] = json.loads(str(caught.value))
        return sent

    return run
