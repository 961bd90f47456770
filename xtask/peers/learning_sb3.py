"""Trains Stable-Baselines3 for the results of `cargo xtask learn TASK --peer`.

The settings are those of `cli/configs/TASK.toml`: CleanRL's for PPO, and those of the RL Zoo for SAC. A checkpoint is
saved every few minutes, from which another call continues. The result is `result.json` in the folder: the mean
return of the last 100 training episodes, and the returns of greedy episodes on other seeds.
"""

import argparse
import json
import os
import time
from pathlib import Path

# NumPy and PyTorch read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

STEPS = {"ppo": 1_000_000, "sac": 300_000}
ENVS = {"hopper": "Hopper-v5", "half-cheetah": "HalfCheetah-v5", "walker2d": "Walker2d-v5"}
# Seeds of evaluations begin here, after those of training.
EVALUATION_SEED = 10_000


class Task:
    """An algorithm in an environment, and the folder of its run."""

    def __init__(self, name, seed, steps, folder):
        self.algorithm, _, env = name.partition("-")
        self.env, self.seed, self.folder = ENVS[env], seed, folder
        self.steps = steps or STEPS[self.algorithm]
        self.is_normalized = self.algorithm == "ppo"

    def environments(self, num_envs):
        return DummyVecEnv([lambda: Monitor(gymnasium.make(self.env)) for _ in range(num_envs)])

    def begin(self):
        """Returns a new model, and the wall time so far."""
        if self.algorithm == "sac":
            # More steps than these are never stored.
            size = min(1_000_000, self.steps)
            env = self.environments(1)
            return SAC("MlpPolicy", env, learning_starts=10_000, buffer_size=size, seed=self.seed, device="cpu"), 0.0
        net = {"activation_fn": torch.nn.Tanh, "net_arch": {"pi": [64, 64], "vf": [64, 64]}}
        model = PPO(
            "MlpPolicy", VecNormalize(self.environments(8)), policy_kwargs=net, n_steps=256, batch_size=64,
            n_epochs=10, learning_rate=lambda left: 3e-4 * left, gamma=0.99, gae_lambda=0.95, clip_range=0.2,
            ent_coef=0.0, vf_coef=0.5, max_grad_norm=0.5, seed=self.seed, device="cpu",
        )
        return model, 0.0

    def resume(self):
        """Returns the model of the checkpoint, and its wall time so far."""
        checkpoint = self.folder / "checkpoint"
        if self.algorithm == "sac":
            model = SAC.load(checkpoint / "model.zip", env=self.environments(1), device="cpu")
            model.load_replay_buffer(checkpoint / "replay_buffer.pkl")
        else:
            env = VecNormalize.load(checkpoint / "normalization.pkl", self.environments(8))
            model = PPO.load(checkpoint / "model.zip", env=env, device="cpu")
        # Environments begin with new episodes, whose seeds training has not seen.
        model.set_random_seed(self.seed + model.num_timesteps)
        return model, json.loads((checkpoint / "progress.json").read_text())["wall_s"]

    def save(self, model, wall):
        """Replaces the checkpoint. An interruption leaves the old or the new one."""
        new, current, old = (self.folder / name for name in ["checkpoint.new", "checkpoint", "checkpoint.old"])
        remove(new)
        new.mkdir(parents=True)
        model.save(new / "model.zip")
        if self.algorithm == "sac":
            model.save_replay_buffer(new / "replay_buffer.pkl")
        else:
            model.get_vec_normalize_env().save(new / "normalization.pkl")
        (new / "progress.json").write_text(json.dumps({"steps": model.num_timesteps, "wall_s": wall}))
        remove(old)
        if current.exists():
            current.rename(old)
        new.rename(current)
        remove(old)

    def has_checkpoint(self):
        current, old = self.folder / "checkpoint", self.folder / "checkpoint.old"
        if not current.exists() and old.exists():
            old.rename(current)
        return current.exists()

    def evaluate(self, model, episodes):
        env = DummyVecEnv([lambda: Monitor(gymnasium.make(self.env))])
        env.seed(EVALUATION_SEED + self.seed)
        if self.is_normalized:
            trained, env = model.get_vec_normalize_env(), VecNormalize(env, training=False, norm_reward=False)
            env.obs_rms = trained.obs_rms
        returns, _ = evaluate_policy(model, env, episodes, deterministic=True, return_episode_rewards=True)
        return float(np.mean(returns)), float(np.std(returns, ddof=1))


def remove(folder):
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


class Checkpoints(BaseCallback):
    """Saves a checkpoint now and then."""

    def __init__(self, task, wall, interval):
        super().__init__()
        self.task, self.before, self.interval = task, wall, interval
        self.started = self.saved = time.monotonic()

    def wall(self):
        return self.before + time.monotonic() - self.started

    def _on_step(self):
        return True

    # The model is between two rounds of collection: no update is left half done.
    def _on_rollout_start(self):
        if time.monotonic() - self.saved >= self.interval:
            self.task.save(self.model, self.wall())
            self.saved = time.monotonic()
            returns = [episode["r"] for episode in self.model.ep_info_buffer]
            mean = np.mean(returns) if returns else float("nan")
            print(f"{self.model.num_timesteps} steps, {self.wall():.0f} s, return {mean:.1f}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    tasks = [f"{algorithm}-{env}" for algorithm in STEPS for env in ENVS]
    arguments.add_argument("task", choices=tasks)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--folder", type=Path, required=True, help="of checkpoint and result")
    arguments.add_argument("--resume", action="store_true", help="continue from the checkpoint in the folder")
    arguments.add_argument("--steps", type=int, help="instead of 1 000 000 for PPO and 300 000 for SAC")
    arguments.add_argument("--episodes", type=int, default=20, help="of the evaluation")
    arguments.add_argument("--interval", type=float, default=180, help="seconds between two checkpoints")
    args = arguments.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    task = Task(args.task, args.seed, args.steps, args.folder)
    args.folder.mkdir(parents=True, exist_ok=True)
    resumed = args.resume and task.has_checkpoint()
    model, wall = task.resume() if resumed else task.begin()
    model.set_logger(Logger(folder=None, output_formats=[]))
    callback = Checkpoints(task, wall, args.interval)
    left = task.steps - model.num_timesteps
    if left > 0:
        # Learning rates are annealed over all steps, also after a restart.
        model.learn(left, callback=callback, reset_num_timesteps=not resumed)
    wall = callback.wall()
    task.save(model, wall)
    result = {
        "system": f"Stable-Baselines3 {stable_baselines3.__version__}",
        "seed": args.seed,
        "steps": model.num_timesteps,
        "training_return": float(np.mean([episode["r"] for episode in model.ep_info_buffer])),
        "greedy_return": task.evaluate(model, args.episodes),
        "wall_s": wall,
    }
    (args.folder / "result.json").write_text(json.dumps(result) + "\n")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
