"""A Trainer on a tiny model, and its log."""

from support.tiny_models import build_tiny_model
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

TEXTS = ["The river ran to the sea.", "What is it? The other one.", "Ärger, 海 und 🌊."]
# Rows of 9, 5, 12 and 7 tokens, repeated.
LENGTHS = [9, 5, 12, 7]


def rows(count=16, labelled=True):
    examples = []
    for row in range(count):
        ids = [(7 * row + 3 * i) % 290 + 1 for i in range(LENGTHS[row % 4])]
        examples.append({"input_ids": ids, "labels": list(ids)} if labelled else {"input_ids": ids})
    return examples


def make_trainer(
    tmp_path, tokenizer, callback, *, data=None, model=None, collator=None, eval_dataset=None, **arguments
):
    tokenizer.pad_token = tokenizer.eos_token
    options = {
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "seed": 5,
        "disable_tqdm": True,
    } | arguments
    return Trainer(
        model=model if model is not None else build_tiny_model(),
        args=TrainingArguments(output_dir=str(tmp_path / "out"), **options),
        train_dataset=data if data is not None else rows(labelled=False),
        eval_dataset=eval_dataset,
        data_collator=collator or DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
        callbacks=[callback],
    )


def logged(trainer, key):
    """Return the values logged during training, without the final summary, which repeats the last counts."""
    return [entry[key] for entry in trainer.state.log_history if key in entry and "train_runtime" not in entry]
