"""Record the losses of RLlib's BC, MARWIL, CQL and IQL learners, for tests/parity/rllib_offline.rs.

    pip install "ray[rllib]==2.60.0" torch==2.9.1 safetensors==0.8.0
    python scripts/parity/record_rllib_offline.py

Writes tests/parity/data/rllib_<case>.safetensors. Cases:
  bc, marwil           in a Discrete space; MARWIL with a moving average that follows two minibatches
  cql, cql_cloning     in a Box, with RLlib's three kinds of sampled actions; the policy follows the critics, or clones
  iql                  in a Box, with RLlib's squashed policy; some weights reach their bound of 100

  state.<parameter>    the module, under rekindle's names (BC, MARWIL: under RLlib's)
  grad.<parameter>     the gradients, each of the loss that RLlib's learner assigns to its optimizer
  obs [B, …], actions, value_targets [B]   the minibatch of BC and MARWIL
  obs, next_obs [B, 3], actions [B, 2], rewards, discounts [B]   that of CQL and IQL
  <loss> [1], alpha_grad [1]   RLlib's losses, and the gradient by log alpha

RLlib's critics have an encoder for observations and another one for actions. Here their encoders only concatenate the
two, and their heads are MLPs as in rekindle; the forward passes and losses are RLlib's own. In one respect CQL's is changed: RLlib values the actions that
the policy draws for the next observation at the next observation, and here they are valued at the observation, as in
the code of the paper's authors. Noise comes from the stream
of rekindle with seed 7. The updates are those of double precision, from weights and data in single.

No Ray cluster is started. CPU, one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.bc import BCConfig
from ray.rllib.algorithms.cql import CQLConfig
from ray.rllib.algorithms.iql.iql import IQLConfig
from ray.rllib.algorithms.marwil import MARWILConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from safetensors.torch import save_file

DATA = Path(__file__).parents[2] / "tests/parity/data"
ROWS, OBS, ACTIONS, GAMMA, SAMPLED = 16, 3, 2, 0.97, 3
BOX = (
    gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32),
    gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32),
)
DISCRETE = (gym.spaces.Box(-np.inf, np.inf, (4,), np.float32), gym.spaces.Discrete(2))


class Concat(torch.nn.Module):
    """The encoder of critics that read observations and actions."""

    def forward(self, batch):
        return {ENCODER_OUT: torch.cat([batch[Columns.OBS], batch[Columns.ACTIONS]], dim=-1)}


class Stream:
    """Noise in the order of rekindle's stream, handed out in the order of RLlib's draws."""

    def __init__(self):
        rng, each = np.random.default_rng(7), (ROWS * SAMPLED, ACTIONS)
        after = self.normal(rng, (ROWS, ACTIONS))
        self.uniform = torch.tensor(rng.random(each).astype(np.float32)).double()
        now, following = self.normal(rng, each), self.normal(rng, each)
        of_policy = self.normal(rng, (ROWS, ACTIONS))
        self.queue = [of_policy, after, now, following]

    @staticmethod
    def normal(rng, shape):
        uniform = rng.random((*shape, 2))
        normal = np.sqrt(-2 * np.log1p(-uniform[..., 0])) * np.cos(2 * np.pi * uniform[..., 1])
        return torch.tensor(normal.astype(np.float32)).double()

    def patch(self):
        torch.rand = lambda *args, **kwargs: self.uniform
        torch.distributions.normal._standard_normal = lambda *args, **kwargs: self.queue.pop(0)
        torch.normal = lambda mean, std: mean + std * self.queue.pop(0)


def build_learner(config, spaces, **model):
    config = (
        config.environment(observation_space=spaces[0], action_space=spaces[1])
        .learners(num_learners=0, num_gpus_per_learner=0)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[8], **model))
        .debugging(seed=0)
    )
    return config, config.build_learner(spaces={DEFAULT_MODULE_ID: spaces})


def save(name, tensors, **settings):
    about = {"ray": ray.__version__, "torch": torch.__version__, **settings}
    tensors = {
        key: (value if value.dtype == torch.int64 else value.to(torch.float32)).detach().contiguous().clone()
        for key, value in tensors.items()
    }
    save_file(tensors, DATA / f"rllib_{name}.safetensors", metadata={"about": json.dumps(about)})
    print(name, {key: value.item() for key, value in tensors.items() if value.numel() == 1})


def redraw(module):
    """Parameters that are exact in single precision, in double."""
    for parameter in module.parameters():
        bound = 1.0 / max(parameter.shape[-1], 4) ** 0.5
        parameter.data.uniform_(-bound, bound)
    module.double()


def uniform(*shape):
    return (torch.rand(shape) * 2 - 1).double()


def of_ppo(key):
    """The name of a parameter of BC's module in that of PPO."""
    return key.replace("_encoder.net", "encoder.actor_encoder.net") if key.startswith("_enc") else key.replace("_pi_head", "pi")


