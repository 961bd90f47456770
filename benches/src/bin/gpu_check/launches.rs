//! Kernel launches of a minibatch.

use std::collections::BTreeMap;

use rekindle::core::launches::count_launches;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::subject_spec;
use crate::update::{Case, Update};

/// Counts the kernels that a minibatch of PPO launches, and prints a line of JSON per case.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// NETWORK-ROWS of each case, as in `update`
    #[arg(long, value_delimiter = ',', default_value = "mlp-4096,cnn-256")]
    cases: Vec<Case>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = subject_spec().open()?;
    for case in &args.cases {
        let count = |minibatches: usize| -> Outcome<BTreeMap<String, usize>> {
            let mut update = Update::new(*case, minibatches, &device)?;
            update.run()?;
            let (outcome, launches) = count_launches(|| update.run());
            outcome.map(|()| launches)
        };
        // What an update launches once does not count.
        let (one, three) = (count(1)?, count(3)?);
        let mut of_minibatch = BTreeMap::new();
        for (name, count) in three {
            let once = one.get(&name).copied().unwrap_or_default();
            if count > once {
                of_minibatch.insert(name, (count - once) / 2);
            }
        }
        let all: usize = of_minibatch.values().sum();
        let line = json!({"case": case.to_string(), "value": all, "unit": "launches", "kernels": of_minibatch});
        println!("{line}");
    }
    Ok(())
}
