"""Names along a chain: the probability of every ordinal at every vertebra, given evidence at some of them.

A hidden Markov chain from head to foot. One vertebra follows the other, so the ordinal rises by one at each step;
with small probability it rises by two (two vertebrae were taken for one) or not at all (one was taken for two). The
chain is run once for each hypothesis about the person (how many ribs, where the sacrum begins).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trabecula.geometry import FloatArray

STEPS = (0, 1, 2)
"""Rise of the ordinal from one vertebra to the next: counted twice, as it should be, one missed."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the chain says of N vertebrae, S ordinals and H hypotheses."""

    marginal: FloatArray
    """(N, S): probability of each ordinal at each vertebra; rows sum to one."""
    joint: FloatArray
    """(H, N, S): the same together with each hypothesis; sums to one over H and S."""
    slip: FloatArray
    """(N - 1,): probability that the step below each vertebra is not one."""


def chain_posterior(log_prior: FloatArray, log_emission: FloatArray, step_probability: FloatArray) -> Posterior:
    """Forward and backward sums.

    Args:
        log_prior: (H,) of each hypothesis.
        log_emission: (H, N, S) log likelihood of what was seen at each vertebra, were it each ordinal.
        step_probability: (N - 1, 3) probability of each of :data:`STEPS` below each vertebra.
    """
    _, count, states = log_emission.shape
    scale = log_emission.max(axis=(0, 2), keepdims=True)
    emission = np.exp(log_emission - scale)
    forward = np.empty(emission.shape)
    backward = np.empty(emission.shape)
    weight = np.exp(log_prior - log_prior.max())
    forward[:, 0] = emission[:, 0] * weight[:, None] / states
    backward[:, -1] = 1.0
    for n in range(1, count):
        forward[:, n] = emission[:, n] * _moved(forward[:, n - 1], step_probability[n - 1])
        forward[:, n] /= max(float(forward[:, n].sum()), 1e-300)
    for n in range(count - 2, -1, -1):
        backward[:, n] = _moved_back(emission[:, n + 1] * backward[:, n + 1], step_probability[n])
        backward[:, n] /= max(float(backward[:, n].max()), 1e-300)
    joint = forward * backward
    joint /= np.maximum(joint.sum(axis=(0, 2), keepdims=True), 1e-300)
    slip = np.array(
        [_slip(forward[:, n], emission[:, n + 1] * backward[:, n + 1], step_probability[n]) for n in range(count - 1)]
    )
    return Posterior(joint.sum(axis=0), joint, slip)


def _moved(here: FloatArray, probability: FloatArray) -> FloatArray:
    out: FloatArray = probability[0] * here
    out[:, 1:] += probability[1] * here[:, :-1]
    out[:, 2:] += probability[2] * here[:, :-2]
    return out


def _moved_back(there: FloatArray, probability: FloatArray) -> FloatArray:
    out: FloatArray = probability[0] * there
    out[:, :-1] += probability[1] * there[:, 1:]
    out[:, :-2] += probability[2] * there[:, 2:]
    return out


def _slip(here: FloatArray, there: FloatArray, probability: FloatArray) -> float:
    regular = probability[1] * float((here[:, :-1] * there[:, 1:]).sum())
    total = float((_moved(here, probability) * there).sum())
    return 1.0 - regular / total if total > 0 else 1.0
