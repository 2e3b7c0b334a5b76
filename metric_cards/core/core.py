"""What evaluate.load("hf_core_bpb/core") reads: the metric of the installed package."""

from hf_core_bpb.core.core import Core

__all__ = ["Core"]
