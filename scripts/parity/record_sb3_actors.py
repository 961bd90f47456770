"""Record policies of Stable-Baselines3's SAC and TD3 and sb3-contrib's TQC, for tests/parity/sb3_actors.rs, and
sb3-contrib's batch renormalization, for catalog/src/batch_renorm/tests.rs.

    pip install torch==2.15.0 stable-baselines3==2.9.2 sb3-contrib==2.9.2 safetensors==0.8.0
    python scripts/parity/record_sb3_actors.py

Writes tests/parity/data/<case>.safetensors. Cases:
  sb3_sac_policy, sb3_td3_policy, contrib_tqc_policy, sb3_sac_sde_policy

  state.<parameter>   the policy, under its own names; parameters are drawn anew, those of the targets on their own
  greedy [1000, 2]    `predict(obs, deterministic=True)` in a Box with bounds of -1 and 3
  actions [16, 2], q, target_q [16, critics (, quantiles)]   values of actions for the first observations
  mean, std [16, 2], latent [16, 12]           sb3_sac_sde_policy: the distributions given these observations
  matrix [12, 2], noisy_actions [16, 2], logp [16]   the matrix of the noise, and the actions it leads to

Observations are `6 * u - 3`, with uniform `u` of rekindle's (NumPy's) generator with seed 11, row by row.

Writes catalog/tests/golden/batch_renorm.json:
  weight, bias [4], warmup_steps    of one layer
  batches    a list: x [6, 4], y [6, 4], and the gradient of sum(y * cos(x)) by x; a batch in evaluation has no gradient
  mean, var [4]    the running statistics at the end

CPU, float32, one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3
import torch
from safetensors.torch import save_file
from sb3_contrib import TQC
from sb3_contrib.common.torch_layers import BatchRenorm1d
from stable_baselines3 import SAC, TD3

ROOT = Path(__file__).parents[2]
OBS, ACTIONS = 3, 2
VERSIONS = {
    "torch": torch.__version__,
    "stable-baselines3": stable_baselines3.__version__,
    "sb3-contrib": sb3_contrib.__version__,
}


class Spaces(gym.Env):
    """An environment that is never stepped."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1.0, 3.0, (ACTIONS,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(OBS, np.float32), {}


def record_policy(name, kind, **settings):
    torch.manual_seed(23)
    policy = dict(net_arch=dict(pi=[16, 12], qf=[14]), **settings.pop("policy", {}))
    model = kind("MlpPolicy", Spaces(), policy_kwargs=policy, device="cpu", **settings)
    for key, parameter in model.policy.named_parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        bound = 1.5 / fan_in**0.5
        torch.nn.init.uniform_(parameter, -bound, bound)
        if settings.get("use_sde") and key == "actor.log_std":
            torch.nn.init.uniform_(parameter, -3.0, -1.0)
    obs = (6 * np.random.default_rng(11).random((1000, OBS)) - 3).astype(np.float32)
    greedy, _ = model.predict(obs, deterministic=True)
    assert greedy.std(0).min() > 0.1, "the policies are not constant"
    few = torch.as_tensor(obs[:16])
    actions = torch.tanh(torch.randn(16, ACTIONS))
    recorded = {f"state.{key}": value for key, value in model.policy.state_dict().items()}

    def values(critic):
        found = critic(few, actions)
        return torch.cat(found, 1) if isinstance(found, tuple) else found

    recorded |= dict(greedy=torch.as_tensor(greedy), actions=actions)
    recorded |= dict(q=values(model.critic), target_q=values(model.critic_target))
    if settings.get("use_sde"):
        actor = model.actor
        actor.reset_noise()
        noisy, logp = actor.action_log_prob(few)
        of = actor.action_dist
        assert noisy.abs().max() < 0.99, "the logarithm loses digits where the tanh is saturated"
        recorded |= dict(mean=of.distribution.mean, std=of.distribution.stddev, latent=of._latent_sde)
        recorded |= dict(matrix=of.exploration_mat, noisy_actions=noisy, logp=logp)
    tensors = {key: value.detach().contiguous().clone() for key, value in recorded.items()}
    path = ROOT / f"tests/parity/data/{name}.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps(VERSIONS | settings)})
    print(name, path.stat().st_size, "bytes")


def record_batch_renorm():
    torch.manual_seed(5)
    layer = BatchRenorm1d(4, warmup_steps=2)
    torch.nn.init.uniform_(layer.scale, 0.5, 1.5)
    torch.nn.init.uniform_(layer.bias, -1.0, 1.0)
    batches = []
    for index in range(8):
        # Statistics that move far, so that the corrections are clipped; the last input is constant once.
        x = torch.randn(6, 4) * torch.tensor([0.5, 1.0, 4.0, 2.0]) + index * torch.tensor([0.0, 0.3, 2.0, -0.2])
        if index == 1:
            x[:, 3] = 0.7
        x.requires_grad_()
        layer.train(index != 7)
        y = layer(x)
        recorded = dict(x=x, y=y)
        if layer.training:
            (y * x.detach().cos()).sum().backward()
            recorded["gradient"] = x.grad
        batches.append({key: value.tolist() for key, value in recorded.items()})
    found = dict(about=VERSIONS, warmup_steps=2, weight=layer.scale.tolist(), bias=layer.bias.tolist())
    found |= dict(batches=batches, mean=layer.ra_mean.tolist(), var=layer.ra_var.tolist())
    path = ROOT / "catalog/tests/golden/batch_renorm.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n")
    print("batch_renorm", path.stat().st_size, "bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    record_policy("sb3_sac_policy", SAC)
    record_policy("sb3_td3_policy", TD3)
    record_policy("contrib_tqc_policy", TQC, policy=dict(n_quantiles=5))
    record_policy("sb3_sac_sde_policy", SAC, use_sde=True)
    record_batch_renorm()
