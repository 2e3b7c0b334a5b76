"""The app of the Spaces: one tab of fields for each calculator, without computations of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

try:
    import gradio as gr
except ImportError:
    raise ImportError('the calculators need gradio: pip install "hf_core_bpb[space]"') from None

from hf_core_bpb import __version__
from hf_core_bpb.errors import InputError
from hf_core_bpb.formatting import read_count, read_number
from hf_core_bpb.metrics.conversions import QUANTITIES
from hf_core_bpb.report.plotting import loss_figure, value_figure
from hf_core_bpb.scaling.laws import Law
from hf_core_bpb.space import bits, dashboard, planner

Metric = Literal["bpb", "core"]
_TEXT = (
    "A tokenizer splits a text into tokens, and every tokenizer splits it differently: one model reads a page as a "
    "thousand tokens, another model reads the same page as thirteen hundred. The loss per token therefore depends on "
    "both the model and its tokenizer. The number of bytes is the same for all models. Add the losses of all tokens "
    "of the page, in bits, and divide the sum by the bytes of the page: the result is bits per byte, and it compares "
    "models that share nothing but the page. Eight bits per byte is chance. A general compressor has read no other "
    "text before this page, and reaches a lower number from repeated words alone. A language model has read a large "
    "amount of text during training, and should reach a much lower number."
)
TITLE = "Bits per byte, compute, CORE"
_TOP = f"""\
# {TITLE}
Compare language models across tokenizers. Computed by [hf_core_bpb](https://pypi.org/project/hf-core-bpb/)
{__version__}. Your inputs are not stored.
"""


def build_app(first_tab: Metric = "bpb") -> gr.Blocks:
    """Return the app, opened at the tab of a metric; launch() serves it."""
    app: gr.Blocks
    with gr.Blocks(title=TITLE) as app:
        gr.Markdown(_TOP)
        with gr.Tabs(selected=first_tab):
            with gr.Tab("Bits per byte", id="bpb"):
                _bits_tab(app)
            with gr.Tab("Compute planner", id="plan"):
                _plan_tab(app)
            with gr.Tab("CORE", id="core"):
                _core_tab(app)
    return app


def _bits_tab(app: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            text = gr.Textbox(
                _TEXT, label="Text (its bytes are counted; leave empty to enter them)", lines=5, max_lines=12
            )
            quantity = gr.Dropdown(list(QUANTITIES), value="nats per token", label="Measure of the loss")
            value = gr.Textbox("3.1", label="Its value")
            with gr.Row():
                tokens = gr.Textbox("156", label="Tokens scored", min_width=120)
                num_bytes = gr.Textbox(bits.count_text(_TEXT), label="UTF-8 bytes", min_width=120, interactive=False)
            button = gr.Button("Calculate", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            table = gr.Dataframe(headers=["measure", "value"], interactive=False, show_label=False)
            plot = gr.Plot(show_label=False)

    def calculate(*fields: str) -> tuple[Any, ...]:
        text, quantity, value, tokens, num_bytes = fields
        result = bits.calculate(
            quantity, read_number(value, quantity), read_count(tokens, "tokens"), read_count(num_bytes, "bytes"), text
        )
        bpb = result.quantities.get("bits per byte")
        head = "" if bpb is None else f"## {bpb:.4f} bits per byte\n" if bpb < 1e4 else f"## {bpb:.4g} bits per byte\n"
        rows = [[name, f"{number:.6g}"] for name, number in result.quantities.items()]
        if bpb is None:
            return head + result.interpretation, rows, None
        bars = {"chance": 8.0, **result.compressors, "the model": bpb}
        return head + result.interpretation, rows, value_figure(bars, "the model", "bits per byte", "{:.3g}")

    def count(text: str) -> dict[str, Any]:
        # Without a text the field can be edited.
        try:
            return gr.update(value=bits.count_text(text), interactive=not text)
        except InputError:
            # The button reports the error.
            return gr.update(value="", interactive=False)

    text.change(count, text, num_bytes, show_progress="hidden")
    inputs = [text, quantity, value, tokens, num_bytes]
    _connect(app, button, calculate, inputs, [message, table, plot])


def _plan_tab(app: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            quantity = gr.Dropdown(list(planner.QUANTITIES), value=planner.QUANTITIES[0], label="Known quantity")
            value = gr.Textbox("1e20", label="Its value (1e20, 1.3B, 300M)")
            ratio = gr.Textbox("", label="Tokens per parameter (empty: optimal)")
            law = gr.Dropdown(list(planner.RULES), value=planner.RULES[0], label="Scaling law")
            description = gr.Markdown(planner.describe_rule(planner.RULES[0]))
            button = gr.Button("Plan", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            table = gr.Dataframe(headers=["", "plan", "95% interval"], interactive=False, show_label=False)
            plot = gr.Plot(show_label=False)
            alternatives = gr.Dataframe(
                headers=["times optimal N", "N", "D", "compute wasted"], interactive=False,
                label="Smaller and larger models at the same compute",
            )  # fmt: skip

    def plan(*fields: str) -> tuple[Any, ...]:
        quantity, value, ratio, law = fields
        result = planner.plan(quantity, read_number(value, quantity), read_number(ratio, "tokens per parameter"), law)
        warnings = "\n\n".join(f"⚠️ {warning}" for warning in result.warnings)
        figure = loss_figure(result.rule, result.plan) if isinstance(result.rule, Law) else None
        return warnings, result.rows, figure, result.off_optimum

    law.change(planner.describe_rule, law, description, show_progress="hidden")
    _connect(app, button, plan, [quantity, value, ratio, law], [message, table, plot, alternatives])


def _core_tab(app: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            suite = gr.Radio(["core-22", "core-11"], value="core-22", label="Start from the random baselines of")
            lines = gr.Textbox(
                dashboard.baseline_lines("core-22"),
                label="One task per line: name, accuracy (0.41 or 41%)",
                lines=22,
                max_lines=22,
            )
            upload = gr.File(label="or upload a results.json", file_types=[".json"], height=140)
            button = gr.Button("Score", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            plot = gr.Plot(show_label=False)
            table = gr.Dataframe(
                headers=["task", "accuracy", "centered v1", "centered v2"],
                interactive=False, show_label=False, max_height=1000,
            )  # fmt: skip
            gr.Markdown(
                "Baselines are in brackets. Published results: GPT-2 by the authors of nanochat, the others by the "
                "authors of DCLM (arXiv:2406.11794)."
            )

    def score(*fields: str) -> tuple[Any, ...]:
        scores = dashboard.read_lines(fields[0])
        models = dashboard.compare_with_published(scores)
        figure = value_figure(models, "yours", "CORE (v1)", "{:.3f}") if models else None
        return dashboard.headline(scores), figure, dashboard.score_table(scores)

    def read(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return gr.skip(), gr.skip()
        try:
            return dashboard.lines_from_results(Path(path).read_text(encoding="utf-8-sig", errors="replace")), ""
        except InputError as error:
            return gr.skip(), _error_message(error)

    suite.change(dashboard.baseline_lines, suite, lines, show_progress="hidden")
    upload.change(read, upload, [lines, message])
    _connect(app, button, score, [lines], [message, plot, table])


def _connect(
    app: gr.Blocks, button: gr.Button, compute: Callable[..., tuple[Any, ...]], inputs: list[Any], outputs: list[Any]
) -> None:
    """Compute on a click and once when the page opens; show errors in place of results."""

    def run(*fields: Any) -> tuple[Any, ...]:
        try:
            return compute(*fields)
        except InputError as error:
            return (_error_message(error), *[None] * (len(outputs) - 1))

    button.click(run, inputs, outputs)
    app.load(run, inputs, outputs)


def _error_message(error: InputError) -> str:
    return f"⚠️ **Invalid input.** {error}"
