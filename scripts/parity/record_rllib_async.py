"""Record the losses of RLlib's IMPALA and APPO learners, for tests/parity/rllib_async.rs.

    pip install "ray[rllib]==2.60.0" torch==2.9.1 safetensors==0.8.0
    python scripts/parity/record_rllib_async.py

Writes tests/parity/data/rllib_<case>.safetensors. Cases:
  impala_on_policy   the module that acts is the one that learns; one encoder for both networks
  impala_off_policy  another policy acted; two encoders, as in the cases below
  appo_on_policy     the policies that act, learn and serve as target are one
  appo_off_policy    three policies; some ratios reach APPO's bound of 2
  appo_kl            the same with a penalty on the divergence from the target policy
  impala_lstm, appo_lstm  off policy, with an LSTM and sequences of at most 5 steps; APPO with KL

  state.<parameter>, target.<parameter>   the weights of the module and of APPO's target policy
  lengths, ends [S]        the segments of the batch: steps, and 0 cut, 1 terminated, 2 truncated
  obs [B, 4], actions, action_logp, rewards [B]   their steps, one segment after the other
  final_obs [S, 4]         the observation after each segment
  state_in.<h|c> [B, 1, 6], final_state.<h|c> [S, 1, 6]   with an LSTM: the state before each step,
                           and after each segment
  total, policy_loss, vf_loss, entropy, (mean_kl_loss) [1], grad.<parameter>   RLlib's results
  total_unmodified [1]     RLlib's loss of the batch that its connectors make

RLlib's connectors append a step to each segment: the final observation, the last action again, a
reward of 0, and a loss mask of 0. The step is there for the value of the final observation, but
V-trace runs over it. Its temporal difference, the importance ratio times (0 - V(final obs)), flows
into the step before it, except at the end of a terminated segment or of a row. Truncated and cut
segments therefore bootstrap from less than V(final obs), and from none of it where the ratios are 1
or more. All results but `total_unmodified` are those of a batch in which the ratio of the appended
steps is 0 (their `action_logp` is 50), so that the value counts in full, as in the paper.

RLlib cuts rows of `rollout_fragment_length` steps out of the whole batch, appended steps included.
The segments are chosen so that rows begin where segments, or pieces of 8 steps of one, begin. With
an LSTM, it cuts every segment by itself.

No Ray cluster is started. CPU, one thread; the versions are in the metadata of every file.
"""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import ray
import torch
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from safetensors.torch import save_file

DATA = Path(__file__).parents[2] / "tests/parity/data"
FRAGMENT = 8
CUT, TERMINATED, TRUNCATED = 0, 1, 2
# With the appended steps, rows of 8: A | B | B C | D | +1 E | F G H | I. The last one is padded.
SEGMENTS = [
    (7, TERMINATED),
    (11, TRUNCATED),
    (3, TERMINATED),
    (8, CUT),
    (6, TRUNCATED),
    (2, TERMINATED),
    (1, TRUNCATED),
    (2, CUT),
    (3, CUT),
]
SETTINGS = dict(
    gamma=0.9,
    vtrace_clip_rho_threshold=1.2,
    vtrace_clip_pg_rho_threshold=0.9,
    vf_loss_coeff=0.3,
    entropy_coeff=0.02,
)
APPO_SETTINGS = dict(clip_param=0.2, kl_coeff=0.7)


def build_learner(config, model, **settings):
    env = gym.make("CartPole-v1")
    config = (
        config.environment("CartPole-v1")
        .env_runners(num_env_runners=1, rollout_fragment_length=FRAGMENT)
        .learners(num_learners=0, num_gpus_per_learner=0)
        .training(**SETTINGS, **settings)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[8], **model))
        .debugging(seed=0)
    )
    spaces = {DEFAULT_MODULE_ID: (env.observation_space, env.action_space)}
    return config, config.build_learner(spaces=spaces)


def act(module, obs):
    """Return the logits of each step, and the states before each step and after the last one."""
    if not module.is_stateful():
        return module.forward_train({Columns.OBS: obs})[Columns.ACTION_DIST_INPUTS], None
    states = [{key: torch.zeros(1, *s.shape) for key, s in module.get_initial_state().items()}]
    logits = []
    for step in obs:
        batch = {Columns.OBS: step.reshape(1, 1, -1), Columns.STATE_IN: states[-1]}
        outputs = module.forward_train(batch)
        logits.append(outputs[Columns.ACTION_DIST_INPUTS][0, 0])
        states.append(outputs[Columns.STATE_OUT])
    return torch.stack(logits), {key: torch.cat([s[key] for s in states]) for key in states[0]}


def make_segments(module, noise):
    """Return the columns of each segment. The policy that acts has `noise` in its logits."""
    segments = []
    for length, end in SEGMENTS:
        obs = torch.randn(length + 1, 4)
        with torch.no_grad():
            logits, states = act(module, obs)
        logits = logits + noise * torch.randn(length + 1, 2)
        dist = module.get_train_action_dist_cls().from_logits(logits)
        actions = torch.randint(2, (length + 1,))
        columns = dict(obs=obs, actions=actions, action_logp=dist.logp(actions), states=states)
        columns["rewards"] = torch.randn(length)
        segments.append((length, end, columns))
    return segments


def extra_outputs(length, columns):
    outputs = {"action_logp": list(columns["action_logp"][:length].numpy())}
    if states := columns["states"]:
        after = [{key: s[t + 1].numpy() for key, s in states.items()} for t in range(length)]
        outputs[Columns.STATE_OUT] = after
    return outputs


