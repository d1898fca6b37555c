"""Operators that ask what there is: clouds that can be used, accelerators they offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.base import SkyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context, XComArg


class SkyCheckOperator(SkyBaseOperator):
    """Look which clouds SkyPilot can use. Returns dicts with cloud, enabled, capabilities and reason.

    Wraps ``sky.check``: with the credentials of this task it asks the clouds, which takes seconds, and SkyPilot notes
    the answer for later launches. The clouds that can be used come first; reasons are cut after 200 characters, the
    task's log has all of them.

    :param infra: names of the clouds to ask, as ``aws`` or ``kubernetes``; by default those of ``require``, or all
        (templated)
    :param require: names of clouds without which the task fails, with the reason and without a retry (templated)
    """

    action: ClassVar[str] = "check"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "infra", "require")

    def __init__(
        self,
        *,
        infra: str | Sequence[str] | XComArg | None = None,
        require: str | Sequence[str] | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infra = infra
        self.require = require
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        return dict.fromkeys(("infra", "require"), read.optional(read.names))

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the arguments of the runner's ``check``."""
        values = super().build_arguments(context)
        return {**values, "require": values["require"] or []}


class SkyGpusOperator(SkyBaseOperator):
    """List the accelerators that clouds offer, the cheapest first.

    Returns dicts with accelerator, count, cloud, instance_type, price and spot_price in US dollars an hour; None where
    there is no price. Wraps ``sky.list_accelerators``. A long list is cut to what an XCom can carry: ask for one
    accelerator.

    :param accelerator: its name or the beginning of it, as ``A100``; all by default (templated)
    :param count: how many of them a machine has (templated)
    :param infra: where, as ``aws`` or ``aws/us-east-1``; everywhere by default (templated)
    """

    action: ClassVar[str] = "gpus"

    template_fields: Sequence[str] = (*SkyBaseOperator.template_fields, "accelerator", "count", "infra")

    def __init__(
        self,
        *,
        accelerator: str | None = None,
        count: int | str | XComArg | None = None,
        infra: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.accelerator = accelerator
        self.count = count
        self.infra = infra
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        text = read.optional(read.text)
        return {"accelerator": text, "count": read.optional(read.number), "infra": text}
