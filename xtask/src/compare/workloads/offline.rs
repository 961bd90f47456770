//! Workloads of learning from recordings.

use super::super::peer::{Entry, Peer, TWO_THREADS};
use super::super::workload::{Metric, Workload};
use super::{case, ratios};

const OFFLINE_RLLIB: Entry = Entry::new(Peer::Rllib, "offline_rllib.py");

/// Imitation of recorded actions.
pub(super) fn cloning() -> Workload {
    let cases = ["bc", "marwil"];
    let goals = ratios(&[(Peer::Rllib, 30.0)]);
    Workload {
        name: "offline-cloning",
        title: "BC and MARWIL from recordings",
        description: "20 000 random steps of CartPole-v1 in Parquet files, each recorded by the system that reads them; \
                      64 × 64 tanh networks, batches of 2000 rows, 100 updates per training step.",
        metric: Metric::Rows,
        program: "offline",
        args: &[],
        seconds: [10.0, 2.0],
        cases: cases.map(|key| case(format!("offline-{key}"), key, &goals)).to_vec(),
        peers: vec![OFFLINE_RLLIB],
    }
}

/// From files to batches.
pub(super) fn reading() -> Workload {
    Workload {
        name: "offline-reading",
        title: "Reading recordings",
        description: "The same files, from their bytes to batches of 2000 rows for the learner, without updates.",
        cases: vec![case("offline-read", "read", &ratios(&[(Peer::Rllib, 5.0)]))],
        ..cloning()
    }
}

/// Algorithms that exceed their data.
pub(super) fn wide() -> Workload {
    let goals = ratios(&[(Peer::D3rlpy, 4.0)]);
    let cases = ["iql", "cql"];
    Workload {
        name: "offline-256",
        title: "IQL and CQL from recordings, 256 wide",
        description: "20 000 random steps of Pendulum-v1, 256 × 256 relu networks, minibatches of 256, drawn from the \
                      data; defaults otherwise, but for CQL's first updates, which imitate here and not in d3rlpy.",
        cases: cases.map(|key| case(format!("offline-{key}"), key, &goals)).to_vec(),
        peers: vec![Entry::new(Peer::D3rlpy, "offline_d3rlpy.py").settings(TWO_THREADS)],
        ..cloning()
    }
}
