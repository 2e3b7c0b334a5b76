"""The model of the benchmarks: the shape of GPT-2 small with 2,048 positions, random weights, eager attention."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

POSITIONS = 2048


def build_model(device: str = "cpu") -> GPT2LMHeadModel:
    torch.manual_seed(0)
    with torch.device(device):
        return GPT2LMHeadModel(GPT2Config(n_positions=POSITIONS, attn_implementation="eager")).eval()
