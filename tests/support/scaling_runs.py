"""Runs that follow a known law."""

import math

import numpy as np

from hf_core_bpb.scaling.fit import Coefficients
from hf_core_bpb.scaling.runs import Run

TRUTH = Coefficients(E=1.7, A=400.0, B=1500.0, alpha=0.34, beta=0.37)


def make_runs(noise=0.0, seed=0, truth=TRUTH):
    """Valleys of nine sizes over two orders of magnitude, at five budgets."""
    rng = np.random.default_rng(seed)
    runs = []
    for flops in (1e18, 1e19, 1e20, 1e21, 1e22):
        for times in np.geomspace(0.1, 10, 9):
            parameters = times * truth.optimal_parameters(flops)
            tokens = flops / 6 / parameters
            runs.append(Run(parameters, tokens, truth.loss(parameters, tokens) * math.exp(noise * rng.normal())))
    return runs
