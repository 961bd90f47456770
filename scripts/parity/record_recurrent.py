"""Record what PyTorch computes with recurrent layers and a recurrent actor-critic.

    pip install torch==2.9.1 safetensors==0.8.0 numpy
    python scripts/parity/record_recurrent.py

Writes to tests/parity/data, float32, CPU, one thread. B = 3 sequences of T = 6 steps with I = 4
inputs, H = 5 units, L = 1 or 2 layers, G = 4 (LSTM) or 3 (GRU) gates.

torch_lstm_1, torch_lstm_2, torch_gru_1, torch_gru_2 .safetensors (the number is L)
    state.weight_ih_l<k>  [G * H, I], from the second layer on [G * H, H]
    state.weight_hh_l<k>  [G * H, H]
    state.bias_ih_l<k>, state.bias_hh_l<k>  [G * H]
        PyTorch's names; the rows of the gates come in PyTorch's order: input, forget, cell, output
        for an LSTM, reset, update, new for a GRU, whose bias_hh of the new gate is inside the
        product with the reset gate
    input   [B, T, I]     output  [B, T, H]
    h0, c0  [L, B, H]     hn, cn  [L, B, H]     (c0 and cn: LSTM only)
    weights.output, weights.hn, weights.cn: shaped as those; the loss is the sum over them of
        sum(figure * weights)
    loss    [1]
    grad.<parameter>, grad.input, grad.h0, grad.c0: its gradients, each shaped as its tensor

torch_recurrent_ppo.safetensors: obs -> Linear(4, 8), tanh -> LSTM(8, 6) -> Linear(6, 2) and (6, 1);
B = 4 sequences of T = 6 steps; the first 6, 4, 1 and 5 steps count, the others are padding
    state.tokenizer.weight [8, 4], state.tokenizer.bias [8]
    state.lstm.weight_ih_l0 [24, 8], .weight_hh_l0 [24, 6], .bias_ih_l0, .bias_hh_l0 [24]
    state.pi.weight [2, 6], state.pi.bias [2], state.vf.weight [1, 6], state.vf.bias [1]
    obs [B, T, 4], loss_mask [B, T] (boolean; padded steps have zeros in every column)
    state_in.h, state_in.c, state_out.h, state_out.c  [B, 1, 6]: batch before layers, as in RLlib;
        the states after are those after all T steps, padding included
    actions [B, T] (integers), action_dist_inputs [B, T, 2] (of the old policy)
    action_logp, advantages, value_targets  [B, T]
    logits [B, T, 2], values [B, T]
    policy_loss, vf_loss, vf_loss_unclipped, entropy, mean_kl_loss, total  [1]: the terms of
        record_torch.py with means over the steps that count: sum(x * mask) / sum(mask)
    grad.<parameter>: gradients of total
The settings of the loss are in the metadata.
"""

import torch
from networks import RecurrentActorCritic
from record_torch import CLIP, ENTROPY_COEFF, KL_COEFF, VF_CLIP, VF_COEFF
from record_torch import gradients, parameters, ppo_total, save
from torch import nn
from torch.distributions import Categorical, kl_divergence

ROWS, STEPS, INPUTS, UNITS = 3, 6, 4, 5
LENGTHS = (6, 4, 1, 5)


def record_layer(name, make, layers):
    torch.manual_seed(10)
    net = make(INPUTS, UNITS, num_layers=layers, batch_first=True)
    for parameter in net.parameters():  # wider than PyTorch's, so that the gates saturate a little
        nn.init.uniform_(parameter, -1.0, 1.0)
    lstm = make is nn.LSTM
    leaves = {"input": torch.randn(ROWS, STEPS, INPUTS), "h0": torch.randn(layers, ROWS, UNITS)}
    if lstm:
        leaves["c0"] = torch.randn(layers, ROWS, UNITS)
    for leaf in leaves.values():
        leaf.requires_grad_()
    output, state = net(leaves["input"], (leaves["h0"], leaves["c0"]) if lstm else leaves["h0"])
    figures = {"output": output, **dict(zip(("hn", "cn"), state if lstm else (state,)))}
    weights = {key: torch.randn_like(figure) for key, figure in figures.items()}
    loss = sum((figure * weights[key]).sum() for key, figure in figures.items())
    loss.backward()
    tensors = {**leaves, **figures, "loss": loss.reshape(1), **parameters(net), **gradients(net)}
    tensors |= {f"weights.{key}": weight for key, weight in weights.items()}
    tensors |= {f"grad.{key}": leaf.grad for key, leaf in leaves.items()}
    save(f"{name}_{layers}", tensors)


