//! The workloads of the comparison and their goals.

mod offline;

use super::peer::{ASYNCHRONOUS, Entry, LEAN, PROCESSES, Peer, RUNNERS, TWO_THREADS, VECTORS};
use super::workload::{Case, Goal, Metric, Workload};

fn case(name: impl Into<String>, key: impl Into<String>, goals: &[(Peer, Goal)]) -> Case {
    Case { name: name.into(), key: key.into(), goals: goals.to_vec(), quick: true }
}

const PPO_SB3: Entry = Entry::new(Peer::Sb3, "ppo_sb3.py");
const PPO_RLLIB: Entry = Entry::new(Peer::Rllib, "ppo_rllib.py").settings(RUNNERS);
const PPO_SBX: Entry =
    Entry::new(Peer::Sbx, "ppo_sb3.py").args(&["--system", "sbx"]).settings(TWO_THREADS);
const PPO_THRUST: Entry = Entry::new(Peer::Thrust, "thrust_rl");

/// Returns all workloads. A new one needs an entry here, a program per peer, and one in `benches/`.
pub(super) fn workloads() -> Vec<Workload> {
    vec![
        ppo(),
        wide_ppo(),
        a2c(),
        asynchronous(),
        dqn(),
        pqn(),
        small_sac(),
        wide_critics(),
        replay(),
        prioritized_replay(),
        offline::cloning(),
        offline::reading(),
        offline::wide(),
        acting(),
        update(),
        mlp(
            "mlp-forward",
            "Forward passes of MLPs",
            MLP_FORWARD,
            &[1, 8, 64, 128, 512, 1024, 4096],
        ),
        mlp("mlp-train", "Training steps of MLPs", MLP_TRAIN, &[64, 128, 512, 4096]),
        network("cnn-update", "Updates of convolutional networks", CNN_UPDATE, &CNN_UPDATE_CASES),
        network("cnn-acting", "Acting on images", CNN_ACTING, &CNN_ACTING_CASES),
        network("recurrent-update", "Updates of LSTM and GRU", RECURRENT_UPDATE, &RECURRENT_CASES),
        network(
            "recurrent-acting",
            "Acting with LSTM and GRU",
            RECURRENT_ACTING,
            &RECURRENT_ACTING_CASES,
        ),
        python_environments(),
        python_puffer(),
        python_bridge(),
        python_ppo(),
        memory(),
        scaling(),
    ]
}

fn ppo() -> Workload {
    let goals = [(Peer::Sb3, 20.0), (Peer::Rllib, 60.0), (Peer::Thrust, 10.0)];
    let goals = goals.map(|(peer, ratio)| (peer, Goal::Ratio(ratio)));
    Workload {
        name: "ppo-cartpole",
        title: "PPO on CartPole-v1",
        description: "8 environments × 128 steps, 4 epochs, minibatches of 256, separate 64 × 64 tanh \
                      networks for policy and value (thrust-rl: one shared network), Adam at 2.5e-4, \
                      γ 0.99, λ 0.95, clip 0.2, entropy 0.01, value loss 0.5, gradient norm 0.5; CPU. \
                      rlevo 0.6 is not compared: its PPO supports one environment only.",
        metric: Metric::EnvSteps,
        program: "ppo",
        args: &[],
        seconds: [5.0, 2.0],
        cases: vec![case("ppo-cartpole", "8x128x64", &goals)],
        peers: vec![PPO_SB3, PPO_RLLIB, PPO_SBX, PPO_THRUST],
    }
}

fn wide_ppo() -> Workload {
    let goals = [(Peer::Sb3, Goal::Ratio(10.0))];
    let widest = case("ppo-cartpole-512", "512x128x64", &goals);
    Workload {
        name: "ppo-cartpole-wide",
        title: "PPO on CartPole-v1 with many environments",
        description: "The same with 64 and 512 environments: batches of 8 192 and 65 536 rows, \
                      minibatches of a quarter.",
        seconds: [5.0, 0.0],
        cases: vec![
            case("ppo-cartpole-64", "64x128x64", &goals),
            // One iteration of the peer takes too long for `--quick`.
            Case { quick: false, ..widest },
        ],
        peers: vec![PPO_SB3],
        ..ppo()
    }
}

