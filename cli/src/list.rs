//! `rekindle list`.

use rekindle::algorithms::registered_algorithms;
use rekindle::core::device::DeviceSpec;
use rekindle::env::{multi_agent_spec, registered_ids, registered_multi_agent_ids, spec};
use rekindle::env_runner::connectors::connector_names;

use crate::args::{ListArgs, Listed};
use crate::configs::{CONFIGS, about};
use crate::error::Result;
use crate::output::say;

/// A section of the list: its heading, and a function that returns its lines.
type Section = (Listed, &'static str, fn() -> Vec<String>);

pub(crate) fn run(args: &ListArgs) -> Result<()> {
    let sections: [Section; 5] = [
        (Listed::Algorithms, "algorithms", registered_algorithms),
        (Listed::Environments, "environments", environments),
        (Listed::Connectors, "connectors", connector_names),
        (Listed::Devices, "devices", devices),
        (Listed::Configs, "configs", configs),
    ];
    for (listed, heading, lines) in sections {
        match args.what {
            Some(what) if what == listed => {
                lines().iter().try_for_each(|line| say!("{line}"))?;
            }
            Some(_) => {}
            None => {
                say!("{heading}")?;
                lines().iter().try_for_each(|line| say!("  {line}"))?;
            }
        }
    }
    Ok(())
}

fn environments() -> Vec<String> {
    let single = registered_ids().into_iter().filter_map(|id| {
        let spec = spec(&id).ok()?;
        let mut line = format!("{id:<28}");
        if let Some(steps) = spec.max_episode_steps() {
            line += &format!(" at most {steps} steps");
        }
        if let Some(threshold) = spec.reward_threshold() {
            line += &format!(", solved at {threshold}");
        }
        Some(line.trim_end().to_owned())
    });
    let multi = registered_multi_agent_ids().into_iter().filter_map(|id| {
        let limit = multi_agent_spec(&id).ok()?.max_episode_steps();
        let limit = limit.map_or(String::new(), |steps| format!(", at most {steps} steps"));
        Some(format!("{id:<28} several agents{limit}"))
    });
    single.chain(multi).collect()
}

fn devices() -> Vec<String> {
    ["cpu", "wgpu", "cuda"]
        .into_iter()
        .filter_map(|name| {
            let spec: DeviceSpec = name.parse().ok()?;
            Some(match spec.open() {
                Ok(_) => format!("{name:<6} can be used"),
                Err(error) => format!("{name:<6} {error}"),
            })
        })
        .collect()
}

fn configs() -> Vec<String> {
    CONFIGS.iter().map(|(name, text)| format!("{name:<28} {}", about(text))).collect()
}
