"""What all Sky operators have in common: one pod, one action, one result."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Never

import yaml
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import KubernetesApiException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.providers.cncf.kubernetes.utils.pod_manager import OnKillAction, PodNotFoundException
from airflow.providers.common.compat.sdk import (
    XCOM_RETURN_KEY,
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    XComArg,
)
from jinja2.nativetypes import NativeEnvironment
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from k8s_sky_provider.credentials import read_connection
from k8s_sky_provider.exceptions import (
    SkyCancelledError,
    SkyDeploymentError,
    SkyEvictedError,
    SkyPilotError,
    SkyPodFailedError,
    SkyRequestError,
    SkyTransientError,
    error_for,
)
from k8s_sky_provider.hooks.skypilot import SkyPilotHook
from k8s_sky_provider.kubernetes_api import make_patient
from k8s_sky_provider.links.skypilot import LINKS_KEY, SkyPilotDashboardLink, links_of
from k8s_sky_provider.operators import read
from k8s_sky_provider.operators.earlier_pods import EarlierPods, differs_in, in_words, labels_of
from k8s_sky_provider.operators.pod_secret import PodSecrets, create_for_pod, mount_connections, mount_files
from k8s_sky_provider.operators.task_states import states_of
from k8s_sky_provider.operators.worker_stop import WorkerEvictedError, WorkerStop, within
from k8s_sky_provider.pod_end import EndingPodManager, follower, follows, leave_word, terminated_state
from k8s_sky_provider.pod_logs import SECONDS_TO_NOTE, OncePodManager, read_up_to
from k8s_sky_provider.pod_security import SecurityContexts, Source
from k8s_sky_provider.pod_spec import RUNNER_COMMAND, Completion, Templates
from k8s_sky_provider.protocol import (
    ExitCode,
    OnCancel,
    OnEviction,
    Owner,
    ProtocolError,
    SkyRequest,
    SkyResult,
    read_json,
)
from k8s_sky_provider.refusals import REFUSED, api_message, explained
from k8s_sky_provider.triggers.pod import SkyPodTrigger
from k8s_sky_provider.workspace import Credential, Workspace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import jinja2
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import PodOperatorHookProtocol
    from airflow.providers.common.compat.sdk import BaseOperatorLink, Context
    from airflow.triggers.base import BaseTrigger
    from pendulum import DateTime

LINES_OF_THE_END = 20
RESULT_KEY = "result"
"""XCom key of the whole result."""

_OF_A_JOB = (ExitCode.JOB_FAILED, ExitCode.SETUP_FAILED)

# How the container runtime says that the command is not in the image.
_NOT_STARTED_REASONS = {"StartError", "ContainerCannotRun", "RunContainerError"}

_READ_IN_PLACE: dict[str, read.Reader] = {
    "startup_timeout_seconds": read.whole_number(),
    "startup_check_interval_seconds": read.whole_number(0),
    "schedule_timeout_seconds": read.optional(read.whole_number()),
    "termination_grace_period": read.optional(read.whole_number(0)),
    "logging_interval": read.optional(read.whole_number()),
    "log_events_on_failure": read.flag,
    "log_pod_spec_on_failure": read.flag,
}
"""Templated arguments that KubernetesPodOperator reads itself."""

_FLAGS_OF_THE_POD = {
    name: parameter.default
    for name, parameter in inspect.signature(KubernetesPodOperator.__init__).parameters.items()
    if re.search(r"\bbool\b", str(parameter.annotation))
}


class SkyBaseOperator(KubernetesPodOperator):
    """Run one SkyPilot action in a pod of its own.

    Not used directly: each action has a class of its own. Every parameter of
    :class:`~airflow.providers.cncf.kubernetes.operators.pod.KubernetesPodOperator` can be given too;
    volumes, mounts and environment that a pod template or an argument already has are left as they are. Security
    contexts, of a pod template too, are laid over ours field by field (docs/operators.md#what-a-pod-may-do).

    The operator returns what the next task wants (see each class) and pushes the whole
    :class:`~k8s_sky_provider.protocol.SkyResult` under the XCom key ``result``, of a failed task too.

    :param on_cancel: what happens to the job and the cluster when the task is killed: ``cancel`` the job,
        ``down`` or ``stop`` the cluster, ``leave`` them (default: the class's own) (templated)
    :param on_eviction: what becomes of the job and the cluster when a pod of the task is evicted and a try is left:
        ``follow``, the next try goes on with them, or ``kill``, as ``on_cancel`` says (templated)
    :param fail_fast: do not retry the task when the user's job or setup fails (templated)
    :param skypilot_conn_id: Airflow connection of type SkyPilot with the deployment's settings; the default one
        need not exist, and None reads none (templated)
    :param deployment: name of this Airflow deployment in SkyPilot (templated)
    :param volume_claim: PersistentVolumeClaim with SkyPilot's state (templated)
    :param config_map: ConfigMap with SkyPilot's ``config.yaml`` (templated)
    :param credentials: cloud credentials, from Secrets: ``{"secret": name, "path": directory below the home}``
        or ``{"secret": name, "env": True}``, and from Airflow connections: ``{"connection": id}`` or, for jobs,
        ``{"connection": id, "env": {variable: field}}``
    :param startup_timeout_seconds: how long the pod may take to start, image pull and node scale-up included
        (templated)
    :param startup_check_interval_seconds: how often that is looked at (templated)
    :param termination_grace_period: seconds that the pod has for ``on_cancel`` when it is killed (default: what the pod
        template says, else 300) (templated)
    :param logging_interval: when deferred, seconds between two notes, for another triggerer, of how far the pod's log
        has been read; None reads the log at the pod's end only (templated)
    :param log_events_on_failure: put the warnings among the pod's events into the task log when it ends without a
        result (templated)
    :param log_pod_spec_on_failure: put the pod's specification into the task log when it fails (templated)
    :param do_xcom_push: push the return value
    :raises SkyRequestError: before a pod exists, when an argument or the task YAML is wrong
    :raises SkyDeploymentError: when the volume, ServiceAccount, image or a setting is missing or wrong
    :raises SkyPilotError: one of :mod:`k8s_sky_provider.exceptions`, when the action fails
    """

    action: ClassVar[str]

    wildcards: ClassVar[str | None] = None
    """The argument whose wildcards must be the author's own: something is done with all that it names."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Arguments that the runner knows by another name."""

    kill_can: ClassVar[Sequence[OnCancel]] = tuple(OnCancel)
    """What ``on_cancel`` may be."""

    _written: tuple[str, ...] = ()

    template_fields: Sequence[str] = (
        *KubernetesPodOperator.template_fields,
        "skypilot_conn_id",
        "volume_claim",
        "config_map",
        "service_account_name",
        "on_cancel",
        "on_eviction",
        "fail_fast",
        "deployment",
        "startup_timeout_seconds",
        "startup_check_interval_seconds",
        # KubernetesPodOperator has copied startup_timeout_seconds there.
        "schedule_timeout_seconds",
        "termination_grace_period",
        "logging_interval",
        "log_events_on_failure",
        "log_pod_spec_on_failure",
    )
    operator_extra_links: Collection[BaseOperatorLink] = (SkyPilotDashboardLink(),)
    ui_color = "#82a8dc"

    def __init__(
        self,
        *,
        on_cancel: str | XComArg | None = None,
        on_eviction: str | XComArg = OnEviction.FOLLOW.value,
        fail_fast: bool | str | XComArg = False,
        skypilot_conn_id: str | None = SkyPilotHook.default_conn_name,
        deployment: str | XComArg | None = None,
        volume_claim: str | None = None,
        config_map: str | None = None,
        credentials: Sequence[Mapping[str, Any]] | None = None,
        startup_timeout_seconds: int | str | XComArg = 600,
        startup_check_interval_seconds: int | str | XComArg = 1,
        termination_grace_period: int | str | XComArg | None = None,
        logging_interval: int | str | XComArg | None = 10,
        log_events_on_failure: bool | str | XComArg = True,
        log_pod_spec_on_failure: bool | str | XComArg = False,
        do_xcom_push: bool | str = True,
        **kwargs: Any,
    ) -> None:
        if "sky_home_dir" in kwargs:
            raise SkyRequestError(
                "sky_home_dir: SkyPilot's state is on the volume of volume_claim here, in the same home for all tasks: "
                "leave it out, and give paths as ~/sky_workdir/..."
            )
        # Of another type until they are rendered.
        of_the_pod: dict[str, Any] = {
            "startup_timeout_seconds": startup_timeout_seconds,
            "startup_check_interval_seconds": startup_check_interval_seconds,
            "termination_grace_period": termination_grace_period,
            "logging_interval": logging_interval,
            "log_events_on_failure": log_events_on_failure,
            "log_pod_spec_on_failure": log_pod_spec_on_failure,
        }
        super().__init__(
            **of_the_pod,
            # True would add KubernetesPodOperator's sidecar; the result comes in the termination message.
            do_xcom_push=False,
            **kwargs,
        )
        if self.arguments:
            raise SkyRequestError(
                "arguments: the pod's one argument is the request; leave it out. "
                "Run commands with SkyBashOperator, or on a machine with SkySSHOperator"
            )
        # What default_args say is in the attribute alone; an attribute may be a copy of another's argument.
        of_the_parent = _FLAGS_OF_THE_POD.keys() - set(self.template_fields)
        for name in sorted(of_the_parent, key=lambda name: (name not in kwargs, name)):
            value = kwargs.get(name, getattr(self, name, None))
            if value is not None and value is not _FLAGS_OF_THE_POD[name]:
                read.bare_flag(name, value)
        for name in ("container_logs", "init_container_logs"):
            read.check_names_of_containers(name, getattr(self, name))
        Source.in_arguments(self.security_context, self.container_security_context).read()
        for entry in credentials or ():
            Credential.parse(entry)
        self.on_cancel = on_cancel
        self.on_eviction = on_eviction
        self.fail_fast = fail_fast
        self.skypilot_conn_id = skypilot_conn_id
        self.deployment = deployment
        self.volume_claim = volume_claim
        self.config_map = config_map
        self.credentials = credentials
        self.push_return_value = read.flag("do_xcom_push", do_xcom_push)
        self._result: SkyResult | None = None
        self._event: dict[str, Any] = {}
        self._is_explained = False
        self._request: SkyRequest | None = None
        self._local_files: bytes | None = None
        self._pod_secrets: list[PodSecrets] = []
        self._ti: Any = None
        self._try_number = 1
        self._worker_stop: WorkerStop | None = None
        self._last_words = ""
        self.check_arguments()

    def _readers(self) -> dict[str, read.Reader]:
        """Return how each argument of the class is read: when the DAG is parsed, and after Jinja."""
        return {}

    def _check_together(self, values: Mapping[str, Any]) -> None:
        """Check arguments that must go together; when the DAG is parsed, some may be :data:`read.UNKNOWN`.

        :raises SkyRequestError: if they do not
        """

    def given(self, name: str) -> Any:
        """Return an argument as it was given; UNKNOWN of one that a constructor has yet to keep."""
        return getattr(self, name, read.UNKNOWN)

    def check_arguments(self) -> None:
        """Check all that can be known when the DAG is parsed; each constructor ends with it.

        :raises SkyRequestError: if one of the operator's arguments is wrong
        """
        readers = {**self._common_readers(), **self._readers()}
        self._check_together(
            {name: read.when_known(reader)(name, self.given(name)) for name, reader in readers.items()}
        )
        if self.wildcards:
            self._written = read.written(self.given(self.wildcards))

    def read_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the class's arguments after Jinja, each as its reader makes it.

        :raises SkyRequestError: if one of the operator's arguments is wrong
        """
        values = {name: reader(name, self.given(name)) for name, reader in self._readers().items()}
        if self.wildcards:
            read.check_globs(self.wildcards, values[self.wildcards], texts=self._as_written(self.wildcards, context))
        self._check_together(values)
        return values

    def _common_readers(self) -> dict[str, read.Reader]:
        return {
            **_READ_IN_PLACE,
            "on_cancel": read.optional(read.one_of(self.kill_can)),
            "on_eviction": read.one_of(OnEviction),
            "fail_fast": read.flag,
            **dict.fromkeys(("skypilot_conn_id", "deployment", "volume_claim", "config_map"), read.optional(read.text)),
        }

    @property
    def default_on_cancel(self) -> OnCancel | None:
        """What happens on a kill unless ``on_cancel`` says otherwise; None where there is nothing to undo."""
        return None

    def build_arguments(self, context: Context | None) -> dict[str, Any]:
        """Return the action's arguments for the request, after Jinja.

        :raises SkyRequestError: if one of the operator's arguments is wrong
        """
        return {self.renamed.get(name, name): value for name, value in self.read_arguments(context).items()}

    def pack_local_files(self) -> bytes | None:
        """Return the archive of the files that travel with the request, after :meth:`build_arguments`; None for none.

        :raises SkyRequestError: if one is missing, or they cannot be sent
        """
        return None

    def execute(self, context: Context) -> Any:
        """Check what can be known, run the pod (or defer), and return the action's value."""
        with _said_once():
            with self._ending_with_the_worker():
                self._begin_try(context)
                self._request = self._build_request(context)
                for key, value in self.known_xcoms(context).items():
                    if key != XCOM_RETURN_KEY or self.push_return_value:
                        context["ti"].xcom_push(key=key, value=value)
                super().execute(context)
            return self._finish()

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the result after a deferral."""
        self._event = event
        if event.get("status") in {"failed", "timeout"}:
            # KubernetesPodOperator would log as an error that the trigger said so, before it is known why.
            event = {**event, "status": "success"}
        with _said_once():
            with self._ending_with_the_worker():
                self._begin_try(context)
                try:
                    super().trigger_reentry(context, event)
                except PodNotFoundException as error:
                    raise SkyPodFailedError(str(error)) from error
            return self._finish()

    def _clean(self, event: dict[str, Any], result: dict[str, Any] | None, context: Context) -> None:
        """Clean up after what the trigger said: the pod of a timeout is not waited for."""
        super()._clean(self._event or event, result, context)

    def _begin_try(self, context: Context) -> None:
        ti: Any = context["ti"]
        # A pod that has ended before its deferral is cleaned up in the process that made it.
        if self._ti is not ti or self._try_number != ti.try_number:
            self._forget_earlier_tries()
        self._ti = ti
        self._try_number = ti.try_number
        self._read_pod_arguments()
        if self._worker_stop:
            raise SkyCancelledError("The task was told to stop before it began")

    @contextlib.contextmanager
    def _ending_with_the_worker(self) -> Iterator[None]:
        """Raise what it means for the task when its worker is evicted."""
        try:
            yield
        except WorkerEvictedError:
            raise self._evicted() from None
        finally:
            if self._worker_stop:
                self._worker_stop.wait()

    def _evicted(self) -> SkyEvictedError:
        pod = f"pod {self.pod.metadata.name} runs on, and " if self.pod else ""
        return SkyEvictedError(f"The worker was told to stop and nobody has ended the task: {pod}the next try goes on")

    def _raise_if_evicted(self, terminated: k8s.V1ContainerStateTerminated | None) -> None:
        """Raise if the worker is evicted, unless the pod is done: its result is taken in any case."""
        pod = self.pod
        if self._worker_stop is None or not self._worker_stop.wait() or terminated:
            return
        if pod:
            within(SECONDS_TO_NOTE, lambda: self.pod_manager.note_position(pod, self.base_container_name))
        raise self._evicted()

    def _is_followed(self) -> bool:
        """Tell whether the next try is to go on with what an eviction leaves."""
        return self._ti is not None and tries_left(self._ti) > 0 and self.on_eviction == OnEviction.FOLLOW

    def _states(self) -> list[Any]:
        ti: Any = self._ti
        map_index = -1 if ti.map_index is None else ti.map_index
        return states_of(ti, dag_id=ti.dag_id, run_id=ti.run_id, task_id=ti.task_id, map_index=map_index)

    def _read_pod_arguments(self) -> None:
        """Give what Jinja has rendered its type in place: KubernetesPodOperator reads these attributes itself."""
        for name, reader in _READ_IN_PLACE.items():
            setattr(self, name, reader(name, getattr(self, name)))

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a value; a text without Jinja stays one, where a native environment makes a number of ``1.10``."""
        is_plain = isinstance(content, str) and not read.has_jinja(content)
        if is_plain and isinstance(jinja_env, NativeEnvironment) and not content.endswith(tuple(self.template_ext)):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    @staticmethod
    def _get_ti_pod_labels(context: Context | None = None, include_try_number: bool = True) -> dict[str, str]:
        """Return labels that Kubernetes takes: of an id without a Latin letter Airflow's begin with a dash."""
        labels = KubernetesPodOperator._get_ti_pod_labels(context, include_try_number)  # noqa: SLF001  # the parent's
        return {name: value.lstrip("-") for name, value in labels.items()}

    def invoke_defer_method(self, last_log_time: DateTime | None = None, context: Context | None = None) -> None:
        """Defer; the triggerer gets to know that it is in the cluster, which its hook does not find out by itself."""
        if self.in_cluster is None and self.hook.is_in_cluster:
            self.in_cluster = True
        super().invoke_defer_method(last_log_time, context)

    def defer(self, *, trigger: BaseTrigger, method_name: str, **kwargs: Any) -> Never:
        """Defer to the trigger of this package that does what KubernetesPodOperator's would."""
        if isinstance(trigger, KubernetesPodTrigger):
            trigger = SkyPodTrigger(**trigger.serialize()[1])
        super().defer(trigger=trigger, method_name=method_name, **kwargs)

    @cached_property
    def hook(self) -> PodOperatorHookProtocol:
        """Return the hook of the Kubernetes API, that waits for it to come back."""
        hook = super().hook
        make_patient(hook.core_v1_client)
        return hook

    @cached_property
    def pod_manager(self) -> OncePodManager:
        """Return what reads the pod's log and deletes the pod."""
        return EndingPodManager(
            kube_client=self.client,
            callbacks=self.callbacks,
            base_container_name=self.base_container_name,
            try_number=lambda: self._try_number,
        )

    def _refresh_cached_properties(self) -> None:
        """Read the credentials anew; the log goes on where it was."""
        before = self.pod_manager
        super()._refresh_cached_properties()  # type: ignore[no-untyped-call]  # Airflow has no types there
        self.pod_manager.replace(before)

    def is_istio_enabled(self, pod: k8s.V1Pod) -> bool:
        """Have every pod end with its base container, as KubernetesPodOperator has one with Istio's sidecar."""
        return pod is not None

    def _write_logs(  # type: ignore[override]  # the base's is wrapped in retries, which the pod manager has too
        self, pod: k8s.V1Pod, follow: bool = False, since_time: Any = None
    ) -> None:
        """Log what the triggerer has not logged yet."""
        if not self.get_logs:
            return
        since_time = read_up_to(pod, since_time)
        self.pod_manager.resume(pod, self.base_container_name, since_time)
        self.pod_manager.fetch_container_logs(
            pod,
            self.base_container_name,
            follow=follow,
            since_time=since_time,
            container_name_log_prefix_enabled=self.container_name_log_prefix_enabled,
            log_formatter=self.log_formatter,
        )

    def build_pod_request_obj(self, context: Context | None = None, **kwargs: Any) -> k8s.V1Pod:
        """Return the pod: KubernetesPodOperator's, completed by :mod:`k8s_sky_provider.pod_spec`."""
        read.check_models("volumes", self.volumes, k8s.V1Volume)
        read.check_models("volume_mounts", self.volume_mounts, k8s.V1VolumeMount)
        if not isinstance(self.env_vars, dict):
            read.check_models("env_vars", self.env_vars, k8s.V1EnvVar)
        completion = Completion(
            workspace=self.settings,
            contexts=SecurityContexts.resolve(
                *self._templates.security,
                Source.in_arguments(self.security_context, self.container_security_context),
            ),
            command=self.cmds or RUNNER_COMMAND,
            argument=(self._request or self._build_request(context)).to_argument(),
            is_deferred=self.deferrable,
        )
        # What is not the author's own is not to look so: a later step would take it for an argument.
        builder: Any = copy.copy(self)
        builder.namespace = self.settings.namespace
        builder.secrets = [*self.secrets, completion]
        if context is not None:
            builder.hook = self.hook
        pod = super(SkyBaseOperator, builder).build_pod_request_obj(context, **kwargs)
        if context is not None:
            owner = self.request_owner(context)
            annotations = {**follower(owner.try_number, tries_left(context["ti"])), **in_words(owner)}
            pod.metadata.annotations = {**(pod.metadata.annotations or {}), **annotations}
            pod.metadata.labels = {**pod.metadata.labels, **labels_of(owner)}
        connections = [read_connection(credential) for credential in self.settings.connections]
        self._pod_secrets = [
            *mount_connections(pod, self.base_container_name, connections),
            *mount_files(pod, self.base_container_name, self._local_files),
        ]
        return pod

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """Create the pod or find the one that this task instance already has.

        :raises SkyDeploymentError: if Kubernetes refuses the pod for good
        :raises SkyTransientError: if a quota is used up, another task has a pod of that name, or Airflow may not look
            for pods
        """
        self._check_claims(pod_request_obj)
        try:
            pod = self._take_up(pod_request_obj)
            if pod is None:
                self.pod_manager.create_pod(pod_request_obj)
                pod = pod_request_obj
        except ApiException as error:
            if error.status in REFUSED:
                # Not the pod, whose refusal has a type of its own: what is asked about it before.
                raise SkyTransientError(f"Kubernetes does not tell of the task's pod: {explained(error)}") from None
            raise
        is_new = pod is pod_request_obj
        if self._pod_secrets and (is_new or self._waits_for_them(pod, pod_request_obj)):
            create_for_pod(self.client, pod, self._pod_secrets, is_new=is_new)
        if self._killed:
            # Told to stop before there was a pod to be deleted.
            self.pod = pod
            self._kill()
        return pod

    def _waits_for_them(self, pod: k8s.V1Pod, pod_request_obj: k8s.V1Pod) -> bool:
        """Tell whether an earlier pod is to get its Secrets now: one that has started has them, or wants none."""
        if pod.status.phase != "Pending":
            return False
        # It may be somebody else's making.
        differences = differs_in(pod, pod_request_obj)
        if differences:
            self.log.warning(
                "Pod %s gets no Secret with the files of connections, or of the DAG: it is not as this task would make "
                "it (%s). If it waits for one it never starts: delete it, and the next try makes its own",
                pod.metadata.name,
                ", ".join(differences),
            )
        return not differences

    def _take_up(self, pod_request_obj: k8s.V1Pod) -> k8s.V1Pod | None:
        """Return the pod that an earlier try of this task instance has left at work, as this try's own."""
        earlier = EarlierPods(self.client, pod_request_obj, self.base_container_name)
        pod = earlier.take_up(reattach=self.reattach_on_restart)
        if pod is None and self.reattach_on_restart:
            # One that is kept is kept with its result.
            pod = next((pod for pod in earlier.ended() if not self.process_pod_deletion(pod)), None)
        if pod is None:
            return None
        self.log.info("Going on with pod %s of an earlier try", pod.metadata.name)
        now = follows(self._try_number, tries_left(self._ti))
        try:
            self.client.patch_namespaced_pod(pod.metadata.name, pod.metadata.namespace, now)
        except ApiException as error:
            if error.status != 404:
                raise
            return self._take_up(pod_request_obj)
        self.pod_manager.resume(pod, self.base_container_name, read_up_to(pod, None))
        return pod

    def find_pod(self, namespace: str, context: Context, *, exclude_checked: bool = True) -> k8s.V1Pod | None:
        """Return the pod of this try, as it is now; KubernetesPodOperator's own goes by labels that users set."""
        del context, exclude_checked
        if self.pod is None:
            return None
        pods = self.client.list_namespaced_pod(
            namespace=namespace, field_selector=f"metadata.name={self.pod.metadata.name}"
        ).items
        return next(iter(pods), None)

    def on_kill(self) -> None:
        """Find out whether the task is killed or its worker evicted; Airflow calls this in a signal handler."""
        if self._worker_stop is None:
            self._worker_stop = WorkerStop(ask=self._states, kill=self._kill, is_followed=self._is_followed())
            self._worker_stop.begin()
        else:
            self._worker_stop.interrupt()

    def _kill(self) -> None:
        """Delete the pod, which is told before that it is killed."""
        if self.pod and self.on_kill_action != OnKillAction.KEEP_POD:
            is_cleared = self._worker_stop is not None and self._worker_stop.is_cleared
            leave_word(self.client, self.pod, self._try_number, is_cleared=is_cleared)
        super().on_kill()

    def post_complete_action(self, *, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, **kwargs: Any) -> None:
        """Clean up; if the task has failed, log what its pod was made of where that is asked for."""
        terminated = terminated_state(remote_pod, self.base_container_name)
        self._is_explained = terminated is not None and _is_result(terminated.message)
        try:
            super().post_complete_action(pod=pod, remote_pod=remote_pod, **kwargs)
        except SkyPilotError:
            made = remote_pod or pod
            if self.log_pod_spec_on_failure and made is not None:
                spec = self.client.api_client.sanitize_for_serialization(made.spec)
                self.log.info("The pod's specification:\n%s", yaml.safe_dump(spec))
            raise

    def _read_pod_events(self, pod: k8s.V1Pod, *, reraise: bool = True) -> None:
        """Log the pod's warnings, unless its runner says why it failed, or they came while it was to start."""
        if self._is_explained:
            return
        with contextlib.nullcontext() if reraise else contextlib.suppress(Exception):
            # KubernetesPodOperator has no such argument before 10.25, and always logs them.
            if getattr(self, "log_events_on_startup", True) and not _has_started(self.pod_manager.read_pod(pod).status):
                return
            for event in self.pod_manager.read_pod_events(pod).items:
                if event.type == "Warning":
                    self.log.warning("Pod event: %s - %s", event.reason, event.message)

    def _read_pod_container_states(self, pod: k8s.V1Pod, *, reraise: bool = True) -> None:
        """Log nothing: the error says how a container ended, whose own message may be the whole result as JSON."""

    def cleanup(
        self,
        pod: k8s.V1Pod,
        remote_pod: k8s.V1Pod,
        xcom_result: dict[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        """Delete the pod as asked, then take its result or raise what it means.

        This is the one place that sees the finished pod, deferred or not.
        """
        under_way = sys.exc_info()[1]
        terminated = terminated_state(remote_pod, self.base_container_name)
        self._raise_if_evicted(terminated)
        failed = self._look_at(pod, remote_pod, terminated, under_way)
        try:
            # A pod whose end nobody has seen is not deleted because the API is away; one that is gone need not be.
            if not isinstance(under_way, (HTTPError, KubernetesApiException)) and not _is_gone(under_way):
                super().cleanup(pod, remote_pod, xcom_result=xcom_result, context=context)
        except AirflowSkipException:
            raise
        except AirflowException as error:
            self.log.debug("%s", error)
        if self._killed:
            raise SkyCancelledError("The task was killed before it was done")
        if terminated is None:
            self._raise_if_not_started(under_way, failed)
            return
        result = self._read_result(remote_pod, terminated)
        if context is not None:
            self._push(context, result)
        if result.truncated:
            self.log.warning("The result was too long; the whole is on the volume in %s", result.whole_result)
        self._raise_if_failed(result)
        if terminated.exit_code != 0:
            raise SkyPodFailedError(
                f"The runner reported success, yet its container ended with {terminated.exit_code}", result
            )
        self._result = result

    def _raise_if_failed(self, result: SkyResult) -> None:
        skipped = [code for code in result.job_exit_codes if code in self.skip_on_exit_code]
        if skipped and result.exit_code in _OF_A_JOB:
            raise AirflowSkipException(f"The job ended with exit code {skipped[0]}, which skips the task")
        if result.exit_code != ExitCode.OK:
            raise error_for(result, fail_fast=read.flag("fail_fast", self.fail_fast))

    def _push(self, context: Context, result: SkyResult) -> None:
        context["ti"].xcom_push(key=RESULT_KEY, value=result.to_dict())
        self.push_more(context, result)
        self._push_links(context, result)
        # Airflow pushes what a task returns, and one that fails returns nothing.
        if result.exit_code != ExitCode.OK and result.return_value is not None and self.push_return_value:
            if self.multiple_outputs and isinstance(result.return_value, dict):
                for key, value in result.return_value.items():
                    context["ti"].xcom_push(key=key, value=value)
            context["ti"].xcom_push(key=XCOM_RETURN_KEY, value=result.return_value)

    def _push_links(self, context: Context, result: SkyResult) -> None:
        try:
            links = links_of(result, self.settings.dashboard)
        except Exception as error:  # noqa: BLE001  # a link is no reason to fail a task that is done
            self.log.warning("No links: %s", error)
            return
        context["ti"].xcom_push(key=LINKS_KEY, value=links)

    def push_more(self, context: Context, result: SkyResult) -> None:
        """Push what else the next task wants of a result, of a failed task too."""

    def _finish(self) -> Any:
        if self._result is None:
            raise SkyPodFailedError("The pod was gone before its result could be read")
        # The task runner looks at this only after execute: see do_xcom_push in __init__.
        self.do_xcom_push = self.push_return_value
        return self._result.return_value

    @cached_property
    def settings(self) -> Workspace:
        """Where the pod runs and what it mounts: arguments over templates over the connection over ``[skypilot]``."""
        templates = self._templates
        conn_id = self._common["skypilot_conn_id"]
        connection = SkyPilotHook(conn_id).find_settings() if conn_id else None
        return Workspace.resolve(
            connection=connection,
            deployment=self._common["deployment"],
            image=self.image or templates.image,
            image_pull_policy=self.image_pull_policy or templates.image_pull_policy,
            namespace=self.namespace or templates.namespace,
            service_account_name=self.service_account_name,
            volume_claim=self._common["volume_claim"],
            config_map=self._common["config_map"],
            credentials=self.credentials,
        )

    @cached_property
    def _common(self) -> dict[str, Any]:
        return {name: reader(name, self.given(name)) for name, reader in self._common_readers().items()}

    @cached_property
    def _templates(self) -> Templates:
        return Templates.read(file=self.pod_template_file, template=self.pod_template_dict, full=self.full_pod_spec)

    def _forget_earlier_tries(self) -> None:
        """Begin anew: what is known of a try is found out once in each of its processes."""
        self._request = None
        for name in ("settings", "_common", "_templates"):
            vars(self).pop(name, None)

    def request_owner(self, context: Context | None) -> Owner:
        """Return the task instance that asks; without a context (a dry run) it has no names."""
        deployment = self.settings.deployment
        if context is None:
            return Owner(deployment=deployment, dag_id="", run_id="", task_id="")
        ti = context["ti"]
        return Owner(
            deployment=deployment,
            dag_id=ti.dag_id,
            run_id=str(context["run_id"]),
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            # Airflow raises max_tries when a task is cleared, and only then.
            generation=f"{getattr(context.get('dag_run'), 'start_date', '')}/{ti.max_tries}",
        )

    def _as_written(self, field: str, context: Context | None) -> tuple[str, ...]:
        """Return the texts of an argument that are in the DAG itself; what comes from another task is none."""
        if not getattr(self, "_BaseOperator__from_mapped", False):
            return self._written
        # This is one of a mapped task's, made of values: what the author has written is in the DAG.
        mapped: Any = context["dag"].task_dict.get(self.task_id) if context else None
        given = getattr(getattr(mapped, "expand_input", None), "value", None)
        expanded = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        values = [getattr(mapped, "partial_kwargs", {}).get(field)]
        values += [one.get(field) for one in expanded if isinstance(one, Mapping)]
        if isinstance(given, Mapping) and isinstance(given.get(field), Sequence):
            values += given[field]
        return tuple(text for value in values for text in read.written(value))

    def known_xcoms(self, context: Context) -> dict[str, Any]:
        """Return what later tasks want and is known before the pod is made, by XCom key: they get it in any case."""
        del context
        return {}

    def final_exit_codes(self, context: Context | None) -> list[ExitCode]:
        """Return the exit codes of a failure after which Airflow does not try the task again."""
        if context is None:
            return []
        ti = context["ti"]
        is_last_try = tries_left(ti) == 0
        fail_fast = read.flag("fail_fast", self.fail_fast)
        # Which exit code a job will have is not known.
        may_skip = any(code in self.skip_on_exit_code for code in range(1, 256) if code not in set(ExitCode))
        return [
            code
            for code in ExitCode
            if code is not ExitCode.OK
            and (
                is_last_try
                or code in self.skip_on_exit_code
                or (may_skip and code in _OF_A_JOB)
                or isinstance(
                    error_for(SkyResult(action=self.action, exit_code=code), fail_fast=fail_fast),
                    AirflowFailException,
                )
            )
        ]

    def _build_request(self, context: Context | None) -> SkyRequest:
        settings = self.settings
        on_cancel = self._common["on_cancel"]
        try:
            arguments = self.build_arguments(context)
        except SkyRequestError as error:
            if missing := self._missing_values():
                raise SkyRequestError(f"{error.reason}. {missing}") from error
            raise
        request = SkyRequest(
            action=self.action,
            arguments=arguments,
            owner=self.request_owner(context),
            on_cancel=self.default_on_cancel if on_cancel is None else OnCancel(on_cancel),
            on_eviction=OnEviction(self._common["on_eviction"]),
            expected_mounts=settings.expected_mounts,
            allow_network_file_system=settings.allow_network_file_system,
        )
        read.check_carries_no_secret(request.arguments)
        self._local_files = self.pack_local_files()
        if self._local_files is not None:
            request = dataclasses.replace(request, local_files=hashlib.sha256(self._local_files).hexdigest())
        try:
            request.to_argument()
        except (ProtocolError, TypeError) as error:
            raise SkyRequestError(f"{self.action}: {error}") from error
        return request

    def _missing_values(self) -> str:
        """Say which tasks have left no value for this one, in words; empty if none has."""
        # The operator that runs is a copy, in which values stand where the DAG names the tasks that they come from.
        dag = self.get_dag()
        in_the_dag = dag.task_dict.get(self.task_id) if dag else None
        missing = [
            f"{field} is what task {source.task_id!r} leaves as XCom {key!r}, and it has left none: it failed before "
            "it had one, was skipped, or returned nothing"
            for field in self.template_fields
            if getattr(self, field, None) is None
            for source, key in XComArg.iter_xcom_references(getattr(in_the_dag, field, None))
        ]
        return "; ".join(missing)

    def _check_claims(self, pod_request_obj: k8s.V1Pod) -> None:
        """Name a missing volume now: Kubernetes would leave the pod pending until the timeout."""
        namespace = pod_request_obj.metadata.namespace
        of_the_deployment = _claims(self.settings.volumes)
        for claim in _claims(pod_request_obj.spec.volumes or []):
            try:
                self.client.read_namespaced_persistent_volume_claim(claim, namespace)
            except ApiException as error:
                if error.status == 404:
                    missing = f"PersistentVolumeClaim {claim!r} does not exist in namespace {namespace!r}"
                    if claim in of_the_deployment:
                        raise SkyDeploymentError(f"{missing}; create it, or name another one as volume_claim") from None
                    # Another task may be about to make it.
                    raise SkyTransientError(f"{missing} yet; create it, or name another one in volumes") from None
                self.log.debug("No right to look for PersistentVolumeClaim %s: %s", claim, error.reason)

    def _read_result(self, remote_pod: k8s.V1Pod, terminated: k8s.V1ContainerStateTerminated) -> SkyResult:
        if terminated.message and terminated.reason not in _NOT_STARTED_REASONS:
            try:
                return SkyResult.from_json(terminated.message)
            except ProtocolError as error:
                # A container that is killed leaves half a message, or the end of its log (FallbackToLogsOnError).
                if terminated.reason != "OOMKilled" and not self._may_be_its_log(remote_pod, terminated.message):
                    raise SkyDeploymentError(
                        f"The pod's result cannot be read: {error}. Image: {self._image_of(remote_pod)}"
                    ) from error
        raise self._error_without_result(remote_pod, terminated)

    def _may_be_its_log(self, remote_pod: k8s.V1Pod, message: str) -> bool:
        policies = {one.name: one.termination_message_policy for one in remote_pod.spec.containers}
        return policies.get(self.base_container_name) == "FallbackToLogsOnError" and not _is_json(message)

    def _error_without_result(self, remote_pod: k8s.V1Pod, terminated: k8s.V1ContainerStateTerminated) -> SkyPilotError:
        image = self._image_of(remote_pod)
        if terminated.reason in _NOT_STARTED_REASONS:
            return SkyDeploymentError(
                f"Image {image!r} cannot run the runner: {terminated.message}. "
                "Build it from images/skypilot (docs/images.md)"
            )
        if terminated.reason == "OOMKilled":
            return SkyPodFailedError("The pod ran out of memory; raise container_resources")
        if terminated.exit_code == 1 and "No module named" in self._last_words:
            return SkyDeploymentError(
                f"Image {image!r} has no runner (python -m k8s_sky_provider.runner). "
                "Build it from images/skypilot (docs/images.md)"
            )
        reason = " ".join(filter(None, [remote_pod.status.reason, remote_pod.status.message])) or terminated.reason
        return SkyPodFailedError(f"The pod ended with exit code {terminated.exit_code} and no result: {reason}")

    def _look_at(
        self,
        pod: k8s.V1Pod,
        remote_pod: k8s.V1Pod,
        terminated: k8s.V1ContainerStateTerminated | None,
        under_way: BaseException | None,
    ) -> str:
        """Keep what a pod without a result tells of its end, while it is there; return what Kubernetes says of it."""
        if terminated:
            self._last_words = self._end_of_log(remote_pod) if terminated.exit_code == 1 else ""
            return ""
        return "" if isinstance(under_way, (SkyPilotError, HTTPError)) else self._why_failed(pod)

    def _end_of_log(self, pod: k8s.V1Pod) -> str:
        try:
            log = self.client.read_namespaced_pod_log(
                pod.metadata.name,
                pod.metadata.namespace,
                container=self.base_container_name,
                tail_lines=LINES_OF_THE_END,
                _preload_content=False,
            )
            return b"".join(log).decode(errors="replace")
        except (ApiException, HTTPError):
            return ""

    def _why_failed(self, pod: k8s.V1Pod | None) -> str:
        """Return what Kubernetes says of a pod that failed without its base container: evicted, or by another one."""
        if pod is None:
            return ""
        try:
            status = self.client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace).status
        except (ApiException, HTTPError):
            return ""
        if status.phase != "Failed":
            return ""
        return ": ".join(filter(None, [status.reason, status.message])) or "; ".join(_failed_containers(status))

    def _raise_if_not_started(self, under_way: BaseException | None, failed: str) -> None:
        """Raise what it means that the container never ended; leave alone an error that says it already."""
        if isinstance(under_way, (SkyPilotError, AirflowFailException, AirflowSkipException)) or (
            under_way is not None and not isinstance(under_way, (AirflowException, ApiException, HTTPError))
        ):
            return
        if self.pod is None and self.pod_request_obj is None:
            # No pod was made: a pod_mutation_hook, for example, has an error of its own.
            return
        if isinstance(under_way, (HTTPError, KubernetesApiException)):
            raise SkyTransientError(
                f"The Kubernetes API is away, and the pod may run on: a retry goes on with it. {under_way}"
            ) from under_way
        if failed:
            raise SkyPodFailedError(f"The pod failed: {failed}") from under_way
        if isinstance(under_way, ApiException):
            gone = "The pod is gone, deleted or lost with its node: " if _is_gone(under_way) else ""
            raise SkyPodFailedError(f"{gone}{api_message(under_way)}") from under_way
        reason = str(self._event.get("message") or under_way or "The pod ended without a result")
        if "InvalidImageName" in reason:
            raise SkyDeploymentError(f"image: {reason}") from under_way
        raise SkyPodFailedError(reason) from under_way

    def _image_of(self, remote_pod: k8s.V1Pod) -> str | None:
        return next((c.image for c in remote_pod.spec.containers if c.name == self.base_container_name), None)


def tries_left(ti: Any) -> int:
    """Return how many tries of a task instance come after this one."""
    return max(0, int(ti.max_tries) + 1 - int(ti.try_number))


def cluster_name_for(owner: Owner) -> str:
    """Return the name of the cluster that belongs to a task instance: the same for each of its tries.

    It has at most 40 characters and follows SkyPilot's rules: letters, digits and dashes, a letter first.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", f"{owner.dag_id}-{owner.task_id}".lower()).strip("-")[:30].strip("-")
    digest = hashlib.sha256(json.dumps(owner.task_instance).encode()).hexdigest()[:8]
    name = f"{readable}-{digest}" if readable else digest
    return name if name[0].isalpha() else f"s{name}"[:40]


def dag_folder(context: Context | None) -> Path | None:
    """Return the folder of the DAG file of a running task."""
    fileloc = getattr(context["dag"], "fileloc", None) if context else None
    return Path(fileloc).parent if fileloc else None


def bundle_root(context: Context | None) -> Path | None:
    """Return the root of the DAG bundle of a running task; in Airflow 2 the folder of all DAGs."""
    folder = dag_folder(context)
    if context is None or folder is None:
        return None
    file, below = Path(context["dag"].fileloc), Path(getattr(context["dag"], "relative_fileloc", None) or "")
    length = len(below.parts)
    # Airflow 2 gives the whole path of a file that is elsewhere.
    is_below = length > 0 and not below.is_absolute() and file.parts[-length:] == below.parts
    return Path(*file.parts[:-length]) if is_below else folder


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Have a typed error come alone: it says what led to it, and Airflow would log each error of the chain."""
    try:
        yield
    except SkyPilotError as error:
        raise error from None


def _claims(volumes: Sequence[k8s.V1Volume]) -> list[str]:
    return [volume.persistent_volume_claim.claim_name for volume in volumes if volume.persistent_volume_claim]


def _has_started(status: k8s.V1PodStatus) -> bool:
    return any(one.state and (one.state.running or one.state.terminated) for one in status.container_statuses or [])


def _is_gone(error: BaseException | None) -> bool:
    return isinstance(error, ApiException) and error.status == 404


def _failed_containers(status: k8s.V1PodStatus) -> list[str]:
    """Say of each container that failed how it ended."""
    all_of_them = [*(status.init_container_statuses or []), *(status.container_statuses or [])]
    ended = [(one.name, one.state.terminated) for one in all_of_them if one.state and one.state.terminated]
    return [
        f"container {name!r} ended with exit code {end.exit_code}: {end.message or end.reason}"
        for name, end in ended
        if end.exit_code
    ]


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def _is_result(message: str | None) -> bool:
    try:
        SkyResult.from_json(message or "")
    except ProtocolError:
        return False
    return True
