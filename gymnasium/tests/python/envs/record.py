"""Steps Gymnasium's SyncVectorEnv with given actions: `record.py IN.json OUT.json`."""

import json
import sys

import gymnasium as gym
import numpy as np

try:
    import ale_py  # noqa: F401, registers its ids
except ImportError:
    pass

request = json.load(open(sys.argv[1]))


def make():
    env = gym.make(request["id"], **request["kwargs"] or {})
    for wrapper in request["wrappers"] or []:
        [(name, kwargs)] = wrapper.items()
        env = getattr(gym.wrappers, name)(env, **kwargs)
    return env


n = request["num_envs"]
envs = gym.vector.SyncVectorEnv(
    [make] * n, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
)


def record(observations, rewards, terminated, truncated, infos):
    final = np.zeros_like(observations)
    for i in range(n):
        if terminated[i] or truncated[i]:
            final[i] = infos["final_obs"][i]
    return {
        "observations": observations.reshape(-1).tolist(),
        "final_observations": final.reshape(-1).tolist(),
        "rewards": [float(reward) for reward in rewards],
        "terminated": [bool(flag) for flag in terminated],
        "truncated": [bool(flag) for flag in truncated],
    }


no = [False] * n
observations, infos = envs.reset(seed=request["seed"])
records = [record(observations, [0.0] * n, no, no, infos)]
space = envs.action_space
for actions in request["actions"]:
    actions = np.array(actions, space.dtype).reshape(space.shape)
    records.append(record(*envs.step(actions)))
json.dump(records, open(sys.argv[2], "w"))