def make_batch(net, state):
    """Return padded sequences, `[B, T, ...]`, with steps on both sides of every clip."""
    rows = len(LENGTHS)
    mask = torch.arange(STEPS) < torch.tensor(LENGTHS).unsqueeze(1)
    obs = torch.randn(rows, STEPS, 4) * mask.unsqueeze(2)
    with torch.no_grad():
        old = net(obs, state)[0] + torch.randn(rows, STEPS, 2)
    actions = torch.randint(2, (rows, STEPS))
    batch = {
        "obs": obs,
        "actions": actions,
        "action_dist_inputs": old,
        "action_logp": Categorical(logits=old).log_prob(actions),
        "advantages": torch.randn(rows, STEPS),
        "value_targets": 4 * torch.randn(rows, STEPS),
    }
    padded = {
        key: column * mask.reshape(rows, STEPS, *[1] * (column.dim() - 2))
        for key, column in batch.items()
    }
    return {**padded, "loss_mask": mask}


def ppo_terms(logits, values, batch):
    """Return the terms of record_torch.py, as means over the steps that count."""
    mask = batch["loss_mask"]
    mean = lambda x: (x * mask).sum() / mask.sum()  # noqa: E731
    dist, old = Categorical(logits=logits), Categorical(logits=batch["action_dist_inputs"])
    ratio = torch.exp(dist.log_prob(batch["actions"]) - batch["action_logp"])
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
    surrogate = torch.min(batch["advantages"] * ratio, batch["advantages"] * clipped)
    squared = (values - batch["value_targets"]).square()
    return {
        "policy_loss": -mean(surrogate),
        "vf_loss": mean(squared.clamp(0, VF_CLIP)),
        "vf_loss_unclipped": mean(squared),
        "entropy": mean(dist.entropy()),
        "mean_kl_loss": mean(kl_divergence(old, dist)),
    }


def record_ppo():
    torch.manual_seed(11)
    net = RecurrentActorCritic(4, 8, 6, 2)
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -0.8, 0.8)
    state = [0.5 * torch.randn(1, len(LENGTHS), 6) for _ in "hc"]
    batch = make_batch(net, state)
    logits, values, after = net(batch["obs"], state)
    terms = ppo_terms(logits, values, batch)
    total = ppo_total(terms)
    total.backward()
    figures = {name: term.reshape(1) for name, term in {**terms, "total": total}.items()}
    figures |= {"logits": logits, "values": values}
    figures |= {f"state_in.{key}": s.transpose(0, 1) for key, s in zip("hc", state)}
    figures |= {f"state_out.{key}": s.transpose(0, 1) for key, s in zip("hc", after)}
    about = dict(clip_param=CLIP, vf_clip_param=VF_CLIP, vf_loss_coeff=VF_COEFF)
    about.update(entropy_coeff=ENTROPY_COEFF, kl_coeff=KL_COEFF, lengths=LENGTHS)
    save("recurrent_ppo", {**batch, **figures, **parameters(net), **gradients(net)}, **about)
    print_clips(logits, values, batch)


def print_clips(logits, values, batch):
    """Return the number of steps that each clip changes; none should be 0."""
    mask = batch["loss_mask"]
    logp = Categorical(logits=logits).log_prob(batch["actions"])
    ratio, advantages = torch.exp(logp - batch["action_logp"])[mask], batch["advantages"][mask]
    above = ((ratio > 1 + CLIP) & (advantages > 0)).sum().item()
    below = ((ratio < 1 - CLIP) & (advantages < 0)).sum().item()
    errors = (values - batch["value_targets"]).square()[mask]
    print(f"clipped: ratio {above} above, {below} below; value {(errors > VF_CLIP).sum().item()}")


def main():
    torch.set_num_threads(1)
    for layers in (1, 2):
        record_layer("lstm", nn.LSTM, layers)
        record_layer("gru", nn.GRU, layers)
    record_ppo()


if __name__ == "__main__":
    main()