fn a2c() -> Workload {
    Workload {
        name: "a2c-cartpole",
        title: "A2C on CartPole-v1",
        description: "8 environments × 5 steps and one update of RMSprop, separate 64 × 64 tanh networks \
                      for policy and value: the defaults of Stable-Baselines3.",
        metric: Metric::EnvSteps,
        program: "a2c",
        args: &[],
        seconds: [5.0, 2.0],
        cases: vec![case("a2c-cartpole", "8x5x64", &[(Peer::Sb3, Goal::Ratio(20.0))])],
        peers: vec![Entry::new(Peer::Sb3, "a2c_sb3.py")],
    }
}

fn asynchronous() -> Workload {
    let goals = [(Peer::Rllib, Goal::Ratio(40.0))];
    let cases = ["impala", "appo"].map(|key| case(format!("{key}-cartpole"), key, &goals));
    Workload {
        name: "asynchronous-cartpole",
        title: "IMPALA and APPO on CartPole-v1",
        description: "2 env runners of 5 environments, fragments of 50 steps, batches of 500 rows, one \
                      64 × 64 tanh network with two heads, free-running; RLlib's defaults otherwise. \
                      Environment steps that were sampled count.",
        metric: Metric::EnvSteps,
        program: "asynchronous",
        args: &[],
        seconds: [5.0, 2.0],
        cases: cases.to_vec(),
        peers: vec![Entry::new(Peer::Rllib, "asynchronous_rllib.py").settings(ASYNCHRONOUS)],
    }
}

const OFF_POLICY_SB3: Entry = Entry::new(Peer::Sb3, "off_policy_sb3.py");
const OFF_POLICY_SBX: Entry =
    Entry::new(Peer::Sbx, "off_policy_sb3.py").args(&["--system", "sbx"]).settings(TWO_THREADS);
const MODURL: Entry = Entry::new(Peer::Modurl, "modurl");

fn ratios(goals: &[(Peer, f64)]) -> Vec<(Peer, Goal)> {
    goals.iter().map(|(peer, ratio)| (*peer, Goal::Ratio(*ratio))).collect()
}

fn dqn() -> Workload {
    let goals = [(Peer::Sb3, 10.0), (Peer::Cleanrl, 6.0), (Peer::Modurl, 1.5), (Peer::Rllib, 30.0)];
    Workload {
        name: "dqn-cartpole",
        title: "DQN on CartPole-v1",
        description: "One environment, a buffer of 100 000 steps, 64 × 64 relu networks, minibatches of 64, one \
                      update every 4 steps; Stable-Baselines3's defaults otherwise.",
        metric: Metric::EnvSteps,
        program: "off-policy",
        args: &[],
        seconds: [5.0, 2.0],
        cases: vec![case("dqn-cartpole", "dqn", &ratios(&goals))],
        peers: vec![
            OFF_POLICY_SB3,
            Entry::new(Peer::Cleanrl, "q_learning_cleanrl.py"),
            Entry::new(Peer::Rllib, "dqn_rllib.py"),
            MODURL,
        ],
    }
}

fn pqn() -> Workload {
    Workload {
        name: "pqn-cartpole",
        title: "PQN on CartPole-v1",
        description: "4 environments × 128 steps, 64 × 64 relu networks with layer normalization, λ 0.65, 4 epochs \
                      of minibatches of 128 with RAdam: CleanRL's settings but for the widths.",
        cases: vec![case("pqn-cartpole", "pqn", &ratios(&[(Peer::Cleanrl, 12.0)]))],
        peers: vec![Entry::new(Peer::Cleanrl, "q_learning_cleanrl.py")],
        ..dqn()
    }
}

