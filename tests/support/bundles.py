"""Write a CORE bundle."""

import json


def write_bundle(folder, tasks):
    """Write tasks by name, each (kind, shots, delimiter, rows); baselines are 20% for multiple choice, else 0."""
    (folder / "eval_data").mkdir(parents=True)
    config, table = ["icl_tasks:"], ["Eval Task,Random baseline"]
    for name, (kind, shots, delimiter, rows) in tasks.items():
        (folder / "eval_data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        config += ["-", f"  label: {name}", f"  dataset_uri: {name}.jsonl", f"  num_fewshot: [{shots}]"]
        config += [f"  icl_task_type: {kind}", f"  continuation_delimiter: {json.dumps(delimiter)}"]
        table.append(f"{name},{20 if kind == 'multiple_choice' else 0}")
    (folder / "core.yaml").write_text("\n".join(config) + "\n")
    (folder / "eval_meta_data.csv").write_text("\n".join(table) + "\n")
    return folder
