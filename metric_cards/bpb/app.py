"""The Space of the metric bpb: the calculators of hf_core_bpb, opened at bits per byte."""

from hf_core_bpb.space.app import build_app

demo = build_app("bpb")

if __name__ == "__main__":
    demo.launch()
