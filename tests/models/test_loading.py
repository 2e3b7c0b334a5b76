"""Models that are spread, quantized, adapted, compiled or in another format score as when loaded plainly."""

import hashlib
import json
import os
import pickle
import shutil

import pytest
import torch
from support.command import run_command
from support.gguf_files import write_gguf
from support.naive import nats_of
from support.tiny_models import build_tiny_model

from hf_core_bpb import bits_per_byte
from hf_core_bpb.cli.main import main
from hf_core_bpb.distributed import OneProcess
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.models import loading
from hf_core_bpb.models.options import ModelOptions
from hf_core_bpb.results.folder import RunFolder
from hf_core_bpb.scaling.parameters import count_parameters

TEXT = "The river ran to the sea, and the sea was wide; what is it? The other one. " * 3
TWO = ("torchrun", "--nproc_per_node", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A small Llama with its tokenizer in safetensors and pickled, and a text."""
    root = tmp_path_factory.mktemp("models")
    model = build_tiny_model("llama")
    for name in ("plain", "pickled", "harmful"):
        model.save_pretrained(root / name)
        tokenizer.save_pretrained(root / name)
    for name in ("pickled", "harmful"):
        (root / name / "model.safetensors").unlink()
    torch.save(model.state_dict(), root / "pickled" / "pytorch_model.bin")
    (root / "text.txt").write_text(TEXT)
    return root


class Harm:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def command_of(folder, output, *options, model="plain"):
    arguments = ["--model", str(folder / model), "--eval", "bpb", "--text", str(folder / "text.txt"), "--quiet"]
    return [*arguments, "--output", str(output), *options]


def nats_in(output):
    (text,) = json.loads((output / "results.json").read_text())["bpb"].values()
    return text["nats"]


def naive_nats(model, tokenizer):
    ids = [tokenizer.bos_token_id, *tokenizer.encode(TEXT, add_special_tokens=False)]
    return sum(nats_of(model.eval(), ids, 1, len(ids)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "signature_part"),
    [
        (["--device-map", "auto"], None),
        (["--attn-implementation", "eager"], "attention:eager"),
        (["--trust-remote-code"], "remote-code:yes"),
        (["--compile"], "compiled:yes"),
    ],
    ids=["device map", "attention", "remote code", "compiled"],
)
def test_loading_options_change_no_numbers_and_are_in_the_signature(
    folder, tokenizer, tmp_path, monkeypatch, options, signature_part
):
    compiled = []
    compile_function = torch.compile

    def trace(function, **named):
        compiled.append(named)
        # Traced as for compiled code, but without a C++ compiler.
        return compile_function(function, backend="eager", **named)

    monkeypatch.setattr(torch, "compile", trace)
    assert main(command_of(folder, tmp_path / "run", *options)) == 0
    assert nats_in(tmp_path / "run") == pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-5)
    signature = json.loads((tmp_path / "run" / "results.json").read_text())["signature"]
    for name in ("attention:eager", "remote-code:yes", "compiled:yes"):
        assert (f"|{name}|" in signature) == (name == signature_part)
    assert compiled == ([{"dynamic": True}] if "--compile" in options else [])


def test_compile_is_disabled_with_a_warning_if_it_changes_logits(folder, tokenizer, tmp_path, monkeypatch, capsys):
    def miscompile(function, **_):
        def wrong(*args, **named):
            output = function(*args, **named)
            output.last_hidden_state = output.last_hidden_state * 1.1
            return output

        return wrong

    monkeypatch.setattr(torch, "compile", miscompile)
    assert main(command_of(folder, tmp_path / "run", "--compile")) == 0
    assert "warning: --compile disabled: it moves logits by" in capsys.readouterr().err
    assert nats_in(tmp_path / "run") == pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-5)
    assert "compiled" not in json.loads((tmp_path / "run" / "results.json").read_text())["signature"]


@pytest.fixture(scope="module")
def quantizable(tmp_path_factory, tokenizer):
    """A Llama that is large enough to quantize, with its folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    root = tmp_path_factory.mktemp("quantizable")
    torch.manual_seed(3)
    # 4-bit weights are packed in blocks of 64, and on a CPU in 32 rows.
    config = LlamaConfig(
        vocab_size=400, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, initializer_range=0.1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).float().eval()
    model.save_pretrained(root / "plain")
    tokenizer.save_pretrained(root / "plain")
    (root / "text.txt").write_text(TEXT)
    return model, root


def quantize(folder, name):
    """Return the model of a folder as transformers quantizes it with bitsandbytes."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = (
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
        if name == "4bit"
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=config, device_map={"": "cpu"}, dtype=torch.float32
    )


@pytest.fixture(params=["8bit", "4bit"])
def quantized_checkpoint(request, quantizable, tokenizer, tmp_path):
    """The name of a quantization, the model, and a folder with its checkpoint in `quantized`."""
    _, root = quantizable
    model = quantize(root / "plain", request.param)
    model.save_pretrained(tmp_path / "quantized")
    tokenizer.save_pretrained(tmp_path / "quantized")
    (tmp_path / "text.txt").write_text(TEXT)
    return request.param, model, tmp_path


@pytest.mark.parametrize("name", ["8bit", "4bit"])
def test_quantized_weights_score_as_with_bitsandbytes(quantizable, tokenizer, tmp_path, name):
    model, root = quantizable
    assert main(command_of(root, tmp_path / "run", "--quantization", name)) == 0
    assert nats_in(tmp_path / "run") == pytest.approx(naive_nats(quantize(root / "plain", name), tokenizer), rel=1e-3)
    assert nats_in(tmp_path / "run") != pytest.approx(naive_nats(model, tokenizer), rel=1e-4)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert f"|quantization:{name}|" in results["signature"]
    assert results["model"]["dtype"] == "float32"


@pytest.mark.parametrize("name", ["8bit", "4bit"])
def test_parameters_are_counted_as_before_quantization(quantizable, tmp_path, name):
    model, root = quantizable
    assert main(command_of(root, tmp_path / "run", "--quantization", name)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["model"]["parameters"]["total"] == count_parameters(model).total


def test_a_quantized_checkpoint_is_named_in_the_signature(quantized_checkpoint, tokenizer):
    name, model, folder = quantized_checkpoint
    assert main(command_of(folder, folder / "run", model="quantized")) == 0
    assert nats_in(folder / "run") == pytest.approx(naive_nats(model, tokenizer), rel=1e-3)
    part = f"|quantization:bitsandbytes-{name}|"
    assert part in json.loads((folder / "run" / "results.json").read_text())["signature"]
    assert part in bits_per_byte(model, tokenizer, [TEXT]).signature


def test_a_quantized_checkpoint_is_not_quantized_again(quantized_checkpoint, capsys):
    name, _, folder = quantized_checkpoint
    assert main(command_of(folder, folder / "run", "--quantization", "4bit", model="quantized")) == 2
    assert f"--quantization: expected unquantized weights, got bitsandbytes-{name}" in capsys.readouterr().err


def test_an_early_quantized_checkpoint_without_the_method_is_not_quantized_again(quantized_checkpoint, capsys):
    name, _, folder = quantized_checkpoint
    path = folder / "quantized" / "config.json"
    config = json.loads(path.read_text())
    del config["quantization_config"]["quant_method"]
    path.write_text(json.dumps(config))
    assert main(command_of(folder, folder / "run", "--quantization", "8bit", model="quantized")) == 2
    assert f"--quantization: expected unquantized weights, got bitsandbytes-{name}" in capsys.readouterr().err


def test_the_batch_size_is_in_the_signature_if_numbers_depend_on_it(folder, tmp_path, capsys, monkeypatch):
    options = ["--quantization", "8bit", "--batch-tokens", "64"]
    assert main(command_of(folder, tmp_path / "run", *options)) == 0
    assert (
        "|quantization:8bit|batch-tokens:64|processes:1|"
        in json.loads((tmp_path / "run" / "results.json").read_text())["signature"]
    )
    assert main(command_of(folder, tmp_path / "plain", "--batch-tokens", "64")) == 0
    assert "batch-tokens" not in json.loads((tmp_path / "plain" / "results.json").read_text())["signature"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", stop)
        assert main(command_of(folder, tmp_path / "cut", *options)) == 130
    assert main(command_of(folder, tmp_path / "cut", *options[:-1], "32")) == 2
    assert "unfinished run (batch-tokens 64, now 32)" in capsys.readouterr().err


def test_an_adapter_scores_as_in_peft(folder, tokenizer, tmp_path, capsys):
    from peft import LoraConfig, get_peft_model

    wanted = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = get_peft_model(build_tiny_model("llama"), wanted)
    adapted.save_pretrained(tmp_path / "adapter")
    options = ["--adapter", str(tmp_path / "adapter")]
    assert main(command_of(folder, tmp_path / "run", *options)) == 0
    expected = naive_nats(adapted, tokenizer)
    assert nats_in(tmp_path / "run") == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-3)
    files = ("adapter_model.safetensors", "adapter_config.json")
    content = b"".join((tmp_path / "adapter" / name).read_bytes() for name in files)
    pinned = f"|adapter:{tmp_path / 'adapter'}@sha256:{hashlib.sha256(content).hexdigest()[:8]}|"
    assert pinned in json.loads((tmp_path / "run" / "results.json").read_text())["signature"]

    # As the model itself, an adapter loads the base that it names.
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(folder / "plain")}))
    alone = ["--tokenizer", str(folder / "plain")]
    assert main(command_of(folder, tmp_path / "alone", *alone, model=str(tmp_path / "adapter"))) == 0
    assert nats_in(tmp_path / "alone") == pytest.approx(expected, rel=1e-5)

    adapted.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    assert not (tmp_path / "pickled" / "adapter_model.safetensors").exists()
    capsys.readouterr()
    options = ["--adapter", str(tmp_path / "pickled")]
    assert main(command_of(folder, tmp_path / "refused", *options)) == 2
    assert "--adapter: no adapter_model.safetensors at" in capsys.readouterr().err


def test_a_run_does_not_resume_with_other_loading_options(folder, tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", stop)
        assert main(command_of(folder, tmp_path / "run")) == 130
    assert main(command_of(folder, tmp_path / "run", "--attn-implementation", "eager")) == 2
    assert "unfinished run (attention None, now eager)" in capsys.readouterr().err
    assert main(command_of(folder, tmp_path / "run")) == 0


def test_the_digest_of_a_folder_changes_with_its_weights_but_not_its_readme(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    (tmp_path / "README.md").write_text("before")
    before = loading.digest_weights(tmp_path)
    (tmp_path / "README.md").write_text("after")
    assert loading.digest_weights(tmp_path) == before
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    assert loading.digest_weights(tmp_path) != before


def test_an_adapter_and_a_tokenizer_of_the_hub_are_pinned_by_commit(folder, hub, tmp_path, capsys):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(build_tiny_model("llama"), LoraConfig(r=4, target_modules=["q_proj"]))
    adapted.save_pretrained(hub.root / "models" / "owner" / "adapter")
    tokenizer = ["--tokenizer", "owner/short"]
    assert main(command_of(folder, tmp_path / "run", "--adapter", "owner/adapter", *tokenizer)) == 0
    signature = json.loads((tmp_path / "run" / "results.json").read_text())["signature"]
    assert f"|adapter:owner/adapter@{'5' * 40}|" in signature
    assert f"|tokenizer:owner/short@{'5' * 40}|" in signature
    capsys.readouterr()
    assert main(command_of(folder, tmp_path / "no", "--adapter", "owner/short")) == 2
    wrong = "--adapter: no adapter_model.safetensors at 'owner/short'"
    assert wrong in capsys.readouterr().err.splitlines()[-1]


def test_a_tokenizer_in_a_folder_is_pinned_by_a_digest_of_its_files(folder, tmp_path):
    shutil.copytree(folder / "plain", tmp_path / "other")
    files = ("tokenizer.json", "tokenizer_config.json")
    assert {path.name for path in (tmp_path / "other").glob("*token*")} == set(files)
    content = b"".join((tmp_path / "other" / name).read_bytes() for name in files)
    assert main(command_of(folder, tmp_path / "run", "--tokenizer", str(tmp_path / "other"))) == 0
    pinned = f"|tokenizer:{tmp_path / 'other'}@sha256:{hashlib.sha256(content).hexdigest()[:8]}|"
    assert pinned in json.loads((tmp_path / "run" / "results.json").read_text())["signature"]


def test_files_that_lack_weights_are_rejected_with_the_first_missing_name(folder, tokenizer, tmp_path, capsys):
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    def rename(path, old, new):
        save_file({name.replace(old, new): weight for name, weight in load_file(path).items()}, path, {"format": "pt"})

    shutil.copytree(folder / "plain", tmp_path / "plain")
    rename(tmp_path / "plain" / "model.safetensors", "q_proj", "zz_proj")
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(command_of(tmp_path, tmp_path / "a")) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "lack 2 weights of the model, or have them in another shape" in error
    assert error.endswith("such as model.layers.0.self_attn.q_proj.weight")
    wanted = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(build_tiny_model("llama"), wanted).save_pretrained(tmp_path / "adapter")
    rename(tmp_path / "adapter" / "adapter_model.safetensors", "layers.", "blocks.")
    assert main(command_of(folder, tmp_path / "b", "--adapter", str(tmp_path / "adapter"))) == 2
    assert "--adapter: the files at" in capsys.readouterr().err.splitlines()[-1]


def test_a_gguf_file_scores_as_the_model_it_was_converted_from(folder, tokenizer, tmp_path):
    model = build_tiny_model("llama")
    write_gguf(tmp_path / "model.gguf", model)
    tokens = ["--tokenizer", str(folder / "plain")]
    assert main(command_of(folder, tmp_path / "run", *tokens, model=str(tmp_path / "model.gguf"))) == 0
    assert nats_in(tmp_path / "run") == pytest.approx(naive_nats(model, tokenizer), rel=1e-5)
    assert "|gguf:model.gguf|" in json.loads((tmp_path / "run" / "results.json").read_text())["signature"]
    options = [*tokens, "--gguf-file", "model.gguf"]
    assert main(command_of(folder, tmp_path / "again", *options, model=str(tmp_path))) == 0
    assert nats_in(tmp_path / "again") == nats_in(tmp_path / "run")


def test_a_gguf_file_of_the_hub_is_pinned_by_commit(folder, hub, tmp_path):
    repository = hub.root / "models" / "owner" / "gguf"
    repository.mkdir()
    model = build_tiny_model("llama")
    write_gguf(repository / "model.gguf", model)
    arguments = ["--text", str(folder / "text.txt"), "--eval", "bpb", "--tokenizer", str(folder / "plain"), "--quiet"]
    options = ["--model", "owner/gguf", "--gguf-file", "model.gguf", "--output", str(tmp_path / "run")]
    assert main([*arguments, *options]) == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["model"]["revision"] == "5" * 40


def test_a_model_offloaded_to_disk_scores_as_in_memory(folder, tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM

    devices = {
        "model.embed_tokens": "disk", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "disk",
        "model.layers.0": "disk", "model.layers.1": "cpu",
    }  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder / "plain", device_map=devices, offload_folder=tmp_path, dtype=torch.float32
    )
    result = bits_per_byte(model, tokenizer, [TEXT])
    assert result.total.total_nats == pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["tensor parallel", "FSDP", "accelerate launch"])
def test_a_model_spread_over_two_processes_scores_as_on_one(folder, tokenizer, tmp_path, strategy):
    options = ["--tp-plan", "auto"] if strategy == "tensor parallel" else []
    launcher = (
        ("accelerate", "launch", "--num_processes", "2", "--use_fsdp") if strategy == "accelerate launch" else TWO
    )
    environment = {"OMP_NUM_THREADS": "1"} | (
        # As Accelerate sets them by default or by its configuration.
        {"ACCELERATE_USE_FSDP": "true", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"} if strategy == "FSDP" else {}
    )
    core = ["--eval", "core,bpb", "--source", "demo", "--tasks", "piqa,boolq,squad", "--max-length", "256"]
    finished = run_command(*command_of(folder, tmp_path / "two", *options, *core), launcher=launcher, **environment)
    assert finished.returncode == 0, finished.stderr
    assert main(command_of(folder, tmp_path / "one", *core)) == 0
    assert nats_in(tmp_path / "two") == pytest.approx(nats_in(tmp_path / "one"), rel=1e-6)
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    assert two["work"]["processes"] == 2
    # The processes call a sharded model in lockstep, so only strategies of a single call are used.
    assert two["work"]["backend"] == "full, tree; head masked"
    for name in ("piqa", "boolq", "squad"):
        rows = [
            [json.loads(line) for line in (tmp_path / run / "samples" / f"{name}.jsonl").read_text().splitlines()]
            for run in ("one", "two")
        ]
        for first, second in zip(*rows, strict=True):
            assert (first["prediction"], first["correct"]) == (second["prediction"], second["correct"])
            assert first["nats"] == pytest.approx(second["nats"], rel=1e-5)
    assert one["core"]["core"] == two["core"]["core"]


def test_remote_code_runs_only_with_its_flag(folder, tokenizer, tmp_path, capsys):
    shutil.copytree(folder / "plain", tmp_path / "custom")
    trace = tmp_path / "ran"
    path = tmp_path / "custom" / "config.json"
    auto_map = {
        "AutoConfig": "modeling_custom.CustomConfig",
        "AutoModelForCausalLM": "modeling_custom.CustomForCausalLM",
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map, "model_type": "remote-code-test"}))
    (tmp_path / "custom" / "modeling_custom.py").write_text(
        f"from transformers import LlamaConfig, LlamaForCausalLM\nopen({str(trace)!r}, 'a').close()\n"
        "class CustomConfig(LlamaConfig):\n    model_type = 'remote-code-test'\n"
        "class CustomForCausalLM(LlamaForCausalLM):\n    config_class = CustomConfig\n"
    )
    (tmp_path / "text.txt").write_text(TEXT)
    assert main(command_of(tmp_path, tmp_path / "a", model="custom")) == 2
    assert "--model: expected a causal language model at" in capsys.readouterr().err
    assert not trace.exists()
    assert main(command_of(tmp_path, tmp_path / "b", "--trust-remote-code", model="custom")) == 0
    assert trace.exists()
    assert nats_in(tmp_path / "b") == pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-5)
    assert "|remote-code:yes|" in json.loads((tmp_path / "b" / "results.json").read_text())["signature"]


def test_pickled_weights_load_only_if_allowed_and_never_run_code(folder, tokenizer, tmp_path, capsys):
    assert main(command_of(folder, tmp_path / "a", model="pickled")) == 2
    assert "; pickled weights need --allow-pickle" in capsys.readouterr().err
    assert main(command_of(folder, tmp_path / "a", "--allow-pickle", model="pickled")) == 0
    assert nats_in(tmp_path / "a") == pytest.approx(naive_nats(build_tiny_model("llama"), tokenizer), rel=1e-5)
    harm = tmp_path / "harm"
    with (folder / "harmful" / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"model.norm.weight": Harm(harm)}, file)
    assert main(command_of(folder, tmp_path / "b", "--allow-pickle", model="harmful")) == 2
    assert "--model: expected a causal language model" in capsys.readouterr().err
    assert not harm.exists()
    # Without the restriction on unpickling, the file would run its code.
    with (folder / "harmful" / "pytorch_model.bin").open("rb") as file:
        pickle.load(file)
    assert harm.exists()
    shutil.rmtree(harm)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tp-plan", "auto"], "--tp-plan: expected several processes, got one: launch with torchrun"),
        (["--tp-plan", "auto", "--device-map", "auto"], "expected one way to spread the model, got --device-map and"),
        (["--quantization", "4bit", "--tp-plan", "auto"], "--tp-plan: expected several processes"),
        (["--device-map", "everywhere"], "--model: expected a causal language model at"),
        (["--device-map", "cuda:7"], "--model: expected a causal language model at"),
        (["--revision", "main"], "--revision: expected an id on the Hub as --model, got a path on disk"),
        (["--attn-implementation", "nonsense"], "--model: expected a causal language model at"),
        (["--attn-implementation", "flash_attention_2"], "--model: expected a causal language model at"),
        (["--gguf-file", "none.gguf"], "--model: expected a causal language model at"),
        (["--adapter", "./nowhere"], "--adapter: expected"),
    ],
)
def test_loading_options_that_cannot_work_are_rejected_in_one_line(folder, hub, tmp_path, capsys, options, message):
    assert main(command_of(folder, tmp_path / "run", *options)) == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert not any(line.startswith("Traceback") for line in error)


@pytest.mark.parametrize(
    ("options", "processes", "fsdp", "message"),
    [
        ({"device_map": "auto"}, 2, False, "`device_map`: expected one process that owns all devices, got 2"),
        (
            {"device_map": "auto"},
            2,
            True,
            "`device_map`: expected one way to spread the model, got `device_map` and acc",
        ),
        (
            {"tp_plan": "auto", "quantization": "4bit"},
            2,
            False,
            "expected a whole model on each process, got `tp_plan`",
        ),
        ({"quantization": "8bit"}, 2, True, "expected a whole model on each process, got accelerate's FSDP"),
        ({"quantization": "8bit", "gguf_file": "a"}, 1, False, "expected unquantized weights, got a GGUF"),
    ],
)
def test_loading_options_that_exclude_each_other_are_rejected(monkeypatch, options, processes, fsdp, message):
    monkeypatch.setattr(loading, "process_group", lambda: OneProcess(torch.device("cpu"), num_processes=processes))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", str(fsdp))
    with pytest.raises(InputError) as caught:
        loading.check_loading(ModelOptions("m", **options))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "package", "extra"),
    [
        (["--adapter", "a"], "peft", "adapters"),
        (["--quantization", "8bit"], "bitsandbytes", "quantization"),
        (["--gguf-file", "a.gguf"], "gguf", "gguf"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(folder, tmp_path, capsys, monkeypatch, options, package, extra):
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else name)
    assert main(command_of(folder, tmp_path / "run", *options)) == 2
    assert f"{package} is not installed: pip install 'hf_core_bpb[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, 4, 20, 60, None], ids=lambda size: "half" if size is None else str(size))
def test_a_truncated_gguf_file_is_rejected_in_one_line(folder, tmp_path, capsys, size):
    path = tmp_path / "model.gguf"
    write_gguf(path, build_tiny_model("llama"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if size is None else size])
    options = ["--tokenizer", str(folder / "plain")]
    assert main(command_of(folder, tmp_path / "run", *options, model=str(path))) == 2
    assert "error: --model: expected a causal language model at" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_truncated_file_of_a_checkpoint_is_rejected_in_one_line(folder, tmp_path, capsys, name):
    shutil.copytree(folder / "plain", tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(command_of(folder, tmp_path / "run", model=str(tmp_path / "model"))) == 2
    assert "error: --model: expected a" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"), [("num_attention_heads", 0), ("hidden_size", "wide"), ("max_position_embeddings", 1)]
)
def test_an_impossible_value_in_a_config_is_rejected_in_one_line(folder, tmp_path, capsys, name, value):
    shutil.copytree(folder / "plain", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert main(command_of(folder, tmp_path / "run", model=str(tmp_path / "model"))) == 2
    assert "model: expected" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_if_one_process_cannot_load_the_model_all_end_with_its_message(folder, tmp_path):
    shutil.copytree(folder / "plain", tmp_path / "custom")
    path = tmp_path / "custom" / "config.json"
    auto_map = {
        "AutoConfig": "modeling_custom.CustomConfig",
        "AutoModelForCausalLM": "modeling_custom.CustomForCausalLM",
    }
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map, "model_type": "failing-process-test"})
    )
    (tmp_path / "custom" / "modeling_custom.py").write_text(
        "import os\nfrom transformers import LlamaConfig, LlamaForCausalLM\n"
        "class CustomConfig(LlamaConfig):\n    model_type = 'failing-process-test'\n"
        "class CustomForCausalLM(LlamaForCausalLM):\n    config_class = CustomConfig\n"
        "    def __init__(self, config):\n        if os.environ['RANK'] == '1':\n"
        "            raise OSError('no room for me')\n        super().__init__(config)\n"
    )
    options = command_of(folder, tmp_path / "run", "--trust-remote-code", model=str(tmp_path / "custom"))
    finished = run_command(*options, launcher=TWO)
    assert finished.returncode != 0
    assert finished.stderr.count("hf-core-bpb: error: --model: expected a causal language model at") == 1
    assert "got: no room for me" in finished.stderr


def test_options_of_a_model_require_a_model(capsys):
    for option in ("--compile", "--trust-remote-code", "--allow-pickle"):
        assert main([option]) == 2
        assert f"{option}: expected --model with it, got none" in capsys.readouterr().err
    for option, value in (("--revision", "main"), ("--adapter", "a"), ("--tp-plan", "auto"), ("--gguf-file", "a")):
        assert main([option, value]) == 2
        assert f"{option}: expected --model with it, got none" in capsys.readouterr().err


def test_an_error_in_a_model_s_code_is_reported_with_its_message(tokenizer):
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(2, 2))
            self.config = build_tiny_model().config

        def forward(self, input_ids, use_cache=None):
            raise AssertionError("rows must be a multiple of 32")

    with pytest.raises(RunError, match="failed: AssertionError: rows"):
        bits_per_byte(Broken(), tokenizer, ["text"])
