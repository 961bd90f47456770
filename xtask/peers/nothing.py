"""An environment that does nothing, so that its steps cost what a vector costs."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Nothing(gym.Env):
    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)
    observation = np.zeros(4, np.float32)

    def __init__(self, render_mode=None):
        pass

    def reset(self, *, seed=None, options=None):
        return self.observation, {}

    def step(self, action):
        return self.observation, 0.0, False, False, {}
