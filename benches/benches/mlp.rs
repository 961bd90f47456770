//! Forward passes of MLPs 4 → H → H → 2, by width, activation and batch.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]

use burn::prelude::*;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rekindle::catalog::{Activation, ModelBuilder};
use rekindle::core::rng::{Purpose, stream};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, run};

fn forward(c: &mut Criterion) -> Outcome {
    let device = DeviceSpec::Cpu.open()?;
    for hidden in [64, 256] {
        for (name, activation) in [("tanh", Activation::Tanh), ("relu", Activation::Relu)] {
            let config = MlpConfig {
                hidden_layer_activation: activation,
                ..MlpConfig::new(4, &[hidden, hidden], Some(2))
            };
            let builder = ModelBuilder::new(&device, stream(0, 0, 0, Purpose::Init));
            let mlp = config.build(&builder);
            let mut group = c.benchmark_group(format!("mlp_forward/{hidden}_{name}"));
            for batch in [1, 8, 64, 1024] {
                let inputs = Tensor::<2>::ones([batch, 4], &device);
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(BenchmarkId::from_parameter(batch), |b| {
                    b.iter(|| mlp.forward(inputs.clone()).into_data());
                });
            }
            group.finish();
        }
    }
    Ok(())
}

fn all(c: &mut Criterion) {
    run(c, &[("forward", forward)]);
}

criterion_group!(benches, all);
criterion_main!(benches);
