"""An environment in which some actions are masked. Workers find it because this program does."""

import gymnasium
import numpy as np


class Masked(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        {
            "action_mask": gymnasium.spaces.MultiBinary(4),
            "observations": gymnasium.spaces.Box(-10, 10, (3,), np.float32),
        }
    )
    action_space = gymnasium.spaces.Discrete(4)

    def observe(self):
        mask = np.ones(4, np.int8)
        mask[self.steps % 4] = 0
        return {"action_mask": mask, "observations": np.zeros(3, np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        assert action != self.steps % 4
        self.steps += 1
        return self.observe(), 1.0, self.steps == 10, False, {}