def make_batch(learner, segments):
    """Return the batch that RLlib's learner connectors make of the segments."""
    space = learner.module[DEFAULT_MODULE_ID].observation_space
    action_space = learner.module[DEFAULT_MODULE_ID].action_space
    episodes = [
        SingleAgentEpisode(
            observation_space=space,
            action_space=action_space,
            observations=list(columns["obs"].numpy()),
            actions=list(columns["actions"][:length].numpy()),
            rewards=list(columns["rewards"].numpy()),
            extra_model_outputs=extra_outputs(length, columns),
            terminated=end == TERMINATED,
            truncated=end == TRUNCATED,
            len_lookback_buffer=0,
        )
        for length, end, columns in segments
    ]
    about = dict(rl_module=learner.module, shared_data={}, metrics=None)
    return learner._learner_connector(batch={}, episodes=episodes, **about)[DEFAULT_MODULE_ID]


def compute(learner, config, batch):
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    module.zero_grad()
    total = learner.compute_loss_for_module(
        module_id=DEFAULT_MODULE_ID,
        config=config,
        batch=batch,
        fwd_out=module.forward_train(batch),
    )
    total.backward()
    return total


def figures(learner, appo):
    """Return the terms that the learner logged; each name is rekindle's, and RLlib's."""
    names = dict(policy_loss="policy_loss", vf_loss="vf_loss", mean_kl_loss="mean_kl_loss")
    if not appo:
        names = dict(policy_loss="mean_pi_loss", vf_loss="mean_vf_loss")
    names["entropy"] = "entropy"
    terms = {name: learner.metrics.peek((DEFAULT_MODULE_ID, key)) for name, key in names.items()}
    return {name: torch.as_tensor(term).detach().reshape(1) for name, term in terms.items()}


def record(name, config, model, noise, target_noise=0.0, **settings):
    torch.manual_seed(21)
    appo = isinstance(config, APPOConfig)
    config, learner = build_learner(config, model, **settings)
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    with torch.no_grad():  # The target policy, and values of the size of the returns
        for parameter in module.vf.parameters():
            parameter.mul_(3.0)
        for net, target in module.get_target_network_pairs() if appo else []:
            for parameter, old in zip(net.parameters(), target.parameters()):
                old.copy_(parameter + target_noise * torch.randn_like(parameter))
    segments = make_segments(module, noise)
    batch = make_batch(learner, segments)
    unmodified = compute(learner, config, batch)
    logp, counts = batch[Columns.ACTION_LOGP], batch[Columns.LOSS_MASK]
    # Appended steps with a reward of V(final obs), thus a temporal difference of 0, give the same.
    with torch.no_grad():
        values = module.compute_values(batch)
    rewards = torch.where(counts, batch[Columns.REWARDS], values)
    rewarded = compute(learner, config, {**batch, Columns.REWARDS: rewards})
    batch[Columns.ACTION_LOGP] = torch.where(counts, logp, 50.0)
    total = compute(learner, config, batch)
    torch.testing.assert_close(rewarded, total)

    recorded = {
        "lengths": torch.tensor([length for length, _, _ in segments]),
        "ends": torch.tensor([end for _, end, _ in segments]),
        "final_obs": torch.stack([columns["obs"][-1] for _, _, columns in segments]),
        "total": total.reshape(1),
        "total_unmodified": unmodified.reshape(1),
        **figures(learner, appo),
    }
    if module.is_stateful():
        for key in "hc":
            states = [(length, columns["states"][key]) for length, _, columns in segments]
            recorded[f"state_in.{key}"] = torch.cat([s[:length] for length, s in states])
            recorded[f"final_state.{key}"] = torch.stack([s[length] for length, s in states])
    for key in ("obs", "actions", "action_logp", "rewards"):
        recorded[key] = torch.cat([columns[key][:length] for length, _, columns in segments])
    for key, value in module.state_dict().items():
        old = key.startswith("_old_")
        recorded["target." + key.removeprefix("_old_") if old else "state." + key] = value
    for key, parameter in module.named_parameters():
        if parameter.grad is not None and not key.startswith("_old_"):
            recorded["grad." + key] = parameter.grad
    if not settings.get("use_kl_loss"):
        recorded.pop("mean_kl_loss", None)
    about = {
        "ray": ray.__version__,
        "torch": torch.__version__,
        "gymnasium": gym.__version__,
        "numpy": np.__version__,
        "rollout_fragment_length": FRAGMENT,
        **SETTINGS,
        **settings,
    }
    tensors = {key: value.detach().contiguous().clone() for key, value in recorded.items()}
    save_file(tensors, DATA / f"rllib_{name}.safetensors", metadata={"about": json.dumps(about)})
    print(f"{name}: total {total.item():.6f}, unmodified {unmodified.item():.6f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    shared, separate = dict(vf_share_layers=True), dict(vf_share_layers=False)
    lstm = dict(shared, use_lstm=True, lstm_cell_size=6, max_seq_len=5)
    record("impala_on_policy", IMPALAConfig(), shared, noise=0.0)
    record("impala_off_policy", IMPALAConfig(), separate, noise=1.0)
    record("impala_lstm", IMPALAConfig(), lstm, noise=1.0)
    record("appo_on_policy", APPOConfig(), shared, noise=0.0, **APPO_SETTINGS)
    off_policy = dict(noise=1.5, target_noise=0.3, **APPO_SETTINGS)
    record("appo_off_policy", APPOConfig(), separate, **off_policy)
    record("appo_kl", APPOConfig(), separate, use_kl_loss=True, **off_policy)
    record("appo_lstm", APPOConfig(), lstm, use_kl_loss=True, **off_policy)
