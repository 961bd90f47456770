"""Record what policies of Stable-Baselines3 and sb3-contrib compute.

    pip install torch==2.9.1 stable-baselines3==2.9.2 sb3-contrib==2.9.2 gymnasium==1.4.0 \
        safetensors==0.8.0
    python scripts/parity/record_sb3.py

Writes two files per policy to tests/parity/data: sb3_<policy>.safetensors has its weights under
SB3's names, sb3_<policy>_recorded.safetensors has observations and outputs.

sb3_unequal: MlpPolicy with net_arch=dict(pi=[24, 16], vf=[18]) and Box actions
    obs [B, 4], logits [B, 4] (two means, two log standard deviations), values [B]
sb3_cnn, sb3_cnn_separate: CnnPolicy with NatureCNN, whose channels are cut down to keep the files
    small; one features extractor for both networks, or one each and net_arch=dict(pi=[6], vf=[5])
    obs [B, 44, 44, 3] (bytes, channels last), logits [B, 3], values [B]
    default.<parameter> (sb3_cnn alone): the shapes in an uncut CnnPolicy on 84 x 84 x 4 images
sb3_recurrent: MlpLstmPolicy with an LSTM of two layers for each network, and
    net_arch=dict(pi=[7, 6], vf=[5])
sb3_recurrent_shared: one LSTM for both networks, and net_arch=[7]
    obs [S * T, 3], S = 3 sequences of T = 4 steps one after the other; logits [S * T, 2],
    values [S * T]
    state_in.<network>.<h|c>, state_out.<network>.<h|c> [S, layers, 5]; <network>. is missing where
    there is one LSTM

Parameters are random and nowhere zero, so that a parameter in the wrong place shows. Float32, CPU,
one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import sb3_contrib
import stable_baselines3 as sb3
import torch
from safetensors.torch import save_file, save_model
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from sb3_contrib.ppo_recurrent.policies import MlpLstmPolicy
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

DATA = Path(__file__).parents[2] / "tests/parity/data"
ABOUT = {
    "stable_baselines3": sb3.__version__,
    "sb3_contrib": sb3_contrib.__version__,
    "torch": torch.__version__,
    "gymnasium": gym.__version__,
}


class CutNatureCNN(NatureCNN):
    """NatureCNN with fewer channels; kernels, strides and everything else are NatureCNN's."""

    CHANNELS = (4, 6, 5)

    def __init__(self, observation_space, features_dim):
        super().__init__(observation_space, features_dim)
        channels = observation_space.shape[0]
        for index, out in zip((0, 2, 4), self.CHANNELS):
            full = self.cnn[index]
            self.cnn[index] = nn.Conv2d(channels, out, full.kernel_size, full.stride)
            channels = out
        sample = torch.zeros(1, *observation_space.shape)
        self.linear[0] = nn.Linear(self.cnn(sample).shape[1], features_dim)


def build(policy, observations, actions, seed, **settings):
    """A policy with random parameters, biases and log standard deviations among them."""
    torch.manual_seed(seed)
    policy = policy(observations, actions, lambda _: 0.0, **settings)
    for parameter in policy.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        nn.init.uniform_(parameter, -1.5 / fan_in**0.5, 1.5 / fan_in**0.5)
    return policy


def save(name, policy, recorded):
    about = {"about": json.dumps(ABOUT)}
    # Unlike `save_file`, this writes a shared features extractor once.
    save_model(policy, DATA / f"{name}.safetensors", metadata=about)
    recorded = {key: value.detach().contiguous().clone() for key, value in recorded.items()}
    save_file(recorded, DATA / f"{name}_recorded.safetensors", metadata=about)
    print(name)
    for parameter, tensor in policy.state_dict().items():
        print("   ", parameter, tuple(tensor.shape))


def record_unequal():
    spaces = gym.spaces.Box(-np.inf, np.inf, (4,)), gym.spaces.Box(-2.0, 2.0, (2,))
    policy = build(ActorCriticPolicy, *spaces, seed=20, net_arch=dict(pi=[24, 16], vf=[18]))
    obs = 2 * torch.randn(16, 4)
    gaussian = policy.get_distribution(obs).distribution
    logits = torch.cat([gaussian.mean, gaussian.stddev.log()], 1)
    recorded = {"obs": obs, "logits": logits, "values": policy.predict_values(obs).squeeze(1)}
    save("sb3_unequal", policy, recorded)


