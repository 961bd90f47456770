"""Replay buffers of Stable-Baselines3 with a million steps of CartPole-v1: storing and drawing.

The workload `replay` of `cargo xtask compare`. Cases are `push` (steps one by one) and `uniform` (256 transitions at a
time); prints rows per second.
"""

from common import parse, parser, rate, report

args = parse(parser(__doc__, "push,uniform"))

import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

ROWS, EPISODE, MINIBATCH = 1_000_000, 200, 256

torch.set_num_threads(args.threads)
np.random.seed(args.seed)
observations = spaces.Box(-np.inf, np.inf, (4,), np.float32)
buffer = ReplayBuffer(ROWS, observations, spaces.Discrete(2), "cpu")
obs = np.random.rand(EPISODE + 1, 1, 4).astype(np.float32)
actions = np.random.randint(0, 2, (EPISODE, 1))
reward = np.ones(1, np.float32)
running, ended = np.zeros(1, np.float32), np.ones(1, np.float32)
infos = [{}]


def push():
    for t in range(EPISODE):
        done = ended if t == EPISODE - 1 else running
        buffer.add(obs[t], obs[t + 1], actions[t], reward, done, infos)
    return EPISODE


def uniform():
    buffer.sample(MINIBATCH)
    return MINIBATCH


# Filled at once: storing a million steps one by one takes a minute.
buffer.observations[:], buffer.next_observations[:] = obs[0], obs[1]
buffer.rewards[:], buffer.full = 1.0, True
for case in args.cases:
    work = {"push": push, "uniform": uniform}[case]
    work()
    version = stable_baselines3.__version__
    report(case, "stable-baselines3", version, rate(args.seconds, work))