fn small_sac() -> Workload {
    let goals = [(Peer::Sb3, 8.0), (Peer::Modurl, 2.0)];
    Workload {
        name: "sac-pendulum-64",
        title: "SAC on Pendulum-v1",
        description: "One environment, a buffer of 100 000 steps, 64 × 64 relu networks, minibatches of 64, one \
                      update every step; Stable-Baselines3's defaults otherwise.",
        cases: vec![case("sac-pendulum-64", "sac-64", &ratios(&goals))],
        peers: vec![OFF_POLICY_SB3, MODURL],
        ..dqn()
    }
}

fn wide_critics() -> Workload {
    let goals = ratios(&[(Peer::Sb3, 2.5), (Peer::Sbx, 1.2)]);
    let cases = [("sac-pendulum-256", "sac-256"), ("td3-pendulum-256", "td3-256")];
    Workload {
        name: "off-policy-256",
        title: "SAC and TD3 on Pendulum-v1, 256 wide",
        description: "The same with 256 × 256 relu networks and minibatches of 256.",
        cases: cases.map(|(name, key)| case(name, key, &goals)).to_vec(),
        peers: vec![OFF_POLICY_SB3, OFF_POLICY_SBX],
        ..dqn()
    }
}

fn replay() -> Workload {
    let cases = [("replay-push", "push", 25.0), ("replay-uniform", "uniform", 7.0)];
    let cases = cases.map(|(name, key, ratio)| case(name, key, &ratios(&[(Peer::Sb3, ratio)])));
    Workload {
        name: "replay",
        title: "Replay of a million steps",
        description: "A full buffer of steps of CartPole-v1. replay-push: storing 200 steps of one environment, which \
                      Stable-Baselines3 adds one by one. replay-uniform: drawing 256 transitions with equal \
                      probabilities.",
        metric: Metric::Rows,
        program: "replay",
        seconds: [2.0, 0.5],
        cases: cases.to_vec(),
        peers: vec![Entry::new(Peer::Sb3, "replay_sb3.py")],
        ..dqn()
    }
}

fn prioritized_replay() -> Workload {
    let goals = ratios(&[(Peer::Torchrl, 3.0)]);
    Workload {
        name: "replay-prioritized",
        title: "Prioritized replay of a million steps",
        description: "The same with priorities: drawing 256 transitions, and setting their priorities to new errors.",
        cases: vec![case("replay-prioritized", "prioritized", &goals)],
        peers: vec![Entry::new(Peer::Torchrl, "replay_torchrl.py")],
        ..replay()
    }
}

const ENVIRONMENTS: &str = "environments.py";

fn vectors_of_python() -> Vec<Entry> {
    let entry = |peer, args| Entry::new(peer, ENVIRONMENTS).args(args).settings(PROCESSES);
    vec![
        entry(Peer::GymnasiumAsync, &["--system", "async"]),
        entry(Peer::GymnasiumSync, &["--system", "sync"]),
        entry(Peer::Sb3, &["--system", "sb3"]),
        entry(Peer::BareLoops, &["--system", "loops"]),
    ]
}

fn python_environments() -> Workload {
    let goals = |asynchronous, loops| {
        ratios(&[(Peer::GymnasiumAsync, asynchronous), (Peer::BareLoops, loops)])
    };
    Workload {
        name: "python-environments",
        title: "Environments in Python",
        description: "Sampling alone, with random actions: 16 environments of Gymnasium, 8 in each of 2 workers; \
                      AsyncVectorEnv and SubprocVecEnv have a process for each. Pong is preprocessed, and 4 frames \
                      are stacked. Bare loops have no library around the environments.",
        metric: Metric::EnvSteps,
        program: "python-environments",
        args: &[],
        seconds: [5.0, 2.0],
        cases: vec![
            case("python-cartpole", "cartpole", &goals(8.0, 0.7)),
            case("python-half-cheetah", "half-cheetah", &goals(1.0, 0.95)),
            case("python-pong", "pong", &goals(1.0, 0.9)),
        ],
        peers: vectors_of_python(),
    }
}

