"""A loopback Hub for the whole session, tiny models, and the data folder beside the checkout if it exists.

The Hub's clients read HF_ENDPOINT when they are imported, so the server starts before anything else.
"""

import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from support.loopback_hub import LoopbackHub

SCRATCH = Path(tempfile.mkdtemp(prefix="hf_core_bpb-tests-"))
HUB = LoopbackHub(SCRATCH / "hub")
os.environ.update(
    HF_ENDPOINT=HUB.endpoint,
    HF_HOME=str(SCRATCH / "home"),
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="1",
    COLUMNS="120",
)
# Two launched processes would share one GPU. `make test-cuda` runs the tests that need it, and shows it to them.
if "HF_CORE_BPB_SHOW_CUDA" not in os.environ:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "WORLD_SIZE", "RANK"):
    os.environ.pop(name, None)

# The same examples in every run; `make fuzz` draws others.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")

SHARED = Path(__file__).resolve().parents[2] / "shared"


LAUNCHED: list[str] = []


def record_launch(event: str, arguments: tuple[object, ...]) -> None:
    """Record the programs of this environment that tests launch, and no uname or the like of a library."""
    if event == "subprocess.Popen" and str(arguments[0]).startswith(sys.prefix):
        LAUNCHED.append(str(arguments[0]))


sys.addaudithook(record_launch)


@pytest.fixture(autouse=True)
def only_slow_tests_launch_programs(request):
    yield
    launched = LAUNCHED.copy()
    LAUNCHED.clear()
    if launched and request.node.get_closest_marker("slow") is None:
        pytest.fail(f"mark this test slow, as it launches {launched[0]}")


@pytest.fixture(autouse=True)
def a_cuda_device_if_marked(request):
    if request.node.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device: make test-cuda")


def pytest_report_header() -> str:
    return f"hf_core_bpb under test: {find_spec('hf_core_bpb').origin}"


def pytest_unconfigure() -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real models, rows and golden answers beside the checkout; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data folder {SHARED.name} beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def package() -> Path:
    """The folder of the installed package."""
    return Path(find_spec("hf_core_bpb").origin).parent


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE with one special token for BOS and EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(
        ["Question: what is it?\nAnswer: the other one, and the river ran to the sea. " * 3], trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def byte_tokenizer():
    """A tokenizer without BOS and EOS in which every byte is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe)


@pytest.fixture(scope="session")
def tiny_model():
    from support.tiny_models import build_tiny_model

    return build_tiny_model()


@pytest.fixture(scope="session")
def hub(package, tokenizer) -> LoopbackHub:
    """A Hub with the datasets of core-11 (rows of the demo), a text dataset and two models."""
    from support.tiny_models import build_tiny_model

    root = HUB.root
    shutil.copytree(package / "demo" / "rows", root / "datasets")
    pages = root / "datasets" / "EleutherAI" / "wikitext_document_level" / "wikitext-2-raw-v1"
    pages.mkdir(parents=True)
    (pages / "test.jsonl").write_text(
        '{"page": "The river ran to the sea."}\n{"page": ""}\n{"page": "Ärger, 海 und 🌊."}\n'
    )
    (pages.parent / "README.md").write_text(
        "---\nconfigs:\n- config_name: wikitext-2-raw-v1\n  data_files:\n"
        "  - split: test\n    path: wikitext-2-raw-v1/test.jsonl\n---\n"
    )
    for name, model in {"tiny": build_tiny_model(), "owner/short": build_tiny_model("llama", 64)}.items():
        model.save_pretrained(root / "models" / name)
        tokenizer.save_pretrained(root / "models" / name)
    return HUB
