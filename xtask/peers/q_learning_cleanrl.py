"""DQN and PQN on CartPole-v1 in the manner of CleanRL, timed after a warm-up.

CleanRL is a collection of single-file programs, not a library. This program has the structure, the networks' layers
and the settings of its `dqn.py` and `pqn.py`, with the widths of the other peers: a loop over environment steps,
Gymnasium's vector environments, the replay buffer of Stable-Baselines3, and plain PyTorch.

Cases of `cargo xtask compare` are `dqn` and `pqn`; prints environment steps per second and the mean return of the last
100 episodes.
"""

from collections import deque

from common import parse, parser, rate, report

args = parse(parser(__doc__, "dqn,pqn"))

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from torch import nn

# Environment steps of one call of `train`.
STEPS = 512
GAMMA = 0.99


def make_envs(count):
    def make():
        return gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))

    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def network(normalize):
    layers, width = [], 4
    for hidden in [64, 64]:
        layers.append(nn.Linear(width, hidden))
        if normalize:
            layers.append(nn.LayerNorm(hidden))
        layers.append(nn.ReLU())
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 2))


def epsilon(step):
    return max(0.05, 1.0 - 0.95 * step / 10_000)


class Returns:
    """The returns of the last 100 episodes."""

    def __init__(self):
        self.last = deque(maxlen=100)

    def add(self, infos):
        final = infos.get("final_info", {})
        if "episode" in final:
            self.last.extend(final["episode"]["r"][final["_episode"]])

    def mean(self):
        return float(np.mean(self.last)) if self.last else None


class Dqn:
    """One environment, an update of 64 rows every 4 steps, a target network copied every 10 000 steps."""

    def __init__(self):
        self.envs = make_envs(1)
        self.q, self.target = network(False), network(False)
        self.target.load_state_dict(self.q.state_dict())
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=1e-4)
        spaces = (self.envs.single_observation_space, self.envs.single_action_space)
        self.buffer = ReplayBuffer(100_000, *spaces, "cpu", handle_timeout_termination=False)
        self.obs, _ = self.envs.reset(seed=args.seed)
        self.step, self.returns = 0, Returns()

    def train(self):
        for _ in range(STEPS):
            if np.random.random() < epsilon(self.step):
                actions = np.array([self.envs.single_action_space.sample()])
            else:
                actions = torch.argmax(self.q(torch.Tensor(self.obs)), dim=1).numpy()
            following, rewards, terminations, truncations, infos = self.envs.step(actions)
            self.returns.add(infos)
            stored = following.copy()
            for index in np.flatnonzero(truncations | terminations):
                stored[index] = infos["final_obs"][index]
            self.buffer.add(self.obs, stored, actions, rewards, terminations, infos)
            self.obs = following
            self.step += 1
            if self.step > 100 and self.step % 4 == 0:
                self.update()
            if self.step % 10_000 == 0:
                self.target.load_state_dict(self.q.state_dict())
        return STEPS

    def update(self):
        data = self.buffer.sample(64)
        with torch.no_grad():
            best, _ = self.target(data.next_observations).max(dim=1)
            targets = data.rewards.flatten() + GAMMA * best * (1 - data.dones.flatten())
        values = self.q(data.observations).gather(1, data.actions).squeeze()
        loss = nn.functional.mse_loss(targets, values)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class Pqn:
    """Four environments × 128 steps, λ-returns, and four epochs of four minibatches."""

    COUNT, LENGTH, LAMBDA = 4, 128, 0.65

    def __init__(self):
        self.envs = make_envs(self.COUNT)
        self.q = network(True)
        self.optimizer = torch.optim.RAdam(self.q.parameters(), lr=2.5e-4)
        shape = (self.LENGTH, self.COUNT)
        self.obs = torch.zeros(shape + (4,))
        self.actions = torch.zeros(shape, dtype=torch.int64)
        self.rewards, self.dones, self.values = (torch.zeros(shape) for _ in range(3))
        first, _ = self.envs.reset(seed=args.seed)
        self.next_obs, self.next_done = torch.Tensor(first), torch.zeros(self.COUNT)
        self.step, self.returns = 0, Returns()

    def train(self):
        for t in range(self.LENGTH):
            self.step += self.COUNT
            self.obs[t], self.dones[t] = self.next_obs, self.next_done
            with torch.no_grad():
                values = self.q(self.next_obs)
                best = torch.argmax(values, dim=1)
                self.values[t] = values.max(dim=1).values
            explores = torch.rand(self.COUNT) < epsilon(self.step)
            actions = torch.where(explores, torch.randint(0, 2, (self.COUNT,)), best)
            self.actions[t] = actions
            obs, rewards, terminations, truncations, infos = self.envs.step(actions.numpy())
            self.returns.add(infos)
            self.rewards[t] = torch.tensor(rewards)
            self.next_obs = torch.Tensor(obs)
            self.next_done = torch.Tensor(np.logical_or(terminations, truncations))
        targets = self.targets()
        self.update(targets)
        return self.LENGTH * self.COUNT

    def targets(self):
        with torch.no_grad():
            targets = torch.zeros_like(self.rewards)
            last, _ = self.q(self.next_obs).max(dim=1)
            for t in reversed(range(self.LENGTH)):
                if t == self.LENGTH - 1:
                    targets[t] = self.rewards[t] + GAMMA * last * (1.0 - self.next_done)
                    continue
                mixed = self.LAMBDA * targets[t + 1] + (1 - self.LAMBDA) * self.values[t + 1]
                targets[t] = self.rewards[t] + GAMMA * mixed * (1.0 - self.dones[t + 1])
        return targets

    def update(self, targets):
        obs, actions, targets = self.obs.reshape(-1, 4), self.actions.reshape(-1), targets.reshape(-1)
        rows = np.arange(len(targets))
        for _ in range(4):
            np.random.shuffle(rows)
            for part in np.array_split(rows, 4):
                values = self.q(obs[part]).gather(1, actions[part].unsqueeze(1)).squeeze(1)
                loss = nn.functional.mse_loss(targets[part], values)
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.q.parameters(), 10.0)
                self.optimizer.step()


torch.set_num_threads(args.threads)
np.random.seed(args.seed)
torch.manual_seed(args.seed)
for case in args.cases:
    run = {"dqn": Dqn, "pqn": Pqn}[case]()
    run.train()
    value = rate(args.seconds, run.train)
    # CleanRL has no releases of its programs: the settings are those of September 2026.
    report(case, "cleanrl", "2026-09", value, episode_return_mean=run.returns.mean())
