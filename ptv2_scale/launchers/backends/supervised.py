"""What backends share whose ranks this process supervises: hosts checked, started, restarted."""

from __future__ import annotations

from abc import abstractmethod

from ptv2_scale.config.values import seconds
from ptv2_scale.launchers.backends.accelerate import CONFIG_MADE_BY
from ptv2_scale.launchers.backends.base import HostBackend, LaunchRequest
from ptv2_scale.launchers.events import Control, HostsChecked
from ptv2_scale.launchers.result import LaunchResult, state_of
from ptv2_scale.launchers.spec import LaunchSpec
from ptv2_scale.launchers.supervise import Supervisor
from ptv2_scale.runtime.atomic import replace_own
from ptv2_scale.runtime.launch_context import new_name

# Ranks that lose another one notice it after watchdog.silence, and then need some time to end.
_END_S = 40.0


class SupervisedBackend(HostBackend):
    """A backend that says what runs on which host; the rest is the same for all."""

    @abstractmethod
    def spec(self, request: LaunchRequest) -> LaunchSpec:
        """What runs on each host; see `render`."""

    def restarts(self, request: LaunchRequest) -> int:
        """Restarts of all hosts, after a failure."""
        return request.options.max_restarts

    def render(self, request: LaunchRequest) -> str:
        """See `HostBackend`."""
        return self.spec(request).resumed(request.options.resume).describe(new_name())

    def run(self, request: LaunchRequest, control: Control) -> LaunchResult:
        """See `HostBackend`."""
        spec, options = self.spec(request), request.options
        if len(spec.hosts) > 1 and options.doctor:
            code, text = _check_hosts(spec, request)
            control.emit(HostsChecked(code, text))
            if code:
                return LaunchResult(code, state_of(code), request.run, reason=text)
        for path, content in spec.files.items():
            replace_own(path, content, CONFIG_MADE_BY)
        return Supervisor(
            spec=spec,
            resume=options.resume,
            restarts=self.restarts(request),
            wait=options.backoff,
            patience=seconds(request.config.watchdog.silence) + _END_S,
            control=control,
        ).run()


def _check_hosts(spec: LaunchSpec, request: LaunchRequest) -> tuple[int, str]:
    # Loaded where it is needed: what a recipe reads is asked of rooms that load slowly.
    from ptv2_scale.launchers.doctor.collect import HostSurvey
    from ptv2_scale.launchers.doctor.report import preflight
    from ptv2_scale.launchers.hosts import Hosts
    from ptv2_scale.launchers.recipe_inputs import inputs_of

    slots = {host.name: host.slots for host in spec.group.hosts}
    hosts = Hosts(spec.remote, slots, spec.variables, spec.group.master)
    inputs = inputs_of(request.config, request.recipe)
    return preflight(HostSurvey(hosts, spec.group.master, spec.group.port, inputs, spec.run))
