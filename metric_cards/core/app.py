"""The Space of the metric core: the calculators of hf_core_bpb, opened at CORE."""

from hf_core_bpb.space.app import build_app

demo = build_app("core")

if __name__ == "__main__":
    demo.launch()
