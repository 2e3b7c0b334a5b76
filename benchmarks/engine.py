"""The cost of scoring by the engine, in plain batches, and one item per forward.

    python benchmarks/engine.py --bundle BUNDLE --tokenizer gpt2 > table.md

benchmarks/README.md describes the model, the strategies and the results.
"""

import argparse
from pathlib import Path

from counts import Counter, check_counts, count_mmlu, count_tasks, count_tokens
from memory import compare_memory
from model import build_model
from seconds import HEADER, time_help, time_task
from strategies import EngineStrategy
from suite import load_bundle, load_mmlu
from transformers import AutoTokenizer

from hf_core_bpb.data.task_files import list_tasks, suite_tasks
from hf_core_bpb.scoring.engine import FAST_PATHS

PARTS = ("tasks", "tokens", "mmlu", "time", "memory", "help")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="a CORE bundle")
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--limit", type=int, default=50, help="items per task for counts (default: 50)")
    parser.add_argument("--timed-items", type=int, default=16, help="items of arc_easy that are timed (default: 16)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--mmlu-limit", type=int, help="items of MMLU for counts (default: all)")
    parser.add_argument("--mmlu-rows", type=Path, help="a folder of datasets laid out like the Hub (default: the Hub)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    parts = args.parts.split(",")
    model = build_model()
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    engine, plain, counter = EngineStrategy(model, FAST_PATHS), EngineStrategy(model, frozenset()), Counter()
    core = [task.name for task in suite_tasks(list_tasks(), "core-22")]
    if "tasks" in parts:
        tasks = load_bundle(args.bundle, core, tokenizer, args.limit)
        print(f"{args.limit} items per task (repeat_copy_logic has 32):\n")
        print("\n".join(count_tasks(tasks, engine, plain, counter)) + "\n")
        (arc_easy,) = (one for one in tasks if one.task.name == "arc_easy")
        print(check_counts(arc_easy, engine, counter) + "\n", flush=True)
    if "tokens" in parts:
        over = count_tokens(load_bundle(args.bundle, core, tokenizer, 10 * args.limit), engine)
        print(f"{10 * args.limit} items per task, tokens over the minimum: {over}.\n", flush=True)
    if "mmlu" in parts:
        print(count_mmlu(load_mmlu(args.mmlu_rows, tokenizer, args.mmlu_limit), engine, plain) + "\n", flush=True)
    if "time" in parts:
        print(HEADER)
        model.set_attn_implementation("sdpa")
        for name, count in (("arc_easy", args.timed_items), ("openbook_qa", 8 * args.timed_items)):
            (benchmark,) = load_bundle(args.bundle, [name], tokenizer, count)
            print(time_task(benchmark, model, engine, plain, args.repetitions), flush=True)
        print()
    if "memory" in parts:
        print("\n".join(compare_memory(args.repetitions)) + "\n", flush=True)
    if "help" in parts:
        print(time_help())


if __name__ == "__main__":
    main()
