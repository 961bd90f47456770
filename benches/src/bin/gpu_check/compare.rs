//! The comparison with the CPU, one line per case.

use rekindle::core::panics::caught;
use rekindle_benches::Outcome;
use serde_json::json;

use crate::comparison::{cases, checks, cpu, subject};

/// Computes cases on the CPU and on the device, and prints the differences as lines of JSON.
///
/// Fails if a difference is larger than allowed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to compare
    #[arg(long, default_value = "all")]
    what: What,
    /// This process's part of the cases, for example `0/4` of four processes
    #[arg(long, default_value = "0/1", value_parser = share)]
    share: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    All,
    /// Everything but training steps
    Parts,
    /// Training steps
    Steps,
}

fn share(text: &str) -> Result<(usize, usize), String> {
    let parsed = text.split_once('/').and_then(|(index, count)| {
        let (index, count) = (index.parse().ok()?, count.parse().ok()?);
        (index < count).then_some((index, count))
    });
    parsed.ok_or_else(|| "expected `I/N` with I below N".into())
}

pub(crate) fn run(args: &Args) -> Outcome<bool> {
    let (cpu, subject) = (cpu(), subject());
    let (index, count) = args.share;
    let is_chosen = |name: &str| match args.what {
        What::All => true,
        What::Parts => !name.starts_with("step"),
        What::Steps => name.starts_with("step"),
    };
    let mut passes_all = true;
    let cases = cases().into_iter().filter(|case| is_chosen(&case.name));
    for case in cases.skip(index).step_by(count) {
        let found = caught(|| case.compare(&cpu, &subject));
        let passes = found.as_ref().is_ok_and(|found| found.passes);
        let (name, allowed) = (&case.name, case.tolerance);
        let line = match found {
            Ok(found) => json!({
                "case": name, "passes": passes, "numbers": found.numbers, "forward": found.forward,
                "gradient": found.gradient, "allowed": allowed,
            }),
            Err(message) => json!({"case": name, "passes": passes, "message": message}),
        };
        println!("{line}");
        passes_all &= passes;
    }
    let checks = checks().into_iter().filter(|(name, _)| is_chosen(name));
    for (name, check) in checks.skip(index).step_by(count) {
        let checked = caught(check);
        let passes = checked.is_ok();
        println!("{}", json!({"case": name, "passes": passes, "message": checked.err()}));
        passes_all &= passes;
    }
    Ok(passes_all)
}
