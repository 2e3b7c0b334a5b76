"""Runs that follow a known formula."""

import math

import numpy as np

from hf_core_bpb.scaling.laws import LossFormula
from hf_core_bpb.scaling.runs import Run

TRUTH = LossFormula(E=1.7, A=400.0, B=1500.0, alpha=0.34, beta=0.37)


def make_runs(noise=0.0, seed=0, truth=TRUTH):
    """Make runs of nine sizes over two orders of magnitude at each of five budgets, with normal noise on log loss."""
    rng = np.random.default_rng(seed)
    runs = []
    for flops in (1e18, 1e19, 1e20, 1e21, 1e22):
        for times in np.geomspace(0.1, 10, 9):
            parameters = times * truth.optimal_parameters(flops)
            tokens = flops / 6 / parameters
            runs.append(Run(parameters, tokens, truth.loss(parameters, tokens) * math.exp(noise * rng.normal())))
    return runs
