"""The Gradio app of the metrics' Spaces: three calculators (bits, planner, dashboard) and the tabs around them."""
