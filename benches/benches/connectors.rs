//! Connector pipelines on the observations of a vector of environments.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::env_runner::connectors::{ConnectorContext, ConnectorPipeline};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, run};

fn pipelines(c: &mut Criterion) -> Outcome {
    let filter = ConnectorConfig::mean_std_filter;
    let stack = || ConnectorConfig::FrameStacking { num_frames: 4 };
    let flatten = || ConnectorConfig::FlattenObservations { keys_to_remove: Vec::new() };
    let pipelines = [
        ("mean_std_filter", "CartPole-v1", vec![filter()]),
        ("frame_stacking", "CartPole-v1", vec![stack()]),
        ("filter_and_stacking", "CartPole-v1", vec![filter(), stack()]),
        ("flatten", "NestedCartPole-v1", vec![flatten()]),
    ];
    for (name, env, configs) in pipelines {
        let mut group = c.benchmark_group(format!("connectors/{name}"));
        for width in [1, 64, 1024] {
            let envs = make_vec(env, width)?;
            let connectors = configs
                .iter()
                .map(|config| config.build(envs.action_space()))
                .collect::<Result<Vec<_>, _>>()?;
            let space = envs.observation_space();
            let mut pipeline = ConnectorPipeline::with(space.clone(), connectors)?;
            let observations = Buffer::zeros(space, width);
            group.throughput(Throughput::Elements(width as u64));
            group.bench_function(BenchmarkId::from_parameter(width), |b| {
                b.iter(|| {
                    pipeline
                        .transform(&observations, ConnectorContext::rows(true))
                        .map(Buffer::rows)
                });
            });
        }
        group.finish();
    }
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("pipelines", pipelines)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