def record_cloning(name, config, updates, **settings):
    torch.manual_seed(31)
    config, learner = build_learner(config.training(**settings), DISCRETE, vf_share_layers=False)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    redraw(module)
    state = {"state." + of_ppo(key): value.clone() for key, value in module.state_dict().items()}
    actions = torch.randint(2, (ROWS,))
    batch = {Columns.OBS: uniform(ROWS, 4), Columns.ACTIONS: actions, "value_targets": 8 * uniform(ROWS)}
    for _ in range(updates):
        module.zero_grad()
        about = dict(module_id=DEFAULT_MODULE_ID, config=config, batch=batch)
        total = learner.compute_loss_for_module(**about, fwd_out=module.forward_train(batch))
        total.backward()
    peek = lambda key: torch.as_tensor(learner.metrics.peek((DEFAULT_MODULE_ID, key))).detach().reshape(1)
    tensors = {**batch, "total": total.reshape(1), "policy_loss": peek("policy_loss")}
    if config.beta:
        tensors["vf_loss"] = peek("vf_loss")
        tensors["moving_average"] = learner.moving_avg_sqd_adv_norms_per_module[DEFAULT_MODULE_ID].reshape(1)
    for key, parameter in module.named_parameters():
        if parameter.grad is not None:
            tensors["grad." + of_ppo(key)] = parameter.grad
    save(name, {**state, **tensors}, updates=updates, **settings)


def layers(net):
    return [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)]


def stacked(prefix, nets, of=lambda parameter: parameter):
    """Parameters of ensembles: weights [members, in, out], biases [members, out]."""
    found = {}
    for depth, members in enumerate(zip(*[layers(net) for net in nets])):
        found[f"{prefix}.layers.layers.{depth}.weight"] = torch.stack([of(layer.weight).T for layer in members])
        found[f"{prefix}.layers.layers.{depth}.bias"] = torch.stack([of(layer.bias) for layer in members])
    return found


def policy(module, of=lambda parameter: parameter):
    found = {}
    for prefix, net in (("encoder", module.pi_encoder), ("pi", module.pi)):
        for depth, layer in enumerate(layers(net)):
            found[f"{prefix}.mlp.layers.{depth}.weight"] = of(layer.weight)
            found[f"{prefix}.mlp.layers.{depth}.bias"] = of(layer.bias)
    return found


def critic():
    return torch.nn.Sequential(torch.nn.Linear(OBS + ACTIONS, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))


def value_at_observation(module, batch):
    """Values the actions for the next observation at the observation."""
    repeat_actions, helper = module._repeat_actions, module._qf_forward_train_helper
    now = module._repeat_tensor(batch[Columns.OBS], SAMPLED)

    def repeat(obs, actions=None):
        if obs is batch[Columns.NEXT_OBS]:
            module._qf_forward_train_helper = lambda of, *nets: helper({**of, Columns.OBS: now}, *nets)
        try:
            return repeat_actions(obs, actions)
        finally:
            module._qf_forward_train_helper = helper

    module._repeat_actions = repeat


