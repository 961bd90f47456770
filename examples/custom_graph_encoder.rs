//! A graph as one part of the observation: a message-passing encoder replaces one branch of the catalog.
//!
//! `cargo run --release --example custom_graph_encoder`

#[path = "common/program.rs"]
mod program;

use burn::module::Module;
use burn::prelude::*;
use rekindle::catalog::Result;
use rekindle::env::Result as EnvResult;
use rekindle::prelude::*;

// A user's encoder and catalog start here …
/// Features per node.
const WIDTH: usize = 16;

/// Message passing: in each round, a node reads its own features and the sum of its neighbors'.
#[derive(Module, Debug)]
struct GraphEncoder {
    rounds: Vec<Mlp>,
    nodes: usize,
}

impl Encoder for GraphEncoder {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        let graph = observations.nested()?;
        let (mut nodes, edges) = (graph.float::<3>("nodes")?, graph.float::<3>("edges")?);
        let [batch, count, _] = nodes.dims();
        for round in &self.rounds {
            let messages = edges.clone().matmul(nodes.clone());
            let read: Tensor<2> = Tensor::cat(vec![nodes, messages], 2).flatten(0, 1);
            nodes = round.forward(read).reshape([batch, count, WIDTH]);
        }
        Ok(nodes.flatten(1, 2))
    }

    fn output_dim(&self) -> usize {
        self.nodes * WIDTH
    }
}

/// Message passing for graphs; other spaces and the fusion of the parts unchanged.
#[derive(Debug)]
struct GraphCatalog;

impl Catalog for GraphCatalog {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        match space {
            Space::Dict(graph) if graph.get("edges").is_ok() => {
                let shape = graph.get("nodes")?.as_box()?.shape();
                let round = |width| MlpConfig::new(2 * width, &[WIDTH], None).build(cx.builder);
                let rounds = vec![round(shape[1]), round(WIDTH)];
                Ok(BoxEncoder::new(GraphEncoder { rounds, nodes: shape[0] }))
            }
            _ => self.default_encoder(cx, space),
        }
    }
}
// … and end here.

/// Number of places on the map.
const PLACES: usize = 6;

/// A courier on a random road map. Parcels wait at two places, and a road leads to one of them. The
/// courier must go to that place, or to the other one if there is a boat. The right choice pays 1.
struct Courier {
    observations: Space,
    actions: Space,
    rng: Generator,
    right: i64,
}

impl Courier {
    fn new() -> EnvResult<Self> {
        let graph = Space::dict([
            ("nodes", Space::boxed(0.0, 1.0, &[PLACES, 2])?),
            ("edges", Space::boxed(0.0, 1.0, &[PLACES, PLACES])?),
        ])?;
        Ok(Self {
            observations: Space::dict([("map", graph), ("boat", Space::discrete(2)?)])?,
            actions: Space::discrete(PLACES)?,
            rng: Generator::from_entropy(),
            right: 0,
        })
    }

    fn draw(&mut self, mut observation: RowMut<'_>) -> EnvResult<()> {
        let places = self.rng.permutation(PLACES);
        let (here, connected, apart) = (places[0], places[1], places[2]);
        let boat = self.rng.integers(0, 2);
        self.right = if boat == 1 { apart as i64 } else { connected as i64 };
        observation.get_mut("boat")?.write_discrete(boat)?;
        let mut map = observation.get_mut("map")?;
        let nodes = map.get_mut("nodes")?.as_f32_mut()?;
        nodes.fill(0.0);
        nodes[2 * here] = 1.0;
        nodes[2 * connected + 1] = 1.0;
        nodes[2 * apart + 1] = 1.0;
        let edges = map.get_mut("edges")?.as_f32_mut()?;
        for a in 0..PLACES {
            for b in 0..=a {
                let ends = |x, y| (a, b) == (x, y) || (b, a) == (x, y);
                let road = match (ends(here, connected), ends(here, apart)) {
                    (true, _) => true,
                    (_, true) => false,
                    _ => a != b && self.rng.random() < 0.5,
                };
                edges[a * PLACES + b] = f32::from(road);
                edges[b * PLACES + a] = f32::from(road);
            }
        }
        Ok(())
    }
}

impl Env for Courier {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> EnvResult<()> {
        self.rng.reseed(options.seed);
        self.draw(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> EnvResult<Step> {
        let reward = f64::from(action.as_discrete()? == self.right);
        self.draw(observation)?;
        Ok(Step { reward, terminated: true, truncated: false })
    }
}

/// Trains PPO for `steps` environment steps. Returns the algorithm and its last mean return.
pub(crate) fn train(steps: u64) -> std::result::Result<(Algorithm, f64), MainError> {
    register(EnvSpec::new("Example/Courier-v0", |_: &EnvConfig| Courier::new()))?;
    let mut algo = PpoConfig::new()
        .environment("Example/Courier-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .rl_module(RLModuleSpec::default().catalog(GraphCatalog))
        .model("fusionnet_hiddens", vec![64])
        .training(|t| t.lr(3e-3).train_batch_size(1024).minibatch_size(256).num_epochs(8))
        .seed(0)
        .build(&DeviceSpec::Cpu.open()?)?;
    let mut mean = f64::NAN;
    while algo.env_steps() < steps {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
        println!("{:>6} steps: {:.0} % of the parcels", algo.env_steps(), 100.0 * mean);
    }
    Ok((algo, mean))
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> std::result::Result<(), MainError> {
    program::no_arguments(
        "custom_graph_encoder",
        "Trains PPO with a graph encoder for one part of a Dict.",
    );
    program::show_warnings();
    train(40_000)?;
    Ok(())
}
