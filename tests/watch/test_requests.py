"""What counts as a request to stop."""

from __future__ import annotations

import signal

from ptv2_scale.watch.requests import ONE_REQUEST_S, Requests


def test_signals_within_two_seconds_are_one_request() -> None:
    requests = Requests()
    assert not requests.take_signal(signal.SIGINT, 10.0)
    assert not requests.take_signal(signal.SIGINT, 10.0 + ONE_REQUEST_S)
    assert not requests.take_signal(signal.SIGTERM, 30.0)
    assert requests.reason == "SIGINT"
    assert requests.take_signal(signal.SIGINT, 31.0)
