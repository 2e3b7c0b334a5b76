"""Score a model in memory: bits per byte of two documents, and two tasks of core-11.

Run it with a Hub id or a folder: `python examples/evaluate_in_python.py gpt2`.
"""

import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_core_bpb import bits_per_byte, evaluate_core


def main(name: str) -> None:
    """Print both numbers with their signatures."""
    model = AutoModelForCausalLM.from_pretrained(name)
    tokenizer = AutoTokenizer.from_pretrained(name)
    text = bits_per_byte(model, tokenizer, ["The river ran to the sea.", "海も空も青い。"])
    print(f"{text.bpb:.4f} bits per byte over {text.total.num_bytes} bytes\n  {text.signature}")
    core = evaluate_core(model, tokenizer, tasks=["arc_easy", "piqa"], limit=20)
    for task, result in core.tasks.items():
        print(f"{task}: accuracy {result.accuracy:.3f}, centered {result.centered(core.baselines):+.3f}")
    print(f"  {core.signature}")


if __name__ == "__main__":
    main(sys.argv[1])
