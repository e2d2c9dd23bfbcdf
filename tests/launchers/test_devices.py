"""The accelerators that the user has chosen."""

from __future__ import annotations

import pytest

from ptv2_scale.launchers.devices import shown_devices
from ptv2_scale.runtime.errors import UserError


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "4,5"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": " 4, 5 ,6"}, ("4", "5")),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c,MIG-5"}, ("GPU-8932f937-d72c", "MIG-5")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ("-1", "-1")),
        ({"CUDA_VISIBLE_DEVICES": "4", "DS_ACCELERATOR": "cpu"}, None),
    ],
)
def test_the_chosen_devices(environ: dict[str, str], found: tuple[str, ...] | None) -> None:
    assert shown_devices(environ, 2) == found


def test_too_few_chosen_devices_are_a_mistake() -> None:
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=4,5 shows 2 devices"):
        shown_devices({"CUDA_VISIBLE_DEVICES": "4,5"}, 3)
