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
        let threshold = spec.reward_threshold().map(|threshold| format!("solved at {threshold}"));
        Some((id, [at_most(spec.max_episode_steps()), threshold]))
    });
    let multi = registered_multi_agent_ids().into_iter().filter_map(|id| {
        let limit = at_most(multi_agent_spec(&id).ok()?.max_episode_steps());
        Some((id, [Some("several agents".to_owned()), limit]))
    });
    let known: Vec<_> = single.chain(multi).collect();
    let width = known.iter().map(|(id, _)| id.chars().count()).max().unwrap_or_default();
    let line = |(id, facts): (String, [Option<String>; 2])| {
        let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        format!("{id:<width$}  {facts}").trim_end().to_owned()
    };
    known.into_iter().map(line).collect()
}

fn at_most(steps: Option<usize>) -> Option<String> {
    steps.map(|steps| format!("at most {steps} steps"))
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
