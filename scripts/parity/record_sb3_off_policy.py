"""Record updates of SAC, TD3 and TQC of Stable-Baselines3, for tests/parity/sb3_off_policy.rs.

    pip install torch==2.9.1 stable-baselines3==2.9.2 sb3-contrib==2.9.2 safetensors==0.8.0
    python scripts/parity/record_sb3_off_policy.py

Writes tests/parity/data/sb3_sac.safetensors, sb3_td3.safetensors and sb3_tqc.safetensors:
  state.<parameter>    the module before the update, under rekindle's names
  stepped.<parameter>  the critics after their step, which the policy is judged by
  grad.<parameter>     the gradients of critics and policy
  obs, next_obs [B, 3], actions [B, 2], rewards, discounts [B]   the minibatch
  critic_loss, actor_loss [1], alpha_loss, alpha_grad [1] (SAC, TQC)   the losses, and the gradient by log alpha
  greedy [B, 2]        the greedy actions for `obs`

Noise comes from the stream of rekindle with seed 7: first that of the next actions, then that of the policy's. The squashed Gaussian has no epsilon inside its logarithm, which loses digits in
single precision: the updates are those of double precision, from weights and data in single. CPU, one thread.
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
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

DATA = Path(__file__).parents[2] / "tests/parity/data"
ROWS, OBS, ACTIONS, GAMMA = 16, 3, 2, 0.97


class Spaces(gym.Env):
    """An environment that is never stepped."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(OBS, np.float32), {}


def noise(rng):
    """Two tensors of normal noise, by the Box-Muller method as in rekindle's streams."""
    uniform = rng.random((2, ROWS, ACTIONS, 2))
    normal = np.sqrt(-2 * np.log1p(-uniform[..., 0])) * np.cos(2 * np.pi * uniform[..., 1])
    return torch.tensor(normal.astype(np.float32)).double()


def layers(net):
    return [layer for layer in net if isinstance(layer, torch.nn.Linear)]


def critics(nets, of=lambda parameter: parameter):
    """Parameters of critics, stacked: weights [critics, in, out], biases [critics, out]."""
    found = {}
    for depth, members in enumerate(zip(*[layers(net) for net in nets])):
        weights = torch.stack([of(layer.weight).T for layer in members])
        found[f"layers.layers.{depth}.weight"] = weights
        found[f"layers.layers.{depth}.bias"] = torch.stack([of(layer.bias) for layer in members])
    return found


def policy(actor, of=lambda parameter: parameter):
    """The parameters of a policy: the encoder's layers, then those of the head."""
    if hasattr(actor, "latent_pi"):
        hidden, head = layers(actor.latent_pi), [actor.mu, actor.log_std]
    else:
        *hidden, last = layers(actor.mu)
        head = [last]
    found = {}
    for depth, layer in enumerate(hidden):
        found[f"encoder.mlp.layers.{depth}.weight"] = of(layer.weight)
        found[f"encoder.mlp.layers.{depth}.bias"] = of(layer.bias)
    found["pi.mlp.layers.0.weight"] = torch.cat([of(layer.weight) for layer in head])
    found["pi.mlp.layers.0.bias"] = torch.cat([of(layer.bias) for layer in head])
    return found


def nets(critic):
    return critic.q_networks


def named(prefix, parameters):
    return {f"{prefix}{key}": value.detach().clone() for key, value in parameters.items()}


def targets(parameters):
    return {"target_" + key: value for key, value in parameters.items()}


