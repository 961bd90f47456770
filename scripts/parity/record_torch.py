"""Record what PyTorch computes, for tests/parity/torch.rs.

    pip install torch==2.9.1 safetensors==0.8.0 numpy
    python scripts/parity/record_torch.py

Writes tests/parity/data/torch_*.safetensors. Everything is float32 on the CPU with one thread;
the versions are in the metadata of every file. Parameters have the prefix `state.`, gradients
`grad.`.
"""

import json
from pathlib import Path

import torch
from networks import ActorCritic
from safetensors.torch import save_file
from torch.distributions import Categorical, Independent, Normal, kl_divergence

DATA = Path(__file__).parents[2] / "tests/parity/data"
CLIP, VF_CLIP, VF_COEFF, ENTROPY_COEFF, KL_COEFF = 0.2, 10.0, 0.5, 0.01, 0.2


def save(name, tensors, **about):
    about = json.dumps({"torch": torch.__version__, **about})
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, DATA / f"torch_{name}.safetensors", metadata={"about": about})


def prefixed(prefix, tensors):
    return {f"{prefix}.{name}": tensor for name, tensor in tensors}


def parameters(net):
    return prefixed("state", net.state_dict().items())


def gradients(net):
    return prefixed("grad", ((name, p.grad) for name, p in net.named_parameters()))


def scalar_loss(net, obs, weights):
    logits, values = net(obs)
    return (logits * weights).sum() + 0.5 * values.square().mean()


def record_mlp(name, act, layernorm, share):
    torch.manual_seed(1)
    net = ActorCritic(4, [16, 16], 2, act, layernorm, share)
    if layernorm:  # neither ones nor zeros, so that exchanged weights and biases show
        for p in (p for n, p in net.named_parameters() if ".norms." in n):
            torch.nn.init.uniform_(p, -1.5, 1.5)
    obs, weights = 2 * torch.randn(16, 4), torch.randn(16, 2)
    loss = scalar_loss(net, obs, weights)
    loss.backward()
    logits, values = net(obs)
    outputs = {"obs": obs, "weights": weights, "logits": logits, "values": values}
    outputs["loss"] = loss.reshape(1)
    save(f"mlp_{name}", {**outputs, **parameters(net), **gradients(net)})


def record_distribution(name, make, p, q, actions):
    """Record numbers, and gradients of their weighted sum with respect to the inputs `p`, `q`."""
    p, q = p.requires_grad_(), q.requires_grad_()
    dist, other = make(p), make(q)
    logp, entropy = dist.log_prob(actions), dist.entropy()
    kl = kl_divergence(dist, other)
    weights = torch.randn(3, len(p))
    (torch.stack([logp, entropy, kl]) * weights).sum().backward()
    figures = {"logp": logp, "entropy": entropy, "kl": kl, "weights": weights}
    save(name, {"p": p, "q": q, "actions": actions, **figures, "grad.p": p.grad, "grad.q": q.grad})


def record_categorical():
    torch.manual_seed(2)
    p, q = 3 * torch.randn(32, 5), 3 * torch.randn(32, 5)
    actions = torch.randint(5, (32,))
    make = lambda logits: Categorical(logits=logits)  # noqa: E731
    record_distribution("categorical", make, p, q, actions)
    # In double precision, because torch's own figures for large logits are rounded: it normalises
    # by subtracting log-sum-exp, which leaves 4 digits of five logits of -1e4. Without KL, which
    # torch returns infinity for once a probability of q underflows; rekindle's is finite.
    least = torch.finfo(torch.float32).min
    logits = torch.tensor([
        [1e4, 0.0, -1e4, 1.0, 2.0],
        [-1e4, -1e4, -1e4, -1e4, -1e4],
        [1e8, 1e8, 1e8, 0.0, 0.0],
        [least, 1.0, least, 2.0, 3.0],
        [80.0, -80.0, 88.0, -88.0, 0.0],
        [1e-30, -1e-30, 0.0, 1e-38, -1e-38],
    ])  # fmt: skip
    actions = torch.tensor([0, 3, 3, 4, 1, 2])
    dist = make(logits.double())
    figures = {"logp": dist.log_prob(actions).float(), "entropy": dist.entropy().float()}
    save("categorical_extreme", {"p": logits, "actions": actions, **figures})


