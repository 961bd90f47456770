"""A grid world for Gymnasium, which `examples/python_env.rs` trains in."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]


class GridWorld(gym.Env):
    """Walk to the bottom right corner of a square grid.

    An episode starts in a random cell. A step that does not come closer to the corner costs 0.1, and
    the corner gives 1. The optimum is a return of 1 from every cell.
    """

    def __init__(self, size=5):
        self.size = size
        self.observation_space = spaces.Discrete(size * size)
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell = np.array(divmod(self.np_random.integers(self.size**2 - 1), self.size))
        return self.observation(), {}

    def step(self, action):
        before = self.distance()
        self.cell = np.clip(self.cell + MOVES[action], 0, self.size - 1)
        distance = self.distance()
        reward = 1.0 if distance == 0 else 0.0 if distance < before else -0.1
        # Numbers in the last info of an episode are metrics of callbacks and rollouts.
        info = {"is_success": True} if distance == 0 else {}
        return self.observation(), reward, distance == 0, False, info

    def observation(self):
        return int(self.cell[0] * self.size + self.cell[1])

    def distance(self):
        return 2 * (self.size - 1) - int(self.cell.sum())
