"""The Space's app: three tabs of fields around the calculators, which do all of the computing."""

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
    "A tokenizer cuts a text into pieces, and each one cuts differently: the same page is a thousand tokens to one "
    "model and thirteen hundred to another. A loss by token is therefore a number about the page and the tokenizer at "
    "once. Bytes are the same for all. Add up what the model pays for every token of the page, in bits, and divide by "
    "the bytes of the page: that is bits per byte, and two models that share nothing but the page can be held against "
    "each other by it. Eight bits per byte is what it costs to know nothing. A general compressor, which has never "
    "read anything before this page, gets some way below on the strength of repeated words alone. A language model "
    "has read a great deal before, and should get much further; how much further is what this number says."
)
TITLE = "Bits per byte, compute, CORE"
_TOP = f"""\
# {TITLE}
Numbers of language models that can be compared across tokenizers, computed by
[hf_core_bpb](https://pypi.org/project/hf-core-bpb/) {__version__}. Nothing that you type is kept.
"""


def build_app(first: Metric = "bpb") -> gr.Blocks:
    """Return the app with the tab of a metric in front; launch() serves it."""
    app: gr.Blocks
    with gr.Blocks(title=TITLE) as app:
        gr.Markdown(_TOP)
        with gr.Tabs(selected=first):
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
                _TEXT, label="Text (its bytes are counted; leave empty to give them)", lines=5, max_lines=12
            )
            quantity = gr.Dropdown(list(QUANTITIES), value="nats per token", label="The loss is known as")
            value = gr.Textbox("3.1", label="Its value")
            with gr.Row():
                tokens = gr.Textbox("170", label="Tokens scored", min_width=120)
                num_bytes = gr.Textbox(bits.count_text(_TEXT), label="UTF-8 bytes", min_width=120, interactive=False)
            button = gr.Button("Calculate", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            found = gr.Dataframe(headers=["measure", "value"], interactive=False, show_label=False)
            plot = gr.Plot(show_label=False)

    def calculate(*given: str) -> tuple[Any, ...]:
        text, quantity, value, tokens, num_bytes = given
        result = bits.calculate(
            quantity, read_number(value, quantity), read_count(tokens, "tokens"), read_count(num_bytes, "bytes"), text
        )
        bpb = result.quantities.get("bits per byte")
        head = "" if bpb is None else f"## {bpb:.4f} bits per byte\n" if bpb < 1e4 else f"## {bpb:.4g} bits per byte\n"
        rows = [[name, f"{number:.6g}"] for name, number in result.quantities.items()]
        if bpb is None:
            return head + result.reading, rows, None
        bars = {"chance": 8.0, **result.compressors, "the model": bpb}
        return head + result.reading, rows, value_figure(bars, "the model", "bits per byte", "{:.3g}")

    def count(text: str) -> dict[str, Any]:
        # The field can be written into where there is no text to count.
        try:
            return gr.update(value=bits.count_text(text), interactive=not text)
        except InputError:
            # Said where it is computed with.
            return gr.update(value="", interactive=False)

    text.change(count, text, num_bytes, show_progress="hidden")
    inputs, outputs = [text, quantity, value, tokens, num_bytes], [message, found, plot]
    _connect(app, button, calculate, inputs, outputs)


def _plan_tab(app: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            given = gr.Dropdown(list(planner.GIVEN), value=planner.GIVEN[0], label="What is given")
            value = gr.Textbox("1e20", label="Its value (1e20, 1.3B, 300M)")
            ratio = gr.Textbox("", label="Tokens per parameter (empty: what is optimal)")
            law = gr.Dropdown(list(planner.RULES), value=planner.RULES[0], label="By which law")
            named = gr.Markdown(planner.counted(planner.RULES[0]))
            button = gr.Button("Plan", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            found = gr.Dataframe(headers=["", "plan", "95 %"], interactive=False, show_label=False)
            plot = gr.Plot(show_label=False)
            beside = gr.Dataframe(
                headers=["times optimal N", "N", "D", "compute wasted"], interactive=False,
                label="Smaller and larger models at the same compute",
            )  # fmt: skip

    def plan(*given: str) -> tuple[Any, ...]:
        what, value, ratio, law = given
        made = planner.plan(what, read_number(value, what), read_number(ratio, "tokens per parameter"), law)
        warnings = "\n\n".join(f"⚠️ {warning}" for warning in made.warnings)
        figure = loss_figure(made.rule, made.plan) if isinstance(made.rule, Law) else None
        return warnings, made.rows, figure, made.off_optimum

    law.change(planner.counted, law, named, show_progress="hidden")
    _connect(app, button, plan, [given, value, ratio, law], [message, found, plot, beside])


def _core_tab(app: gr.Blocks) -> None:
    with gr.Row():
        with gr.Column(scale=2):
            suite = gr.Radio(["core-22", "core-11"], value="core-22", label="Start from what guessing gives in")
            lines = gr.Textbox(
                dashboard.guessing("core-22"),
                label="One task a line: name, accuracy (0.41 or 41%)",
                lines=22,
                max_lines=22,
            )
            upload = gr.File(label="or a results.json", file_types=[".json"], height=140)
            button = gr.Button("Score", variant="primary")
        with gr.Column(scale=3):
            message = gr.Markdown()
            plot = gr.Plot(show_label=False)
            found = gr.Dataframe(
                headers=["task", "accuracy", "centered v1", "centered v2"],
                interactive=False, show_label=False, max_height=1000,
            )  # fmt: skip
            gr.Markdown(
                "In brackets: the baseline. Published: GPT-2 by nanochat's authors, the others by DCLM's "
                "(arXiv:2406.11794)."
            )

    def score(*given: str) -> tuple[Any, ...]:
        scores = dashboard.read_lines(given[0])
        models = dashboard.beside(scores)
        figure = value_figure(models, "yours", "CORE (v1)", "{:.3f}") if models else None
        return dashboard.headline(scores), figure, dashboard.table(scores)

    def read(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return gr.skip(), gr.skip()
        try:
            return dashboard.lines_of_results(Path(path).read_text(encoding="utf-8-sig", errors="replace")), ""
        except InputError as error:
            return gr.skip(), _say(error)

    suite.change(dashboard.guessing, suite, lines, show_progress="hidden")
    upload.change(read, upload, [lines, message])
    _connect(app, button, score, [lines], [message, plot, found])


def _connect(
    app: gr.Blocks, button: gr.Button, compute: Callable[..., tuple[Any, ...]], inputs: list[Any], outputs: list[Any]
) -> None:
    """Compute when asked to and once when the page opens; what does not fit is said where results would stand."""

    def run(*given: Any) -> tuple[Any, ...]:
        try:
            return compute(*given)
        except InputError as error:
            return (_say(error), *[None] * (len(outputs) - 1))

    button.click(run, inputs, outputs)
    app.load(run, inputs, outputs)


def _say(error: InputError) -> str:
    return f"⚠️ **That does not fit.** {error}"
