"""Plays a game of PettingZoo with given actions: `record_agents.py IN.json OUT.json`.

Writes, by agent, what it observed and received, in order.
"""

import importlib
import json
import sys

import numpy as np

request = json.load(open(sys.argv[1]))
module = importlib.import_module(request["module"])
actions = {name: iter(list_) for name, list_ in request["actions"].items()}
records = {name: [] for name in actions}


def record(name, observation, reward, terminated, truncated):
    if isinstance(observation, dict):
        parts = [observation[key] for key in sorted(observation)]
    else:
        parts = [observation]
    numbers = np.concatenate([np.asarray(part).reshape(-1) for part in parts]).tolist()
    records[name].append([numbers, float(reward), bool(terminated), bool(truncated)])


if request["api"] == "parallel":
    env = module.parallel_env()
    for episode in range(request["episodes"]):
        observations, _ = env.reset(seed=request["seed"] if episode == 0 else None)
        for name, observation in observations.items():
            record(name, observation, 0, False, False)
        while env.agents:
            chosen = {name: next(actions[name]) for name in env.agents}
            observations, rewards, terminated, truncated, _ = env.step(chosen)
            for name, observation in observations.items():
                record(name, observation, rewards[name], terminated[name], truncated[name])
else:
    env = module.env()
    for episode in range(request["episodes"]):
        env.reset(seed=request["seed"] if episode == 0 else None)
        for name in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            record(name, observation, reward, terminated, truncated)
            env.step(None if terminated or truncated else next(actions[name]))
json.dump(records, open(sys.argv[2], "w"))
