//! Measurements: `cargo xtask mpi --costs`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::prelude::Device;
use rekindle::algorithms::read_run;
use rekindle::learner::Collective;
use rekindle::prelude::*;
use rekindle_mpi::Transport;
use rekindle_mpi::engine::{MpiCollective, MpiTransport, World};
use rekindle_mpi::frame::{Frame, Kind};

use crate::job::{Job, PROGRAM, folder, in_processes, mpirun};

/// Numbers that are added up.
const SIZES: [usize; 7] = [1, 100, 10_000, 100_000, 1_000_000, 3_000_000, 10_000_000];

/// The ends of the quartiles of durations in milliseconds.
fn quartiles(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |part: usize| seconds[(seconds.len() - 1) * part / 4] * 1e3;
    format!("{:.3} ms (quartiles {:.3} to {:.3})", at(2), at(1), at(3))
}

/// Not a test by itself: a process of `the_costs_of_messages`.
#[test]
fn measure_in_a_process() {
    let Some(_) = folder() else { return };
    let world = World::initialize(Duration::from_secs(60)).unwrap();
    let communicator = world.communicator();
    let (rank, processes) = (communicator.rank(), communicator.size());
    if processes == 2 {
        let mut member = MpiCollective::new(communicator.duplicate().unwrap());
        for size in SIZES {
            let mut numbers = vec![1.0f32; size];
            let rounds = (20_000_000 / (size + 100_000)).clamp(20, 200);
            let measured = (0..rounds).map(|_| {
                let started = Instant::now();
                member.all_reduce_sum(black_box(&mut numbers)).unwrap();
                numbers.fill(1.0);
                started.elapsed().as_secs_f64()
            });
            let measured = measured.collect();
            if rank == 0 {
                println!("all-reduce of {size} numbers, 2 processes: {}", quartiles(measured));
            }
        }
    } else {
        let mut transport = MpiTransport::start(communicator.duplicate().unwrap(), 1).unwrap();
        let frame = |bytes: usize, kind| Arc::new(Frame::new(kind, vec![7; bytes]).to_bytes());
        for size in [100_000, 1_000_000, 10_000_000] {
            let (weights, small) = (frame(size, Kind::Weights), frame(0, Kind::Bye));
            let mut measured = Vec::new();
            for _ in 0..30 {
                if rank > 0 {
                    transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                    transport.send(0, small.clone()).unwrap();
                    continue;
                }
                let started = Instant::now();
                (0..transport.len()).for_each(|to| transport.send(to, weights.clone()).unwrap());
                for _ in 0..transport.len() {
                    transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                }
                measured.push(started.elapsed().as_secs_f64());
            }
            if rank == 0 {
                let runners = transport.len();
                println!(
                    "{size} bytes to {runners} runners and an answer of each: {}",
                    quartiles(measured)
                );
            }
        }
        for size in [100_000, 1_000_000, 10_000_000] {
            let (batch, small) = (frame(size, Kind::Batch), frame(0, Kind::Unchanged));
            let mut measured = Vec::new();
            for _ in 0..30 {
                if rank == 1 {
                    transport.send(0, batch.clone()).unwrap();
                    transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                } else if rank == 0 {
                    let started = Instant::now();
                    transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                    transport.send(0, small.clone()).unwrap();
                    measured.push(started.elapsed().as_secs_f64());
                }
            }
            if rank == 0 {
                println!("a batch of {size} bytes up and an answer: {}", quartiles(measured));
            }
        }
    }
    world.finalize().unwrap();
}

#[test]
#[ignore = "measures on an idle machine"]
fn the_costs_of_messages() {
    let folder = tempfile::tempdir().unwrap();
    for processes in [2, 3] {
        let job = in_processes(processes, "costs::measure_in_a_process", folder.path());
        let output = job.end().ok().output;
        output.lines().filter(|line| line.contains(" ms ")).for_each(|line| println!("{line}"));
    }
}

/// What learner and runner do with weights and batches beside sending them.
#[test]
#[ignore = "measures on an idle machine"]
fn the_costs_of_states() {
    for hidden in [64, 256, 1024] {
        let build = |seed| {
            let config = ImpalaConfig::new()
                .environment("CartPole-v1")
                .env_runners(|e| e.num_envs_per_env_runner(10))
                .model("fcnet_hiddens", vec![hidden, hidden])
                .training(|t| t.train_batch_size(500))
                .seed(seed);
            config.build(&Device::flex()).unwrap()
        };
        let (mut learner, mut runner) = (build(1), build(2));
        let mut times = [const { Vec::new() }; 4];
        let mut sizes = [0, 0];
        for _ in 0..15 {
            let mut timed = |index: usize, work: &mut dyn FnMut()| {
                let started = Instant::now();
                work();
                times[index].push(started.elapsed().as_secs_f64());
            };
            let (mut weights, mut batch) = (Vec::new(), Vec::new());
            timed(0, &mut || weights = learner.publication().unwrap());
            timed(1, &mut || assert!(runner.adopt(&weights).is_ok()));
            timed(2, &mut || batch = runner.collect_batch().unwrap());
            timed(3, &mut || assert!(learner.learn_from(&batch).is_ok()));
            sizes = [weights.len(), batch.len()];
        }
        println!("{hidden} hidden: weights of {} bytes, batches of {} bytes", sizes[0], sizes[1]);
        for (name, times) in
            ["publication", "adopt", "collect_batch", "learn_from"].iter().zip(times)
        {
            println!("    {name}: {}", quartiles(times));
        }
    }
}

/// Environment steps per second with runners as threads and as processes.
#[test]
#[ignore = "measures on an idle machine"]
fn steps_per_second_of_threads_and_processes() {
    let impala = ["train", "IMPALA", "CartPole-v1", "--set", "training.train_batch_size=500"];
    let ppo = [
        "train",
        "PPO",
        "CartPole-v1",
        "--set",
        "training={train_batch_size=2000,minibatch_size=250,num_epochs=4}",
    ];
    for (name, args) in [("IMPALA", impala), ("PPO", ppo)] {
        for runners in [1, 2] {
            let of_threads = steps_per_second(&args, 1, runners);
            let of_processes = steps_per_second(&args, 1 + runners, 1);
            let part = 100.0 * of_processes / of_threads;
            println!(
                "{name}, {runners} runners: {of_threads:.0} steps/s with threads, {of_processes:.0} with processes ({part:.0} %)"
            );
        }
    }
}

fn steps_per_second(args: &[&str], processes: usize, num_env_runners: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut command = mpirun(processes);
    if processes > 1 {
        command.env("REKINDLE_NUM_THREADS", "1");
    }
    command.arg(PROGRAM).args(args).args(["--num-learners", "1", "--quiet", "--seed", "1"]);
    let runners = format!("env_runners.num_env_runners={num_env_runners}");
    for setting in [
        "run.max_seconds=6",
        "model_config.fcnet_hiddens=[64,64]",
        "env_runners.num_envs_per_env_runner=10",
        "reporting.min_time_s_per_iteration=1",
        &runners,
    ] {
        command.args(["--set", setting]);
    }
    command.arg("--runs").arg(folder.path());
    let ended = Job::start(command).end().ok();
    let results = read_run(ended.output.trim()).unwrap();
    let at = |result: &Metrics| {
        let of = |key: &str| result.get(key).unwrap();
        (of("env_runners/num_env_steps_sampled_lifetime"), of("time_total_s"))
    };
    // Without the first second.
    let (first, last) = (at(&results[0]), at(results.last().unwrap()));
    (last.0 - first.0) / (last.1 - first.1)
}
