"""Record an update of Stable-Baselines3's A2C, for tests/parity/sb3_a2c.rs.

    pip install torch==2.9.1 stable-baselines3==2.9.2 safetensors==0.8.0
    python scripts/parity/record_sb3_a2c.py

Writes tests/parity/data/sb3_a2c.safetensors, and sb3_a2c_standardized.safetensors with
`normalize_advantage`:
  state.<parameter>, grad.<parameter>   the policy before the update, and the gradients
  lengths, ends [S]        the segments of the batch: steps, and 0 cut, 1 terminated, 2 truncated
  obs [B, 4], actions, rewards [B]      their steps, one segment after the other
  final_obs [S, 4]         the observation after each segment
  policy_loss, vf_loss, entropy [1]     the terms of the loss

CartPole with a time limit of 12 steps: 4 environments with 24 steps each. CPU, float32, one thread;
the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import stable_baselines3
import torch
from safetensors.torch import save_file
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback

DATA = Path(__file__).parents[2] / "tests/parity/data"
SETTINGS = dict(
    n_steps=24,
    gamma=0.9,
    gae_lambda=0.8,
    ent_coef=0.02,
    vf_coef=0.3,
    max_grad_norm=1e9,
)
ENVS = 4
CUT, TERMINATED, TRUNCATED = 0, 1, 2


class Steps(BaseCallback):
    """Collects the segments of all environments as they are sampled."""

    def _on_training_start(self):
        self.done, self.open = [], [[] for _ in range(ENVS)]

    def _on_step(self):
        step = self.locals
        for env, rows in enumerate(self.open):
            obs = self.model._last_obs[env]
            rows.append((obs, step["actions"][env], step["rewards"][env]))
            if step["dones"][env]:
                info = step["infos"][env]
                end = TRUNCATED if info["TimeLimit.truncated"] else TERMINATED
                self.done.append((list(rows), end, info["terminal_observation"]))
                rows.clear()
        return True

    def segments(self):
        last = self.locals["new_obs"]
        cut = [(rows, CUT, last[env]) for env, rows in enumerate(self.open) if rows]
        return self.done + cut


def record(name, standardize):
    env = stable_baselines3.common.env_util.make_vec_env(
        lambda: gym.make("CartPole-v1", max_episode_steps=12), n_envs=ENVS, seed=30
    )
    model = A2C(
        "MlpPolicy",
        env,
        policy_kwargs=dict(net_arch=[8]),
        normalize_advantage=standardize,
        seed=31,
        device="cpu",
        **SETTINGS,
    )
    for parameter in model.policy.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        torch.nn.init.uniform_(parameter, -3 / fan_in**0.5, 3 / fan_in**0.5)
    state = {key: value.clone() for key, value in model.policy.state_dict().items()}
    steps = Steps()
    model.learn(SETTINGS["n_steps"] * ENVS, callback=steps)

    segments = steps.segments()
    rows = [row for rows, _, _ in segments for row in rows]
    logged = model.logger.name_to_value
    recorded = {
        "lengths": torch.tensor([len(rows) for rows, _, _ in segments]),
        "ends": torch.tensor([end for _, end, _ in segments]),
        "final_obs": torch.stack([torch.as_tensor(obs) for _, _, obs in segments]),
        "obs": torch.stack([torch.as_tensor(obs) for obs, _, _ in rows]),
        "actions": torch.tensor([int(action) for _, action, _ in rows]),
        "rewards": torch.tensor([float(reward) for _, _, reward in rows]),
        "policy_loss": torch.tensor([logged["train/policy_loss"]]),
        "vf_loss": torch.tensor([logged["train/value_loss"]]),
        "entropy": torch.tensor([-logged["train/entropy_loss"]]),
        **{f"state.{key}": value for key, value in state.items()},
        # The gradients of the only update are still there.
        **{f"grad.{key}": p.grad for key, p in model.policy.named_parameters()},
    }
    about = {
        "stable-baselines3": stable_baselines3.__version__,
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "normalize_advantage": standardize,
        **SETTINGS,
    }
    tensors = {key: value.detach().contiguous().clone() for key, value in recorded.items()}
    save_file(tensors, DATA / f"{name}.safetensors", metadata={"about": json.dumps(about)})
    counts = [int((recorded["ends"] == end).sum()) for end in (CUT, TERMINATED, TRUNCATED)]
    print(name, "cut, terminated, truncated:", counts, dict(logged))


if __name__ == "__main__":
    torch.set_num_threads(1)
    record("sb3_a2c", standardize=False)
    record("sb3_a2c_standardized", standardize=True)
