//! Replay buffers: rekindle's side of `replay` and `replay-prioritized` in `cargo xtask compare`.

use rekindle::learner::replay::{PrioritizedConfig, ROWS, TransitionSpec};
use rekindle::prelude::*;
use rekindle_benches::replay::{CAPACITY, EPISODE, MINIBATCH, episode, full};
use rekindle_benches::{Outcome, rate, report};

/// Stores and draws steps of CartPole-v1 and prints rows per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases: `push` (200 steps of one environment), `uniform` (256 transitions), `prioritized` (256 transitions, and
    /// new priorities for them)
    #[arg(long, value_delimiter = ',', default_value = "push,uniform,prioritized")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: super::Timing,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let spec = TransitionSpec::new(0.99);
    for case in &args.cases {
        let prioritized = (case == "prioritized").then(PrioritizedConfig::default);
        let mut buffer = full(prioritized)?;
        let mut rng = Generator::from_seed(args.timing.seed);
        let steps = episode(CAPACITY as u64)?;
        let value = match case.as_str() {
            "push" => rate(args.timing.seconds, || {
                buffer.push(&steps)?;
                Ok(EPISODE as u64)
            })?,
            "uniform" => rate(args.timing.seconds, || {
                Ok(buffer.sample(MINIBATCH, &spec, 0, &mut rng)?.rows() as u64)
            })?,
            "prioritized" => rate(args.timing.seconds, || {
                let batch = buffer.sample(MINIBATCH, &spec, 0, &mut rng)?;
                let rows = batch.host()?.column(ROWS)?.as_i64()?;
                let rows: Vec<usize> = rows.iter().map(|row| *row as usize).collect();
                let errors: Vec<f32> = rows.iter().map(|row| (row % 97) as f32 / 97.0).collect();
                buffer.set_errors(&rows, &errors);
                Ok(rows.len() as u64)
            })?,
            _ => return Err(format!("invalid case `{case}`; see `--help`").into()),
        };
        report(case, value, None);
    }
    Ok(())
}
