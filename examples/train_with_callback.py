"""Train a small model on a CPU in minutes, with everything that CoreBpbCallback adds to a Trainer.

    python examples/train_with_callback.py --output run

A byte-level BPE of 2,048 ids and a small Llama learn Python's language reference. Some of its topics are held out.
Every line that Trainer prints has tokens per parameter and FLOPs. Every evaluation has bits per byte, which choose the
best checkpoint. From the sixth evaluation on, a forecast of the last one is logged. `--tokens 2e6` makes the model that
ships as the demo. Seeds are fixed, but the weights depend on the version of Python and on torch's kernels.
"""

import argparse
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.data.demo import read_topics, split_topics
from hf_core_bpb.scaling.plan import make_schedule

BOS = "<|endoftext|>"
ROW_TOKENS = 1024
ROWS_PER_STEP = 4


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on the texts, with one special token for BOS and EOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2048, special_tokens=[BOS], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS)


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build an untrained Llama of about two million parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=5,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=ROW_TOKENS,
        tie_word_embeddings=True,
        attention_dropout=0.1,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def make_rows(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[dict[str, list[int]]]:
    """Concatenate the documents, each after a BOS, and cut them into rows of one length."""
    stream = [i for text in texts for i in [tokenizer.bos_token_id, *tokenizer.encode(text)]]
    rows = [stream[i : i + ROW_TOKENS] for i in range(0, len(stream) - ROW_TOKENS + 1, ROW_TOKENS)]
    return [{"input_ids": row, "labels": row} for row in rows]


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
    schedule = make_schedule(args.tokens, ROW_TOKENS * ROWS_PER_STEP)
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
            per_device_train_batch_size=ROWS_PER_STEP,
            learning_rate=3e-3,
            adam_beta2=0.95,
            weight_decay=0.1,
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
        data_collator=default_data_collator,
        processing_class=tokenizer,
        callbacks=[callback],
    )
    trainer.train()
    trainer.model.half().save_pretrained(args.output / "model")
    tokenizer.save_pretrained(args.output / "model")
    scale = callback.scale()
    print(f"trained on {scale['scale/target_tokens']:,.0f} tokens, {scale['scale/flops']:.3g} FLOPs")
    print(f"best bits per byte: {trainer.state.best_metric:.4f} at step {trainer.state.best_global_step}")
    print(f"CORE on the demo's rows at the end: {callback.core_results[-1][1].core:+.4f}")
    for alert in callback.alerts:
        print(f"alert at step {alert.step}: {alert.kind}: {alert.reason}")
    print(f"saved: hf-core-bpb --model {args.output / 'model'}")


if __name__ == "__main__":
    main()
