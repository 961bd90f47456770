//! `rekindle inspect`.

use std::path::Path;

use rekindle::algorithms::read_last_result;
use rekindle::checkpoint::{self, State};
use rekindle::env::Space;
use serde_json::Value;

use crate::args::InspectArgs;
use crate::error::Result;
use crate::output::say;
use crate::run_path::{CONFIG, checkpoint_at, is_run, manifest};

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    if is_run(&args.path) {
        describe_run(&args.path)?;
    }
    let path = checkpoint_at(&args.path, false)?;
    let manifest = manifest(&path)?;
    // Reading checks every digest.
    let state = checkpoint::read(&path)?;
    say!("checkpoint   {}", path.display())?;
    if let Some(name) = state.data["algorithm"].as_str() {
        say!("algorithm    {}", state.data["code"]["name"].as_str().unwrap_or(name))?;
        say!("environment  {}", text(&state.data["config"]["environment"]["env"]))?;
        say!("seed         {}", state.data["config"]["debugging"]["seed"])?;
        say!("iteration    {}", state.data["iteration"])?;
        say!("env steps    {}", state.data["env_steps"])?;
    }
    say!("written by   rekindle {}", text(&manifest["library_version"]))?;
    say!("format       {} {}", text(&manifest["format"]), manifest["format_version"])?;
    say!("sha256       {}", text(&manifest["sha256"]))?;
    say!("")?;
    print_tree(".", &state, 0, args.tensors)
}

fn describe_run(path: &Path) -> Result<()> {
    let last = read_last_result(path).unwrap_or_default();
    say!("run          {}", path.display())?;
    say!("settings     {}", path.join(CONFIG).display())?;
    if let Some(mean) = last.get("env_runners/episode_return_mean") {
        say!("return       {mean:.2} (mean of the last training episodes)")?;
    }
    if let Some(seconds) = last.get("time_total_s") {
        say!("time         {seconds:.1} s")?;
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// Prints a component with the number of its parameters, and its parts below it.
fn print_tree(name: &str, state: &State, depth: usize, tensors: bool) -> Result<()> {
    let indent = "  ".repeat(depth);
    let (count, elements) = count(state);
    let mut line = format!("{indent}{name}");
    if count > 0 {
        line = format!("{line:<40} {count:>5} tensors {elements:>12} elements");
    }
    say!("{line}")?;
    for field in ["observation_space", "action_space"] {
        if let Some(space) = state.data.get(field).filter(|space| !space.is_null()) {
            // Spaces are printed in Gymnasium's notation.
            let text = serde_json::from_value::<Space>(space.clone())
                .map_or_else(|_| space.to_string(), |space| space.to_string());
            say!("{indent}  {field}: {text}")?;
        }
    }
    if tensors {
        for (name, array) in &state.tensors {
            say!("{indent}  {name}: {} {:?}", array.data().dtype(), array.shape())?;
        }
    }
    for (name, part) in &state.components {
        print_tree(name, part, depth + 1, tensors)?;
    }
    Ok(())
}

/// Returns the number of tensors and of their elements, with those of all parts.
fn count(state: &State) -> (usize, usize) {
    let own = state.tensors.values().map(|array| array.shape().iter().product::<usize>());
    let own = own.fold((0, 0), |(count, sum), elements| (count + 1, sum + elements));
    state.components.values().map(count).fold(own, |a, b| (a.0 + b.0, a.1 + b.1))
}
