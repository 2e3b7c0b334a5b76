"""Training in two processes that torchrun starts."""

import json
from pathlib import Path

import pytest
from support.command import run_script
from support.trainers import LENGTHS

pytestmark = pytest.mark.slow

TORCHRUN = ("torchrun", "--nproc_per_node", "2")

TRAIN = """
import json, os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hf_core_bpb.distributed import leave
from support.trainers import make_trainer, rows, TEXTS
from transformers import PreTrainedTokenizerFast
from hf_core_bpb import CoreBpbCallback

tokenizer = PreTrainedTokenizerFast.from_pretrained("tokenizer")
data = [{{"input_ids": row["input_ids"]}} for row in rows(16)]
callback = CoreBpbCallback(TEXTS, bpb_every=1)
options = {{"per_device_train_batch_size": 8 // {processes}, "max_steps": 2, "learning_rate": 0.0}}
trainer = make_trainer(Path("."), tokenizer, callback, data=data, **options)
trainer.train()
if trainer.args.process_index == {rank}:
    Path("{processes}-{rank}.json").write_text(json.dumps(trainer.state.log_history))
leave()
# torch's threads can abort the interpreter's shutdown.
os._exit(0)
"""


def test_two_processes_count_all_tokens_and_measure_the_same_bits_per_byte(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tests = str(Path(__file__).parents[1])
    histories = []
    for processes, rank in ((1, 0), (2, 0), (2, 1)):
        path = tmp_path / "script.py"
        path.write_text(TRAIN.format(tests=tests, processes=processes, rank=rank))
        finished = run_script(path, launcher=TORCHRUN if processes == 2 else ())
        assert finished.returncode == 0, finished.stderr
        histories.append(json.loads((tmp_path / f"{processes}-{rank}.json").read_text()))
    # Two steps of eight rows see all 16 rows, 4 of each length.
    for history in histories:
        entry = [e for e in history if "scale/target_tokens" in e][-1]
        assert entry["scale/input_tokens"] == 4 * sum(LENGTHS)
        assert entry["scale/target_tokens"] == 4 * sum(LENGTHS) - 16
    bpb = [[e["eval_bpb"] for e in history if "eval_bpb" in e] for history in histories]
    assert bpb[1] == bpb[2]
    assert bpb[1] == pytest.approx(bpb[0], rel=1e-9)


LOG_IN_ONE_PROCESS = """
import json, os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hf_core_bpb.distributed import leave
from support.trainers import make_trainer, rows
from transformers import PreTrainedTokenizerFast, Trainer
from hf_core_bpb import CoreBpbCallback

compute_loss = Trainer.compute_loss

def compute_and_log_loss(self, *args, **kwargs):
    if self.is_world_process_zero():
        self.log({{"loss": 1.0, "users_value": 2.0}})
    return compute_loss(self, *args, **kwargs)

Trainer.compute_loss = compute_and_log_loss
tokenizer = PreTrainedTokenizerFast.from_pretrained("tokenizer")
data = [{{"input_ids": row["input_ids"]}} for row in rows(16)]
trainer = make_trainer(Path("."), tokenizer, CoreBpbCallback(), data=data, max_steps=2)
trainer.train()
if trainer.is_world_process_zero():
    Path("log.json").write_text(json.dumps(trainer.state.log_history))
leave()
os._exit(0)
"""


def test_a_loss_that_one_process_logs_does_not_wait_for_the_other(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = tmp_path / "script.py"
    path.write_text(LOG_IN_ONE_PROCESS.format(tests=str(Path(__file__).parents[1])))
    finished = run_script(path, launcher=TORCHRUN)
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "log.json").read_text())
    assert [entry["users_value"] for entry in history if "users_value" in entry] == [2.0, 2.0]
