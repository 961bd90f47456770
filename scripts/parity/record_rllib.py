"""Record what RLlib's default PPO module and PPO learner compute, for tests/parity/rllib.rs.

    pip install "ray[rllib]==2.60.0" torch==2.9.1 safetensors==0.8.0
    python scripts/parity/record_rllib.py

Writes to tests/parity/data, for `vf_share_layers` true and false:
  rllib_<shared|separate>.safetensors           the module's state dict, under RLlib's names
  rllib_<shared|separate>_recorded.safetensors  outputs, and the learner's loss and its gradients
a module for continuous actions with all parts that have weights, `rllib_gaussian*`; and the
default module with an LSTM:
  rllib_lstm.safetensors           its state dict: fcnet [8], lstm_cell_size 6, vf_share_layers
  rllib_lstm_recorded.safetensors  B = 3 sequences of T = 4 steps; 4, 2 and 3 of them count
    obs [B, T, 4], loss_mask [B, T] (boolean; padded steps have zeros in every column),
    state_in.h, state_in.c, state_out.h, state_out.c [B, 1, 6] (batch before layers),
    actions [B, T] (integers), action_dist_inputs [B, T, 2] (of the old policy),
    action_logp, advantages, value_targets [B, T]: the batch;
    logits [B, T, 2], values [B, T], total [1], grad.<parameter>: what RLlib computes from it

and the default module for images, with outputs alone:
  rllib_cnn            RLlib's default filters for 10 x 10, one encoder for both networks
    obs [B, 10, 10, 3], logits [B, 3], values [B]
  rllib_cnn_separate   two filters, one without padding, and an encoder for each network
    obs [B, 12, 9, 2], logits [B, 3], values [B]
  rllib_cnn_lstm       an LSTM of 5 cells above each network's encoder
    obs [B * T, 9, 9, 1], B = 3 sequences of T = 4 steps one after the other;
    logits [B * T, 3], values [B * T],
    state_in.<actor|critic>.<h|c>, state_out.<actor|critic>.<h|c> [B, 1, 5]

No Ray cluster is started. CPU, one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from safetensors.torch import save_file

DATA = Path(__file__).parents[2] / "tests/parity/data"
SETTINGS = dict(
    clip_param=0.2,
    vf_clip_param=10.0,
    vf_loss_coeff=0.5,
    entropy_coeff=0.01,
    use_kl_loss=True,
    kl_coeff=0.2,
)


def build_learner(model):
    """Build a PPO learner without an Algorithm."""
    env = gym.make("CartPole-v1")
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .learners(num_learners=0, num_gpus_per_learner=0)
        .training(**SETTINGS)
        .rl_module(model_config=model)
        .debugging(seed=0)
    )
    spaces = {DEFAULT_MODULE_ID: (env.observation_space, env.action_space)}
    return config, config.build_learner(spaces=spaces)


def make_batch(module, rows=64):
    """Return rows on both sides of every clip: the ratio's two, and the value error's."""
    obs = torch.randn(rows, 4)
    actions = torch.randint(2, (rows,))
    with torch.no_grad():
        logits = module.forward_train({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS]
    old = logits + torch.randn(rows, 2)
    dist = module.get_exploration_action_dist_cls().from_logits(old)
    return {
        Columns.OBS: obs,
        Columns.ACTIONS: actions,
        Columns.ACTION_DIST_INPUTS: old,
        Columns.ACTION_LOGP: dist.logp(actions),
        Postprocessing.ADVANTAGES: torch.randn(rows),
        Postprocessing.VALUE_TARGETS: 4 * torch.randn(rows),
    }


def record(share):
    torch.manual_seed(6)
    model = DefaultModelConfig(fcnet_hiddens=[32, 32], vf_share_layers=share)
    config, learner = build_learner(model)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    batch = make_batch(module)
    record_learner("shared" if share else "separate", config, learner, batch)


def make_sequences(module, lengths=(4, 2, 3), steps=4):
    """Return the columns of `make_batch` as padded sequences, and their initial states."""
    rows = len(lengths)
    mask = torch.arange(steps) < torch.tensor(lengths).unsqueeze(1)
    obs = torch.randn(rows, steps, 4) * mask.unsqueeze(2)
    state = {key: 0.5 * torch.randn(rows, 1, 6) for key in "hc"}
    with torch.no_grad():
        out = module.forward_train({Columns.OBS: obs, Columns.STATE_IN: state})
    old = out[Columns.ACTION_DIST_INPUTS] + torch.randn(rows, steps, 2)
    actions = torch.randint(2, (rows, steps))
    dist = module.get_exploration_action_dist_cls().from_logits(old)
    return {
        Columns.OBS: obs,
        Columns.ACTIONS: actions * mask,
        Columns.ACTION_DIST_INPUTS: old * mask.unsqueeze(2),
        Columns.ACTION_LOGP: dist.logp(actions) * mask,
        Postprocessing.ADVANTAGES: torch.randn(rows, steps) * mask,
        Postprocessing.VALUE_TARGETS: 4 * torch.randn(rows, steps) * mask,
        Columns.LOSS_MASK: mask,
        Columns.STATE_IN: state,
    }


def record_lstm():
    torch.manual_seed(12)
    model = DefaultModelConfig(
        fcnet_hiddens=[8], use_lstm=True, lstm_cell_size=6, max_seq_len=4, vf_share_layers=True
    )
    config, learner = build_learner(model)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    record_learner("lstm", config, learner, make_sequences(module))


def flat(batch):
    """Replace nested columns by columns with dotted names, one level deep."""
    columns = {}
    for key, column in batch.items():
        if isinstance(column, dict):
            columns.update({f"{key}.{name}": state for name, state in column.items()})
        else:
            columns[key] = column
    return columns


def record_learner(name, config, learner, batch):
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    outputs = module.forward_train(batch)
    values = module.compute_values(batch, embeddings=outputs.get(Columns.EMBEDDINGS))
    total = learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID, config=config, batch=batch, fwd_out=outputs
    )
    total.backward()
    if Columns.STATE_OUT in outputs:
        batch = {**batch, Columns.STATE_OUT: outputs[Columns.STATE_OUT]}
    recorded = {
        **flat(batch),
        "logits": outputs[Columns.ACTION_DIST_INPUTS],
        "values": values,
        "total": total.reshape(1),
        **{f"grad.{n}": p.grad for n, p in module.named_parameters() if p.grad is not None},
    }
    about = {
        "ray": ray.__version__,
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "numpy": np.__version__,
        **SETTINGS,
    }
    save(f"rllib_{name}", module.state_dict(), about)
    save(f"rllib_{name}_recorded", recorded, about)
    print(name, "total loss", total.item())


def record_gaussian():
    """Record the other named parts: LayerNorms, hidden layers of heads, a free log_std."""
    torch.manual_seed(7)
    module = RLModuleSpec(
        module_class=DefaultPPOTorchRLModule,
        catalog_class=PPOCatalog,
        observation_space=gym.spaces.Box(-1.0, 1.0, (4,)),
        action_space=gym.spaces.Box(-1.0, 1.0, (2,)),
        model_config=DefaultModelConfig(
            fcnet_hiddens=[16, 16],
            fcnet_activation="relu",
            fcnet_use_layernorm=True,
            head_fcnet_hiddens=[8],
            head_fcnet_use_layernorm=True,
            free_log_std=True,
            vf_share_layers=False,
        ),
    ).build()
    for parameter in module.parameters():  # LayerNorms start as ones and zeros, log_std as zeros
        torch.nn.init.uniform_(parameter, -0.5, 0.5)
    batch = {Columns.OBS: torch.randn(16, 4)}
    outputs = module.forward_train(batch)
    values = module.compute_values(batch, embeddings=outputs.get(Columns.EMBEDDINGS))
    recorded = {**batch, "logits": outputs[Columns.ACTION_DIST_INPUTS], "values": values}
    about = {"ray": ray.__version__, "torch": torch.__version__}
    save("rllib_gaussian", module.state_dict(), about)
    save("rllib_gaussian_recorded", recorded, about)


def record_images(name, shape, model, lead=(4,)):
    torch.manual_seed(13)
    module = RLModuleSpec(
        module_class=DefaultPPOTorchRLModule,
        catalog_class=PPOCatalog,
        observation_space=gym.spaces.Box(0.0, 1.0, shape),
        action_space=gym.spaces.Discrete(3),
        model_config=DefaultModelConfig(**model),
    ).build()
    batch = {Columns.OBS: torch.rand(*lead, *shape)}
    if module.is_stateful():
        rows = lead[0]
        batch[Columns.STATE_IN] = {
            net: {key: 0.5 * torch.randn(rows, 1, 5) for key in "hc"} for net in ("actor", "critic")
        }
    outputs = module.forward_train(batch)
    values = module.compute_values(batch, embeddings=outputs.get(Columns.EMBEDDINGS))
    recorded = {**batch, "logits": outputs[Columns.ACTION_DIST_INPUTS], "values": values}
    if module.is_stateful():
        for key in (Columns.OBS, "logits", "values"):
            recorded[key] = recorded[key].flatten(0, 1)
        recorded[Columns.STATE_OUT] = outputs[Columns.STATE_OUT]
    about = {"ray": ray.__version__, "torch": torch.__version__}
    save(f"rllib_{name}", module.state_dict(), about)
    save(f"rllib_{name}_recorded", flat(flat(recorded)), about)


def record_cnns():
    record_images("cnn", (10, 10, 3), dict(vf_share_layers=True))
    filters = [[4, [4, 3], 2], [5, 3, 1, "valid"]]
    model = dict(conv_filters=filters, conv_activation="tanh", head_fcnet_hiddens=[6])
    record_images("cnn_separate", (12, 9, 2), dict(**model, vf_share_layers=False))
    model = dict(conv_filters=[[3, 4, 3]], use_lstm=True, lstm_cell_size=5, max_seq_len=4)
    record_images("cnn_lstm", (9, 9, 1), dict(**model, vf_share_layers=False), lead=(3, 4))


def save(name, tensors, about):
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, DATA / f"{name}.safetensors", metadata={"about": json.dumps(about)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(share=True)
    record(share=False)
    record_gaussian()
    record_lstm()
    record_cnns()