fn python_puffer() -> Workload {
    Workload {
        name: "python-puffer",
        title: "CartPole in Python beside PufferLib",
        description: "The same. PufferLib 1.0.1, the newest release that needs no download when it is built, steps \
                      Gymnasium 0.29.1.",
        cases: vec![case("python-cartpole-puffer", "cartpole", &ratios(&[(Peer::Puffer, 1.0)]))],
        peers: vec![
            Entry::new(Peer::Puffer, ENVIRONMENTS)
                .args(&["--system", "puffer"])
                .settings(PROCESSES),
        ],
        ..python_environments()
    }
}

fn python_bridge() -> Workload {
    Workload {
        name: "python-bridge",
        title: "Cost of a vector of Python environments",
        description: "The same with environments that do nothing, so that a step of the vector costs what the hand-over \
                      and Python's calls cost.",
        metric: Metric::VectorStepCost,
        args: &["--vector-steps"],
        cases: vec![case("python-nothing", "nothing", &ratios(&[(Peer::GymnasiumAsync, 8.0)]))],
        ..python_environments()
    }
}

fn python_ppo() -> Workload {
    Workload {
        name: "python-ppo",
        title: "PPO in Python environments",
        description: "HalfCheetah-v5 and Pong with CleanRL's settings, but with 8 environments each: 8 × 256 steps, \
                      10 epochs of minibatches of 64, 64 × 64 tanh networks; 8 × 128 steps, 4 epochs of minibatches \
                      of 256, one convolutional network.",
        metric: Metric::EnvSteps,
        program: "python-ppo",
        args: &[],
        seconds: [15.0, 5.0],
        cases: vec![
            case("python-ppo-half-cheetah", "half-cheetah", &ratios(&[(Peer::Sb3, 3.0)])),
            case("python-ppo-pong", "pong", &ratios(&[(Peer::Sb3, 1.2)])),
        ],
        peers: vec![Entry::new(Peer::Sb3, "python_ppo_sb3.py").settings(VECTORS)],
    }
}

fn acting() -> Workload {
    let widths = [(1, 50.0), (8, 50.0), (64, 100.0), (1024, 100.0)];
    let cases = widths.map(|(envs, ratio)| {
        let goals = [(Peer::Rllib, Goal::Ratio(ratio))];
        case(format!("acting-{envs}"), envs.to_string(), &goals)
    });
    Workload {
        name: "acting",
        title: "Acting",
        description: "Sampling alone: CartPole-v1 in vectors of 1, 8, 64 and 1024 environments, a \
                      64 × 64 tanh policy with exploration, one env runner in the process.",
        metric: Metric::EnvSteps,
        program: "acting",
        args: &[],
        seconds: [2.0, 0.5],
        cases: cases.to_vec(),
        peers: vec![Entry::new(Peer::Rllib, "acting_rllib.py")],
    }
}

fn update() -> Workload {
    Workload {
        name: "ppo-update",
        title: "PPO's update alone",
        description: "A recorded batch of 4000 rows, 10 epochs, minibatches of 128, separate \
                      256 × 256 tanh networks (RLlib's defaults), including advantages, shuffling and \
                      Adam. A row counts once per epoch.",
        metric: Metric::Rows,
        program: "update",
        args: &[],
        seconds: [5.0, 0.0],
        cases: vec![case("ppo-update", "256", &[(Peer::Rllib, Goal::Ratio(4.0))])],
        peers: vec![Entry::new(Peer::Rllib, "update_rllib.py")],
    }
}

const MLP_FORWARD: (&str, &[&str]) = (
    "MLPs 4 → H → H → 2 with tanh, H 64 and 256, beside eager PyTorch in inference mode. The host reads \
     the outputs. Cases are named H-batch.",
    &["--what", "forward"],
);
const MLP_TRAIN: (&str, &[&str]) = (
    "The same MLPs: forward pass, mean square, backward pass and a step of Adam, beside eager \
     PyTorch. Cases are named H-batch.",
    &["--what", "train"],
);