def raw_logits(policy, latent):
    """Logits as the network puts them out: SB3's distribution normalizes them."""
    return policy.action_net(latent)


def record_cnn(name, seed, **settings):
    images, actions = gym.spaces.Box(0, 255, (3, 44, 44), np.uint8), gym.spaces.Discrete(3)
    cut = dict(features_extractor_class=CutNatureCNN, features_extractor_kwargs={"features_dim": 8})
    policy = build(ActorCriticCnnPolicy, images, actions, seed, **cut, **settings)
    obs = torch.randint(256, (4, 3, 44, 44), dtype=torch.uint8)
    features = policy.extract_features(obs)
    features = features if policy.share_features_extractor else features[0]
    logits = raw_logits(policy, policy.mlp_extractor.forward_actor(features))
    expected = policy.get_distribution(obs).distribution.logits
    torch.testing.assert_close(logits.log_softmax(1), expected)
    recorded = {"obs": obs.permute(0, 2, 3, 1), "logits": logits}
    recorded["values"] = policy.predict_values(obs).squeeze(1)
    if policy.share_features_extractor:
        atari = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
        default = ActorCriticCnnPolicy(atari, actions, lambda _: 0.0).state_dict()
        copies = ("pi_features_extractor.", "vf_features_extractor.")
        shapes = {name: t.shape for name, t in default.items() if not name.startswith(copies)}
        recorded |= {f"default.{name}": torch.tensor(shape) for name, shape in shapes.items()}
    save(name, policy, recorded)


def record_recurrent(name, seed, layers, **settings):
    spaces = gym.spaces.Box(-np.inf, np.inf, (3,)), gym.spaces.Discrete(2)
    settings |= dict(lstm_hidden_size=5, n_lstm_layers=layers)
    policy = build(MlpLstmPolicy, *spaces, seed, **settings)
    sequences, steps = 3, 4
    obs, starts = torch.randn(sequences * steps, 3), torch.zeros(sequences * steps)
    networks = ["actor"] if policy.shared_lstm else ["actor", "critic"]
    before = {net: torch.randn(2, layers, sequences, 5).unbind(0) for net in networks}
    states = RNNStates(before["actor"], before[networks[-1]])
    _, values, _, after = policy.forward(obs, states, starts)
    features = policy.extract_features(obs)
    latent, _ = policy._process_sequence(features, states.pi, starts, policy.lstm_actor)
    logits = raw_logits(policy, policy.mlp_extractor.forward_actor(latent))
    expected, _ = policy.get_distribution(obs, states.pi, starts)
    torch.testing.assert_close(logits.log_softmax(1), expected.distribution.logits)
    recorded = {"obs": obs, "logits": logits, "values": values.squeeze(1)}
    after = {"actor": after.pi, "critic": after.vf}
    for column, parts in [("state_in", before), ("state_out", after)]:
        for net in networks:
            prefix = column if policy.shared_lstm else f"{column}.{net}"
            for key, part in zip("hc", parts[net]):
                recorded[f"{prefix}.{key}"] = part.swapaxes(0, 1)
    save(name, policy, recorded)


def main():
    torch.set_num_threads(1)
    record_unequal()
    # What SB3 chooses for NatureCNN itself, but not for a class derived from it.
    record_cnn("sb3_cnn", seed=21, net_arch=[])
    separate = dict(share_features_extractor=False, net_arch=dict(pi=[6], vf=[5]))
    record_cnn("sb3_cnn_separate", seed=22, **separate)
    record_recurrent("sb3_recurrent", seed=23, layers=2, net_arch=dict(pi=[7, 6], vf=[5]))
    shared = dict(shared_lstm=True, enable_critic_lstm=False, net_arch=[7])
    record_recurrent("sb3_recurrent_shared", seed=24, layers=1, **shared)


if __name__ == "__main__":
    main()
