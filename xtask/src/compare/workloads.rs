//! What is compared.

use super::Peer;

/// Work that our program and the peers' do alike.
pub(super) struct Workload {
    /// The name in programs and JSON.
    pub(super) name: &'static str,
    /// The heading of its section.
    pub(super) title: &'static str,
    /// What everybody does, for the reader.
    pub(super) description: &'static str,
    /// Our program; it takes `--workload NAME --steps N` and prints a measurement.
    pub(super) example: &'static str,
    /// Environment steps that are timed.
    pub(super) steps: u64,
    /// The same with `--quick`.
    pub(super) quick_steps: u64,
    /// The ratio to the fastest peer that we want to reach.
    pub(super) goal: f64,
    /// The programs to compare with.
    pub(super) peers: &'static [Variant],
}

/// A peer's program with a number of threads: each peer gets its best one, found by trying.
pub(super) struct Variant {
    pub(super) peer: Peer,
    /// A file of `xtask/peers/`; it takes `--steps N --threads N` and prints a measurement.
    pub(super) script: &'static str,
    pub(super) threads: u32,
}

impl Variant {
    const fn new(peer: Peer, script: &'static str, threads: u32) -> Self {
        Self { peer, script, threads }
    }
}

/// All workloads; a new one is one more entry, and a script for each peer.
pub(super) const WORKLOADS: &[Workload] = &[Workload {
    name: "ppo-cartpole",
    title: "PPO on CartPole-v1",
    description: "8 environments × 128 steps, 4 epochs, minibatches of 256, separate 64 × 64 tanh \
                  networks for policy and value, Adam at 2.5e-4, γ 0.99, λ 0.95, clip 0.2, entropy \
                  0.01, value loss 0.5, gradient norm 0.5; CPU, one process.",
    example: "compare_ppo",
    steps: 102_400,
    quick_steps: 8_192,
    goal: 20.0,
    peers: &[
        Variant::new(Peer::Sb3, "ppo_cartpole_sb3.py", 1),
        Variant::new(Peer::Sb3, "ppo_cartpole_sb3.py", 2),
        Variant::new(Peer::Rllib, "ppo_cartpole_rllib.py", 1),
    ],
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_exists() {
        for variant in WORKLOADS.iter().flat_map(|workload| workload.peers) {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
            assert!(folder.join(variant.script).is_file(), "{}", variant.script);
        }
    }
}
