"""Train PPO of Stable-Baselines3 on CartPole-v1 and export its policy as safetensors.

    pip install torch==2.9.1 stable-baselines3==2.9.2 gymnasium==1.4.0 safetensors==0.8.0
    python scripts/parity/export_sb3.py

Writes to tests/parity/data:
  sb3_policy.safetensors    the state dict of the policy, under SB3's names
  sb3_recorded.safetensors  1000 observations, with log-probabilities, values and actions

Hyper-parameters are the RL Zoo's for CartPole-v1. CPU, about a minute.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from safetensors.torch import save_file
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

DATA = Path(__file__).parents[2] / "tests/parity/data"
SEED = 0
TARGET = 475.0


def train():
    """Return the trained policy and its mean return over 100 greedy episodes."""
    env = make_vec_env("CartPole-v1", n_envs=8, seed=SEED)
    model = sb3.PPO(
        "MlpPolicy",
        env,
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        seed=SEED,
        device="cpu",
    )
    model.learn(100_000)
    test = make_vec_env("CartPole-v1", n_envs=8, seed=1000)
    mean, _ = evaluate_policy(model, test, n_eval_episodes=100, deterministic=True)
    return model.policy, mean


def observations(policy, count=1000):
    """Return observations of greedy play; every fourth action is random, so that they vary."""
    env = gym.make("CartPole-v1")
    rng = np.random.default_rng(SEED)
    obs, _ = env.reset(seed=2000)
    seen = []
    while len(seen) < count:
        seen.append(obs)
        action, _ = policy.predict(obs, deterministic=True)
        if rng.random() < 0.25:
            action = rng.integers(2)
        obs, _, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            obs, _ = env.reset()
    return np.stack(seen).astype(np.float32)


def main():
    torch.set_num_threads(1)
    policy, mean = train()
    print(f"mean return of 100 greedy episodes: {mean}")
    assert mean >= TARGET, "train again with another seed"
    obs = torch.from_numpy(observations(policy))
    with torch.no_grad():
        logits = policy.get_distribution(obs).distribution.logits
        values = policy.predict_values(obs).squeeze(1)
        actions, _ = policy.predict(obs.numpy(), deterministic=True)
    margin = (logits[:, 0] - logits[:, 1]).abs().min().item()
    print(f"smallest difference between the two log-probabilities: {margin:.2e}")
    versions = {
        "stable_baselines3": sb3.__version__,
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "mean_return": mean,
    }
    about = {"about": json.dumps(versions)}
    weights = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    save_file(weights, DATA / "sb3_policy.safetensors", metadata=about)
    recorded = {
        "obs": obs,
        "log_probs": logits.contiguous(),
        "values": values,
        "actions": torch.from_numpy(actions.astype(np.uint8)),
    }
    save_file(recorded, DATA / "sb3_recorded.safetensors", metadata=about)
    for name, tensor in weights.items():
        print(name, tuple(tensor.shape))


if __name__ == "__main__":
    main()
