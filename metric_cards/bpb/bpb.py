"""What evaluate.load("hf_core_bpb/bpb") reads: the metric of the installed package."""

from hf_core_bpb.bpb.bpb import Bpb

__all__ = ["Bpb"]
