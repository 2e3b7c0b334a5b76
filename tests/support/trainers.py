"""A real Trainer on a tiny model, and what it logs."""

from support.tiny_models import build_tiny_model
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

TEXTS = ["The river ran to the sea.", "What is it? The other one.", "Ärger, 海 und 🌊."]
# The lengths of the rows in tokens, repeated in this order.
LENGTHS = [9, 5, 12, 7]


def rows(count=16, labelled=True):
    """Return rows of token ids, with equal labels or without any."""
    dataset = []
    for index in range(count):
        ids = [(7 * index + 3 * i) % 290 + 1 for i in range(LENGTHS[index % 4])]
        dataset.append({"input_ids": ids, "labels": list(ids)} if labelled else {"input_ids": ids})
    return dataset


def text_row(tokenizer, text=TEXTS[0]):
    """Return a row of a text's token ids, with the special token in front."""
    return {"input_ids": [0, *tokenizer.encode(text)]}


def make_trainer(
    tmp_path, tokenizer, callback, *, data=None, model=None, collator=None, eval_dataset=None, **arguments
):
    """Return a Trainer for 4 steps of 2 rows on a CPU that logs every step; keywords are TrainingArguments."""
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
    """Return the values of a key in the logs, without the summary at the end, which repeats the last counts."""
    return [entry[key] for entry in trainer.state.log_history if key in entry and "train_runtime" not in entry]


def steps_with(trainer, key):
    """Return the steps at which a key was logged."""
    return [entry["step"] for entry in trainer.state.log_history if key in entry]
