"""Record updates of DQN and its family, for tests/parity/dqn.rs.

    pip install torch==2.15.0 "ray[rllib]==2.60.0" stable-baselines3==2.9.2 sb3-contrib==2.9.2 \
        safetensors==0.8.0
    python scripts/parity/record_dqn.py

Writes tests/parity/data/<case>.safetensors. Cases:
  sb3_dqn            Stable-Baselines3's DQN: `train` with one gradient step
  contrib_qr_dqn     sb3-contrib's QR-DQN, the same
  rllib_dqn          RLlib's learner: double Q-learning and a dueling network, Huber, weights
  rllib_dqn_mse      the same with squared errors, without double Q-learning and dueling
  rllib_c51          the same as rllib_dqn with 11 atoms and without dueling (RLlib centers over atoms)

  state.<parameter>, grad.<parameter>   main and target networks, and the gradients of the main one:
                           under rekindle's names, except in sb3_dqn
  obs, new_obs [B, 4], actions, rewards, discounts, (weights) [B]   the transitions; a discount is
                           gamma to the power of the steps, or 0 after a terminated episode
  loss [1], (td_error [B])     the results
  greedy [N]               sb3_dqn: deterministic actions for `acting_obs [N, 4]`

CPU, float32, one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import ray
import sb3_contrib
import stable_baselines3
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from safetensors.torch import save_file
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.logger import configure

DATA = Path(__file__).parents[2] / "tests/parity/data"
ROWS, GAMMA, QUANTILES, ATOMS, SEED = 16, 0.9, 5, 11, 13


def transitions():
    torch.manual_seed(11)
    steps = torch.randint(1, 4, (ROWS,))
    ended = torch.rand(ROWS) < 0.3
    return dict(
        obs=torch.randn(ROWS, 4),
        new_obs=torch.randn(ROWS, 4),
        actions=torch.randint(2, (ROWS,)),
        rewards=2 * torch.randn(ROWS),
        steps=steps,
        terminateds=ended,
        discounts=GAMMA**steps * (1 - ended.float()),
        weights=torch.rand(ROWS) + 0.1,
    )


def scatter(networks):
    """Draws parameters that differ between main and target networks, with values of the size of returns."""
    torch.manual_seed(SEED)
    for network in networks:
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            with torch.no_grad():
                parameter.uniform_(-2 / fan_in**0.5, 2 / fan_in**0.5)


def save(name, recorded, **about):
    versions = {
        "torch": torch.__version__,
        "ray": ray.__version__,
        "stable-baselines3": stable_baselines3.__version__,
        "sb3-contrib": sb3_contrib.__version__,
        "gymnasium": gym.__version__,
    }
    tensors = {key: value.detach().contiguous().clone() for key, value in recorded.items()}
    about = json.dumps(versions | about)
    save_file(tensors, DATA / f"{name}.safetensors", metadata={"about": about})
    print(name, {key: value.reshape(-1)[:1].item() for key, value in recorded.items() if key == "loss"})


def sb3_update(kind, batch, **settings):
    """Returns the model after one gradient step on the transitions, its weights before, and the loss."""
    env = gym.make("CartPole-v1")
    policy = dict(net_arch=[8, 6], **settings)
    model = kind("MlpPolicy", env, policy_kwargs=policy, gamma=GAMMA, max_grad_norm=1e9, device="cpu")
    model.set_logger(configure(None, []))
    scatter([model.policy])
    state = {key: value.clone() for key, value in model.policy.state_dict().items()}
    # What the buffer returns for transitions of several steps.
    data = SimpleNamespace(
        observations=batch["obs"],
        next_observations=batch["new_obs"],
        actions=batch["actions"].reshape(-1, 1),
        rewards=batch["rewards"].reshape(-1, 1),
        dones=batch["terminateds"].float().reshape(-1, 1),
        discounts=(GAMMA ** batch["steps"]).reshape(-1, 1),
    )
    model.replay_buffer = SimpleNamespace(sample=lambda *_, **__: data)
    model.train(gradient_steps=1, batch_size=ROWS)
    gradients = {key: p.grad for key, p in model.policy.named_parameters() if p.grad is not None}
    loss = torch.tensor([model.logger.name_to_value["train/loss"]], dtype=torch.float32)
    return model, state, gradients, loss


def columns(batch, *more):
    return {key: batch[key] for key in ["obs", "new_obs", "actions", "rewards", "discounts", *more]}


def record_sb3_dqn():
    batch = transitions()
    model, state, gradients, loss = sb3_update(DQN, batch)
    acting = 10 * torch.randn(1000, 4)
    model.policy.load_state_dict(state)
    greedy, _ = model.predict(acting.numpy(), deterministic=True)
    greedy = torch.as_tensor(greedy)
    assert 200 < greedy.sum() < 800, "both actions"
    recorded = columns(batch) | dict(loss=loss, acting_obs=acting, greedy=greedy)
    recorded |= {f"state.{key}": value for key, value in state.items()}
    recorded |= {f"grad.{key}": value for key, value in gradients.items()}
    save("sb3_dqn", recorded)


def record_qr_dqn():
    batch = transitions()
    _, state, gradients, loss = sb3_update(QRDQN, batch, n_quantiles=QUANTILES)

    def ours(key, value):
        network, _, index, kind = key.rsplit(".", 3)
        prefix = "target_" if "target" in network else ""
        if index != "4":
            return f"{prefix}encoder.mlp.layers.{int(index) // 2}.{kind}", value
        # Rows of quantiles of all actions become rows of actions with all quantiles.
        value = value.reshape(QUANTILES, 2, *value.shape[1:]).transpose(0, 1)
        return f"{prefix}qf.af.layers.0.{kind}", value.reshape(2 * QUANTILES, *value.shape[2:])

    recorded = columns(batch) | dict(loss=loss)
    recorded |= {f"state.{k}": v for k, v in (ours(*item) for item in state.items())}
    recorded |= {f"grad.{k}": v for k, v in (ours(*item) for item in gradients.items())}
    save("contrib_qr_dqn", recorded, quantiles=QUANTILES)


def rllib_name(key):
    target = "target_" if key.startswith("_target_") else ""
    key = key.removeprefix("_target_")
    for theirs, ours in [
        ("encoder.net.mlp.", "encoder.mlp.layers."),
        ("af.net.mlp.", "qf.af.layers."),
        ("vf.net.mlp.", "qf.vf.layers."),
    ]:
        if key.startswith(theirs):
            index, kind = key.removeprefix(theirs).split(".")
            return f"{target}{ours}{int(index) // 2}.{kind}"
    raise KeyError(key)


def record_rllib(name, **settings):
    batch = transitions()
    env = gym.make("CartPole-v1")
    config = (
        DQNConfig()
        .environment("CartPole-v1")
        .learners(num_learners=0, num_gpus_per_learner=0)
        .training(gamma=GAMMA, **settings)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[8, 6], head_fcnet_hiddens=[]))
        .debugging(seed=0)
    )
    spaces = {DEFAULT_MODULE_ID: (env.observation_space, env.action_space)}
    learner = config.build_learner(spaces=spaces)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    scatter([module])
    data = {key: batch[key] for key in ["obs", "new_obs", "actions", "rewards", "terminateds", "weights"]}
    data["n_step"] = batch["steps"]
    state = {rllib_name(k): p.detach().clone() for k, p in module.named_parameters()}
    loss = learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID, config=config, batch=data, fwd_out=module.forward_train(data)
    )
    loss.backward()
    gradients = {rllib_name(k): p.grad for k, p in module.named_parameters() if p.grad is not None}
    td_error = learner.metrics.peek((DEFAULT_MODULE_ID, "td_error"))
    td_error = torch.as_tensor(td_error).reshape(-1)[-ROWS:]
    recorded = columns(batch, "weights") | dict(loss=loss.reshape(1), td_error=td_error)
    recorded |= {f"state.{key}": value for key, value in state.items()}
    recorded |= {f"grad.{key}": value for key, value in gradients.items()}
    save(name, recorded, **settings)


if __name__ == "__main__":
    torch.set_num_threads(1)
    record_sb3_dqn()
    record_qr_dqn()
    record_rllib("rllib_dqn", double_q=True, dueling=True)
    record_rllib("rllib_dqn_mse", double_q=False, dueling=False, td_error_loss_fn="mse")
    record_rllib("rllib_c51", dueling=False, num_atoms=ATOMS, v_min=-4.0, v_max=4.0)
