"""Where weights are loaded to, and on which device a model computes."""

import pytest
import torch
from support.tiny_models import build_tiny_model
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta

from hf_core_bpb.models import loading
from hf_core_bpb.models.inspect import device_of
from hf_core_bpb.models.options import ModelOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("model")
    build_tiny_model("llama").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def sharded_on(monkeypatch):
    """Request FSDP, and return the devices of the weights of each model that is about to be sharded."""
    devices = []
    monkeypatch.setattr(loading, "is_fsdp_requested", lambda: True)
    monkeypatch.setattr(
        loading, "_shard", lambda model, device: devices.append({p.device.type for p in model.parameters()})
    )
    return devices


def test_a_model_to_be_sharded_is_not_moved_to_the_device_whole(folder, sharded_on):
    """The device of this test has no memory: weights that go there are lost."""
    loading.load_together(ModelOptions(model=str(folder)), torch.device("meta"), None)
    assert sharded_on == [{"cpu"}]


def test_weights_are_loaded_straight_to_an_accelerator(folder, monkeypatch):
    arguments = []
    monkeypatch.setattr(
        loading.AutoModelForCausalLM,
        "from_pretrained",
        lambda *_, **given: arguments.append(given) or (build_tiny_model("llama"), {}),
    )
    loading.load_language_model(ModelOptions(model=str(folder)), torch.device("meta"), None)
    assert arguments[0]["device_map"] == {"": torch.device("meta")}


def test_shards_that_rest_on_the_cpu_compute_on_the_device_of_their_mesh(monkeypatch):
    mesh = DeviceMesh("cuda", torch.tensor([0]), _init_backend=False, _rank=0)
    weight = torch.zeros(4, 3)
    spec = DTensorSpec(mesh, (Replicate(),), TensorMeta(weight.shape, weight.stride(), weight.dtype))
    model = torch.nn.Linear(3, 4, bias=False)
    model.weight = torch.nn.Parameter(DTensor(weight, spec, requires_grad=False), requires_grad=False)
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)
    assert device_of(model) == torch.device("cuda", 1)