fn mlp(
    name: &'static str,
    title: &'static str,
    (description, args): (&'static str, &'static [&'static str]),
    batches: &[usize],
) -> Workload {
    let sizes = [64, 256].into_iter().flat_map(|hidden| batches.iter().map(move |b| (hidden, *b)));
    let cases = sizes.map(|(hidden, batch)| {
        let goal = Goal::Ratio(if batch <= 128 { 3.0 } else { 1.5 });
        let goals = [(Peer::Torch, goal)];
        case(format!("{name}-{hidden}-{batch}"), format!("{hidden}x{batch}"), &goals)
    });
    Workload {
        name,
        title,
        description,
        metric: Metric::Rows,
        program: "mlp",
        args,
        seconds: [1.0, 0.1],
        cases: cases.collect(),
        peers: vec![Entry::new(Peer::Torch, "mlp_torch.py")],
    }
}

const CNN_UPDATE: (&str, &[&str]) = (
    "PPO's update without advantages: 8 minibatches of bytes in random order, loss, clipping of the gradient's norm \
     and Adam, beside eager PyTorch. nature: 84 × 84 × 4, convolutions of 32 filters 8 × 8, 64 of 4 × 4 and 64 of \
     3 × 3, and a hidden layer of 512 for each of policy and value function. small: 10 × 10 × 4, 16 and 32 filters \
     3 × 3, hidden layers of 128. Cases are named network-minibatch.",
    &["--what", "update"],
);
const CNN_UPDATE_CASES: [(&str, f64); 4] =
    [("nature-32", 1.8), ("nature-256", 1.1), ("small-32", 3.0), ("small-256", 3.0)];
const CNN_ACTING: (&str, &[&str]) = (
    "Forward passes of the same policies, beside eager PyTorch in inference mode. The host writes the bytes and reads \
     the logits. Cases are named network-environments.",
    &["--what", "acting"],
);
const CNN_ACTING_CASES: [(&str, f64); 6] = [
    ("nature-1", 2.0),
    ("nature-8", 2.0),
    ("nature-64", 2.0),
    ("small-1", 3.0),
    ("small-8", 3.0),
    ("small-64", 3.0),
];
const RECURRENT_UPDATE: (&str, &[&str]) = (
    "PPO's update as above, of 16 inputs, a tanh layer and an LSTM or GRU of the same width, shared by policy and value \
     function, beside eager PyTorch. Minibatches of 32 sequences of 20 steps. Cases are named layer-rows.",
    &["--what", "update"],
);
const RECURRENT_CASES: [(&str, f64); 4] =
    [("lstm64-640", 2.0), ("lstm256-640", 2.0), ("gru64-640", 2.0), ("gru256-640", 2.0)];
const RECURRENT_ACTING: (&str, &[&str]) = (
    "Forward passes of the same policies and their states, beside eager PyTorch in inference mode. Cases are named \
     layer-environments.",
    &["--what", "acting"],
);
const RECURRENT_ACTING_CASES: [(&str, f64); 8] = [
    ("lstm64-1", 5.0),
    ("lstm64-8", 5.0),
    ("lstm64-64", 5.0),
    ("lstm256-1", 5.0),
    ("lstm256-8", 5.0),
    ("lstm256-64", 5.0),
    ("gru64-8", 5.0),
    ("gru256-8", 5.0),
];

fn network(
    name: &'static str,
    title: &'static str,
    (description, args): (&'static str, &'static [&'static str]),
    cases: &[(&str, f64)],
) -> Workload {
    let cases = cases.iter().map(|&(key, ratio)| {
        case(format!("{name}-{key}"), key, &[(Peer::Torch, Goal::Ratio(ratio))])
    });
    Workload {
        name,
        title,
        description,
        metric: Metric::Rows,
        program: "network",
        args,
        seconds: [2.0, 0.3],
        cases: cases.collect(),
        peers: vec![Entry::new(Peer::Torch, "network_torch.py").settings(TWO_THREADS)],
    }
}

fn memory() -> Workload {
    let peers = [PPO_SB3, PPO_RLLIB, PPO_SBX, PPO_THRUST];
    let goals = peers.map(|entry| (entry.peer, Goal::AtMost(50.0)));
    Workload {
        name: "memory",
        title: "Memory of PPO on CartPole-v1",
        description: "Peak resident memory of the program of the first workload (for RLlib, of the \
                      driver process only).",
        metric: Metric::Memory,
        // Long enough for several readings of the memory after the first iteration.
        seconds: [3.0, 1.0],
        cases: vec![case("memory", "8x128x64", &goals)],
        peers: peers.map(|entry| entry.settings(LEAN)).to_vec(),
        ..ppo()
    }
}

/// Sizes that grow one at a time, from 8 environments × 128 steps and hidden layers of width 64.
pub(super) const SCALING: [(&str, [[usize; 3]; 3]); 3] = [
    ("environments", [[8, 128, 64], [64, 128, 64], [512, 128, 64]]),
    ("width of hidden layers", [[8, 128, 64], [8, 128, 128], [8, 128, 256]]),
    ("rows of a batch", [[8, 128, 64], [8, 512, 64], [8, 2048, 64]]),
];

fn scaling() -> Workload {
    let mut cases: Vec<Case> = Vec::new();
    for sizes in SCALING.iter().flat_map(|(_, cases)| cases) {
        let name = scaling_case(*sizes);
        if cases.iter().all(|case| case.name != name) {
            let [envs, steps, hidden] = sizes;
            let key = format!("{envs}x{steps}x{hidden}");
            cases.push(Case { quick: false, ..case(name, key, &[]) });
        }
    }
    Workload {
        name: "scaling",
        title: "Scaling",
        description: "Cost of an environment step in training for growing numbers of environments, \
                      widths of the hidden layers and batches. Cases are named \
                      environments-steps-width, with steps per environment; minibatches are a quarter \
                      of the batch, with four epochs.",
        metric: Metric::StepCost,
        seconds: [2.0, 0.0],
        cases,
        peers: vec![PPO_SB3],
        ..ppo()
    }
}

/// The name of a case of `scaling`.
pub(super) fn scaling_case([envs, steps, hidden]: [usize; 3]) -> String {
    format!("scaling-{envs}-{steps}-{hidden}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::python::peer_programs;

    #[test]
    fn every_program_exists() {
        for entry in workloads().iter().flat_map(|workload| &workload.peers) {
            assert!(peer_programs().join(entry.program).exists(), "{}", entry.program);
            if let Some(file) = entry.peer.requirements() {
                assert!(peer_programs().join(file).is_file(), "{file}");
            }
        }
    }

    #[test]
    fn names_of_cases_are_unique_and_keys_too_within_a_workload() {
        let workloads = workloads();
        let names: Vec<_> = workloads.iter().flat_map(|w| &w.cases).map(|c| &c.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for workload in &workloads {
            let keys: BTreeSet<_> = workload.cases.iter().map(|case| &case.key).collect();
            assert_eq!(keys.len(), workload.cases.len(), "{}", workload.name);
        }
    }

    #[test]
    fn goals_are_of_peers_that_take_part() {
        for workload in workloads() {
            for (peer, _) in workload.cases.iter().flat_map(|case| &case.goals) {
                assert!(workload.peers.iter().any(|entry| entry.peer == *peer), "{peer:?}");
            }
        }
    }

    #[test]
    fn cases_are_selected_by_the_name_of_their_workload_or_their_own() {
        let acting = acting();
        let names = |asked: &[&str], quick| {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            acting.select(&asked, quick).len()
        };
        assert_eq!((names(&[], true), names(&["acting"], true)), (4, 4));
        assert_eq!((names(&["acting-8", "memory"], false), names(&["memory"], false)), (1, 0));
        assert_eq!((scaling().select(&[], true).len(), scaling().select(&[], false).len()), (0, 7));
    }
}
