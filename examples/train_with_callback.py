"""Train a small model on a CPU in minutes, with everything that CoreBpbCallback adds to a Trainer.

    python examples/train_with_callback.py --output run

The tokenizer, the model's shape and the text are those of the demo model: Python's language reference, some of its
topics held out. Every line that Trainer prints has tokens per parameter and FLOPs; every evaluation has bits per byte,
by which the best checkpoint is chosen, and, after six of them, a forecast of the last.
"""

import argparse
from pathlib import Path

from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments, set_seed

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.demo.text import read_topics, split_topics
from hf_core_bpb.demo.train import build_model, train_tokenizer
from hf_core_bpb.scaling.plan import make_schedule

ROW_TOKENS = 256
ROWS_A_STEP = 8


def make_rows(tokenizer, texts: list[str]) -> list[dict[str, list[int]]]:
    """Documents one after another, each behind BOS, cut into rows of one length."""
    stream = [i for text in texts for i in [tokenizer.bos_token_id, *tokenizer.encode(text)]]
    return [{"input_ids": stream[i : i + ROW_TOKENS]} for i in range(0, len(stream) - ROW_TOKENS, ROW_TOKENS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("run"))
    parser.add_argument("--tokens", type=float, default=300_000)
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--report-to", default="none", help="tensorboard, wandb, trackio")
    args = parser.parse_args()

    set_seed(20)
    training, held_out = split_topics(read_topics())
    tokenizer = train_tokenizer(training)
    tokenizer.pad_token = tokenizer.eos_token
    schedule = make_schedule(args.tokens, ROW_TOKENS * ROWS_A_STEP)
    every = max(1, schedule.max_steps // args.evaluations)
    callback = CoreBpbCallback(
        texts=held_out,
        core_every=10 * every,
        core_limit=4,
        source="demo",
        target_ratio=0.1,
    )
    trainer = Trainer(
        model=build_model(tokenizer),
        args=TrainingArguments(
            output_dir=str(args.output),
            per_device_train_batch_size=ROWS_A_STEP,
            learning_rate=3e-3,
            logging_steps=every,
            eval_strategy="steps",
            eval_steps=every,
            save_steps=every,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="eval_bpb",
            greater_is_better=False,
            report_to=args.report_to,
            use_cpu=True,
            **schedule.arguments(),
        ),
        train_dataset=make_rows(tokenizer, training),
        eval_dataset=make_rows(tokenizer, held_out),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.train()
    scale = callback.scale()
    print(f"trained on {scale['scale/target_tokens']:,.0f} tokens, {scale['scale/flops']:.3g} FLOPs")
    print(f"best bits per byte: {trainer.state.best_metric:.4f} at step {trainer.state.best_global_step}")
    print(f"CORE on the demo's rows at the end: {callback.core_results[-1][1].core:+.4f}")
    for alert in callback.alerts:
        print(f"alert at step {alert.step}: {alert.kind}: {alert.reason}")


if __name__ == "__main__":
    main()