def record_normal():
    def make(inputs):
        loc, log_std = inputs.chunk(2, dim=1)
        return Independent(Normal(loc, log_std.exp()), 1)

    torch.manual_seed(3)
    p, q = torch.randn(32, 6), torch.randn(32, 6)
    record_distribution("normal", make, p, q, torch.randn(32, 3))
    p, q = torch.randn(6, 6), torch.randn(6, 6)
    with torch.no_grad():
        p[:, 3:] = torch.tensor([-10.0, -5.0, 0.0, 3.0, 8.0, 12.0]).unsqueeze(1)
        q[:, 3:] = torch.tensor([-8.0, -6.0, -4.0, 5.0, 9.0, 10.0]).unsqueeze(1)
    record_distribution("normal_extreme", make, p, q, 10 * torch.randn(6, 3))


def ppo_terms(net, batch):
    """Return the terms of PPO's loss as RLlib defines them, each a mean over the rows."""
    logits, values = net(batch["obs"])
    dist, old = Categorical(logits=logits), Categorical(logits=batch["action_dist_inputs"])
    ratio = torch.exp(dist.log_prob(batch["actions"]) - batch["action_logp"])
    clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
    surrogate = torch.min(batch["advantages"] * ratio, batch["advantages"] * clipped)
    squared = (values - batch["value_targets"]).square()
    return {
        "policy_loss": -surrogate.mean(),
        "vf_loss": squared.clamp(0, VF_CLIP).mean(),
        "vf_loss_unclipped": squared.mean(),
        "entropy": dist.entropy().mean(),
        "mean_kl_loss": kl_divergence(old, dist).mean(),
    }


def ppo_total(terms):
    total = terms["policy_loss"] + VF_COEFF * terms["vf_loss"]
    return total - ENTROPY_COEFF * terms["entropy"] + KL_COEFF * terms["mean_kl_loss"]


def ppo_batch(net, rows=64):
    """Return rows on both sides of every clip: the ratio's two, and the value error's."""
    obs = torch.randn(rows, 4)
    old = net(obs)[0].detach() + torch.randn(rows, 2)
    actions = torch.randint(2, (rows,))
    return {
        "obs": obs,
        "actions": actions,
        "action_dist_inputs": old,
        "action_logp": Categorical(logits=old).log_prob(actions),
        "advantages": torch.randn(rows),
        "value_targets": 4 * torch.randn(rows),
    }


def record_ppo():
    torch.manual_seed(4)
    net = ActorCritic(4, [16, 16], 2)
    batch = ppo_batch(net)
    terms = ppo_terms(net, batch)
    total = ppo_total(terms)
    total.backward()
    figures = {name: term.reshape(1) for name, term in {**terms, "total": total}.items()}
    about = dict(clip_param=CLIP, vf_clip_param=VF_CLIP, vf_loss_coeff=VF_COEFF)
    about.update(entropy_coeff=ENTROPY_COEFF, kl_coeff=KL_COEFF)
    save("ppo", {**batch, **figures, **parameters(net), **gradients(net)}, **about)


def record_adam():
    torch.manual_seed(5)
    net = ActorCritic(4, [16, 16], 2)
    obs, weights = torch.randn(16, 4), torch.randn(16, 2)
    tensors = {"obs": obs, "weights": weights, **parameters(net)}
    tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = scalar_loss(net, obs, weights)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    after = prefixed("after", net.state_dict().items())
    save("adam", {**tensors, **after, "losses": torch.stack(losses)}, lr=1e-3, eps=1e-8, steps=10)


def main():
    torch.set_num_threads(1)
    DATA.mkdir(parents=True, exist_ok=True)
    nets = {
        "tanh": (torch.tanh, False),
        "relu": (torch.relu, False),
        "layernorm": (torch.tanh, True),
    }
    for name, (act, layernorm) in nets.items():
        record_mlp(f"{name}_shared", act, layernorm, share=True)
        record_mlp(f"{name}_separate", act, layernorm, share=False)
    record_categorical()
    record_normal()
    record_ppo()
    record_adam()


if __name__ == "__main__":
    main()
