"""The settings under which the engine's verdicts are tested, and that torch follows them."""

import os

import pytest
import torch
from support.instruction_sets import VALUES, all_settings, older_kernels

AVX2 = {"sse4_1", "sse4_2", "avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def values_of(variable, flags):
    return {setting.get(variable) for setting in all_settings(flags)}


def test_a_cpu_without_known_flags_runs_the_default_kernels_alone():
    assert all_settings(set()) == [{"ATEN_CPU_CAPABILITY": "default"}]


def test_every_supported_kernel_of_torch_is_set():
    assert values_of("ATEN_CPU_CAPABILITY", AVX512) == {"default", "avx2", "avx512"}


def test_every_supported_instruction_set_of_onednn_is_set():
    assert values_of("ONEDNN_MAX_CPU_ISA", AVX512) == {"SSE41", "AVX", "AVX2", "AVX512_CORE"}


def test_every_supported_instruction_set_of_mkl_is_set():
    assert values_of("MKL_ENABLE_INSTRUCTIONS", AVX512) == {"SSE4_2", "AVX", "AVX2", "AVX512"}


@pytest.mark.parametrize("variable", VALUES)
def test_no_setting_needs_what_the_cpu_lacks(variable):
    assert not any(value.lower().startswith("avx512") for value in values_of(variable, AVX2))


def test_the_older_kernels_leave_out_the_newest():
    assert older_kernels(AVX512) == [{"ATEN_CPU_CAPABILITY": "default"}, {"ATEN_CPU_CAPABILITY": "avx2"}]


@pytest.mark.instruction_sets
def test_torch_uses_the_kernels_that_the_environment_names():
    used = torch.backends.cpu.get_cpu_capability().lower()
    assert used == os.environ.get("ATEN_CPU_CAPABILITY", used)
