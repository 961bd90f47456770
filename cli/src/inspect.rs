//! `rekindle inspect`.

use std::fs;
use std::path::Path;

use rekindle::checkpoint::{self, State};
use rekindle::env::Space;
use serde_json::Value;

use crate::args::InspectArgs;
use crate::error::{CliError, Result};
use crate::lines::last_result;
use crate::run_path::{CONFIG, checkpoint_at, is_run};

pub(crate) fn run(args: &InspectArgs) -> Result<()> {
    if is_run(&args.path) {
        describe_run(&args.path)?;
    }
    let path = checkpoint_at(&args.path, false)?;
    let manifest = manifest(&path)?;
    // Reading checks every digest.
    let state = checkpoint::read(&path)?;
    println!("checkpoint   {}", path.display());
    if let Some(name) = state.data["algorithm"].as_str() {
        println!("algorithm    {}", state.data["code"]["name"].as_str().unwrap_or(name));
        println!("environment  {}", text(&state.data["config"]["environment"]["env"]));
        println!("seed         {}", state.data["config"]["debugging"]["seed"]);
        println!("iteration    {}", state.data["iteration"]);
        println!("env steps    {}", state.data["env_steps"]);
    }
    println!("written by   rekindle {}", text(&manifest["library_version"]));
    println!("format       {} {}", text(&manifest["format"]), manifest["format_version"]);
    println!("sha256       {}", text(&manifest["sha256"]));
    println!();
    print_tree(".", &state, 0, args.tensors);
    Ok(())
}

fn describe_run(path: &Path) -> Result<()> {
    let last = last_result(path).ok().flatten().unwrap_or_default();
    println!("run          {}", path.display());
    println!("settings     {}", path.join(CONFIG).display());
    if let Some(mean) = last.get("env_runners/episode_return_mean") {
        println!("return       {mean:.2} (mean of the last training episodes)");
    }
    if let Some(seconds) = last.get("time_total_s") {
        println!("time         {seconds:.1} s");
    }
    Ok(())
}

fn manifest(path: &Path) -> Result<Value> {
    let path = path.join("manifest.json");
    let bytes = fs::read(&path).map_err(CliError::io("read", &path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

/// Prints a component with the number of its parameters, and its parts below it.
fn print_tree(name: &str, state: &State, depth: usize, tensors: bool) {
    let indent = "  ".repeat(depth);
    let (count, elements) = count(state);
    let mut line = format!("{indent}{name}");
    if count > 0 {
        line = format!("{line:<40} {count:>5} tensors {elements:>12} elements");
    }
    println!("{line}");
    for field in ["observation_space", "action_space"] {
        if let Some(space) = state.data.get(field).filter(|space| !space.is_null()) {
            // Spaces are printed in Gymnasium's notation.
            let text = serde_json::from_value::<Space>(space.clone())
                .map_or_else(|_| space.to_string(), |space| space.to_string());
            println!("{indent}  {field}: {text}");
        }
    }
    if tensors {
        for (name, array) in &state.tensors {
            println!("{indent}  {name}: {} {:?}", array.data().dtype(), array.shape());
        }
    }
    for (name, part) in &state.components {
        print_tree(name, part, depth + 1, tensors);
    }
}

/// Returns the number of tensors and of their elements, with those of all parts.
fn count(state: &State) -> (usize, usize) {
    let own = state.tensors.values().map(|array| array.shape().iter().product::<usize>());
    let own = own.fold((0, 0), |(count, sum), elements| (count + 1, sum + elements));
    state.components.values().map(count).fold(own, |a, b| (a.0 + b.0, a.1 + b.1))
}