def record(name, kind, **settings):
    torch.manual_seed(40)
    model = kind(
        "MlpPolicy",
        Spaces(),
        policy_kwargs=dict(net_arch=[8], **settings.pop("policy", {})),
        learning_rate=1e-2,
        gamma=GAMMA,
        device="cpu",
        **settings,
    )
    model._logger = Logger(folder=None, output_formats=[])
    for parameter in model.policy.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        torch.nn.init.uniform_(parameter, -2 / fan_in**0.5, 2 / fan_in**0.5)
    stochastic = hasattr(model.actor, "latent_pi")
    if stochastic:
        model.actor.action_dist.epsilon = 0.0
        with torch.no_grad():
            # Small means and deviations: the logarithm loses digits where the tanh is saturated.
            for layer in (model.actor.mu, model.actor.log_std):
                layer.weight.mul_(0.25)
                layer.bias.mul_(0.25)
            model.log_ent_coef.fill_(-0.7)

    model.policy.double()
    uniform = lambda *shape: (torch.rand(shape) * 2 - 1).double()
    dones = (torch.arange(ROWS) % 5 == 0).double().unsqueeze(1)
    batch = ReplayBufferSamples(
        uniform(ROWS, OBS), uniform(ROWS, ACTIONS), uniform(ROWS, OBS), dones, uniform(ROWS, 1)
    )
    model.replay_buffer.sample = lambda *args, **kwargs: batch

    of_next, of_policy = noise(np.random.default_rng(7))
    # SB3 draws the policy's noise first.
    queue = [of_policy, of_next] if stochastic else [of_next]
    torch.distributions.normal._standard_normal = lambda *args, **kwargs: queue.pop(0)
    torch.Tensor.normal_ = lambda self, mean, std: self.copy_(mean + std * queue.pop(0))

    state = named("state.", {**policy(model.actor), **prefixed("qf.", critics(nets(model.critic)))})
    state |= named("state.target_qf.", critics(nets(model.critic_target)))
    if not stochastic:
        state |= named("state.", targets(policy(model.actor_target)))
    gradient = lambda parameter: parameter.grad
    recorded = dict(state)
    step = model.critic.optimizer.step

    def stepped(*args, **kwargs):
        # Later, the loss of the policy adds to the gradients of the critics.
        recorded.update(named("grad.qf.", critics(nets(model.critic), gradient)))
        step(*args, **kwargs)
        recorded.update(named("stepped.qf.", critics(nets(model.critic))))

    model.critic.optimizer.step = stepped
    with torch.no_grad():
        greedy = model.actor(batch.observations, *([True] if stochastic else []))
    model.train(gradient_steps=1, batch_size=ROWS)
    assert not queue
    recorded.update(named("grad.", policy(model.actor, gradient)))
    logged = model.logger.name_to_value
    recorded |= {
        "obs": batch.observations,
        "next_obs": batch.next_observations,
        "actions": batch.actions,
        "rewards": batch.rewards[:, 0],
        "discounts": (1 - dones[:, 0]) * GAMMA,
        "greedy": greedy,
        "critic_loss": torch.tensor([logged["train/critic_loss"]]),
        "actor_loss": torch.tensor([logged["train/actor_loss"]]),
    }
    if stochastic:
        recorded["alpha_loss"] = torch.tensor([logged["train/ent_coef_loss"]])
        recorded["alpha_grad"] = model.log_ent_coef.grad
    about = {
        "stable-baselines3": stable_baselines3.__version__,
        "sb3-contrib": sb3_contrib.__version__,
        "torch": torch.__version__,
        **settings,
    }
    tensors = {key: value.detach().to(torch.float32).contiguous().clone() for key, value in recorded.items()}
    save_file(tensors, DATA / f"{name}.safetensors", metadata={"about": json.dumps(about)})
    print(name, {key: float(value) for key, value in logged.items() if key.startswith("train/")})


def prefixed(prefix, parameters):
    return {prefix + key: value for key, value in parameters.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    # SB3 converts observations to single precision.
    torch.Tensor.float = torch.Tensor.double
    record("sb3_sac", SAC)
    record("sb3_td3", TD3, policy_delay=1)
    record("sb3_tqc", TQC, top_quantiles_to_drop_per_net=1, policy=dict(n_quantiles=5))
