"""An environment with large observations, whose steps cost nothing."""

import gymnasium
import numpy as np


class Wide(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1024,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    observation = np.ones(1024, np.float32)

    def reset(self, *, seed=None, options=None):
        self.left = 50
        return self.observation, {}

    def step(self, action):
        self.left -= 1
        return self.observation, 1.0, self.left == 0, False, {}