def record_transitions(name, config, **settings):
    torch.manual_seed(32)
    model = dict(fcnet_activation="relu", head_fcnet_hiddens=[])
    config, learner = build_learner(config.training(gamma=GAMMA, **settings), BOX, **model)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    for net in ("qf", "qf_twin", "target_qf", "target_qf_twin"):
        setattr(module, net + "_encoder", Concat())
        setattr(module, net, critic())
    redraw(module)
    with torch.no_grad():
        # Small means and deviations: the logarithm loses digits where the tanh is saturated.
        for layer in layers(module.pi):
            layer.weight.mul_(0.25)
            layer.bias.mul_(0.25)
    value = [torch.nn.Sequential(module.vf_encoder, module.vf)] if hasattr(module, "vf") else []
    parts = dict(qf=[module.qf, module.qf_twin], target_qf=[module.target_qf, module.target_qf_twin])
    state = {**policy(module), **(stacked("vf", value) if value else {})}
    for prefix, nets in parts.items():
        state |= stacked(prefix, nets)
    tensors = {"state." + key: parameter.clone() for key, parameter in state.items()}

    batch = {
        Columns.OBS: uniform(ROWS, OBS),
        Columns.NEXT_OBS: uniform(ROWS, OBS),
        Columns.ACTIONS: 0.9 * uniform(ROWS, ACTIONS),
        Columns.REWARDS: 3 * uniform(ROWS),
        Columns.TERMINATEDS: torch.arange(ROWS) % 5 == 0,
    }
    tensors |= {
        "obs": batch[Columns.OBS],
        "next_obs": batch[Columns.NEXT_OBS],
        "actions": batch[Columns.ACTIONS],
        "rewards": batch[Columns.REWARDS],
        "discounts": GAMMA * (1 - batch[Columns.TERMINATEDS].double()),
    }
    has_alpha = hasattr(learner, "curr_log_alpha")
    if has_alpha:
        learner.curr_log_alpha[DEFAULT_MODULE_ID].data = torch.tensor([-0.7]).double()
    if hasattr(module, "_repeat_actions"):
        value_at_observation(module, batch)
    Stream().patch()
    about = dict(module_id=DEFAULT_MODULE_ID, config=config, batch=batch)
    learner.compute_loss_for_module(**about, fwd_out=module.forward_train(batch))
    losses = {key: loss for (_, key), loss in learner._temp_losses.items()}
    critic_loss = losses["qf_loss"] + losses["qf_twin_loss"]
    gradient = lambda parameter: parameter.grad
    phases = [
        ("critic_loss", critic_loss, lambda: stacked("qf", parts["qf"], gradient)),
        ("actor_loss", losses["policy_loss"], lambda: policy(module, gradient)),
    ]
    if value:
        phases.append(("value_loss", losses["value_loss"], lambda: stacked("vf", value, gradient)))
    for key, loss, gradients in phases:
        module.zero_grad()
        loss.backward(retain_graph=True)
        tensors[key] = loss.reshape(1)
        tensors |= {"grad." + key: found for key, found in gradients().items()}
    if has_alpha:
        log_alpha = learner.curr_log_alpha[DEFAULT_MODULE_ID]
        tensors["alpha_loss"] = losses["alpha_loss"].reshape(1)
        (tensors["alpha_grad"],) = torch.autograd.grad(losses["alpha_loss"], log_alpha)
    save(name, tensors, gamma=GAMMA, **settings)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw = torch.rand, torch.normal
    record_cloning("bc", BCConfig(), 1)
    marwil = dict(beta=2.0, vf_coeff=0.7, moving_average_sqd_adv_norm_update_rate=0.1)
    record_cloning("marwil", MARWILConfig(), 2, **marwil)
    cql = dict(num_actions=SAMPLED, temperature=1.5, min_q_weight=2.0)
    for case, bc_iters in (("cql", 0), ("cql_cloning", 10)):
        torch.rand, torch.normal = draw
        record_transitions(case, CQLConfig(), bc_iters=bc_iters, **cql)
    torch.rand, torch.normal = draw
    record_transitions("iql", IQLConfig(), expectile=0.7, beta=3.0)
