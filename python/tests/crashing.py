"""An environment whose process crashes now and then, as a simulator in C may."""

import os
import signal

import gymnasium
import numpy as np


class Crashing(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if self.np_random.random() < 0.01:
            os.kill(os.getpid(), signal.SIGSEGV)
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}
