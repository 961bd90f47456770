//! Memory stays flat over a long run.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]
#![cfg(target_os = "linux")]

#[path = "support/scripted.rs"]
mod scripted;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rekindle::algorithms::AsyncGradients;
use rekindle::checkpoint;
use rekindle::env_runner::SegmentEnd;
use rekindle::learner::replay::{PrioritizedConfig, ReplayBuffer, ReplayConfig};
use rekindle::prelude::*;

/// The tests measure their process, so that only one may run at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts the allocations of all threads, their bytes, and the bytes that were freed.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

// SAFETY: all calls go to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        FREED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the number of allocations of a call, and their bytes, on average over 50 calls: the smallest of three averages,
/// because threads of the test harness sometimes allocate.
fn allocations(mut call: impl FnMut()) -> [f64; 2] {
    const CALLS: u64 = 50;
    (0..5).for_each(|_| call());
    let counted = || [&ALLOCATIONS, &ALLOCATED].map(|counter| counter.load(Ordering::Relaxed));
    let mut average = || {
        let before = counted();
        (0..CALLS).for_each(|_| call());
        let after = counted();
        [0, 1].map(|i| (after[i] - before[i]) as f64 / CALLS as f64)
    };
    let averages = [(); 3].map(|()| average());
    [0, 1].map(|i| averages.iter().map(|average| average[i]).fold(f64::INFINITY, f64::min))
}

/// Returns the allocations of a pass in which a policy acts: over host memory, and with tensors.
fn acting(space: &Space, model: serde_json::Value, rows: usize) -> [[f64; 2]; 2] {
    use rekindle::core::host_batch::{download_into, upload};

    let device = DeviceSpec::Cpu.open().unwrap();
    let module = RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(6).unwrap())
        .model_config(model)
        .build(&device)
        .unwrap();
    let observations = Buffer::zeros(space, rows);
    let initial = module.initial_state().unwrap();
    let mut state = initial.map(|state| state.gather(&vec![0; rows]).unwrap());
    let (mut pass, mut after, mut inputs) =
        (module.policy_pass().unwrap().unwrap(), state.clone(), Vec::new());
    let on_host = allocations(|| {
        let states = state.as_ref().zip(after.as_mut());
        assert!(pass.run(&observations, states, true, &mut inputs));
        std::mem::swap(&mut state, &mut after);
    });
    let with_tensors = allocations(|| {
        let mut batch = Batch::new().with(Columns::OBS, upload(&observations, &device).unwrap());
        if let Some(state) = &state {
            batch.insert(Columns::STATE_IN, upload(state, &device).unwrap());
        }
        let outputs = module.forward_inference(&batch).unwrap();
        if let Some(state) = &mut state {
            download_into(outputs.column(Columns::STATE_OUT).unwrap(), state).unwrap();
        }
        let logits = outputs.column(Columns::ACTION_DIST_INPUTS).unwrap();
        assert_eq!(logits.rows(), rows);
    });
    [on_host, with_tensors]
}

/// A pass over host memory allocates nothing. One with tensors allocates them, two batches, and lists of layers: a tensor
/// of Burn has its elements and three small allocations, and a clone of it has one. A copy of the images as floats would
/// take 113 KB per row, and new memory for the values between the convolutions 72 KB.
///
/// `cargo test --test memory -- --nocapture acting` prints the numbers.
#[test]
fn acting_allocates_nothing_and_with_tensors_copies_no_images() {
    use serde_json::json;

    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (images, vectors) = (Space::image(&[84, 84, 4]).unwrap(), Space::unbounded(&[16]).unwrap());
    let nature = json!({
        "conv_filters": [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]],
        "head_fcnet_hiddens": [512], "vf_share_layers": true,
    });
    let lstm = json!({
        "fcnet_hiddens": [64], "use_lstm": true, "lstm_cell_size": 64, "vf_share_layers": true,
    });
    let mlp = json!({"fcnet_hiddens": [64, 64]});
    for rows in [1, 8, 64] {
        let cases = [
            ("CNN", &images, &nature, [75, 40_000 * rows + 20_000]),
            ("LSTM", &vectors, &lstm, [120, 4_000 * rows + 40_000]),
            ("MLP", &vectors, &mlp, [33, 1_000 * rows + 20_000]),
        ];
        for (name, space, model, most) in cases {
            let [on_host, found] = acting(space, model.clone(), rows);
            println!(
                "{name}, {rows} rows: {} and {} allocations, {} and {} bytes",
                on_host[0], found[0], on_host[1], found[1]
            );
            assert_eq!(on_host, [0.0; 2], "{name}, {rows} rows");
            assert!(found[0] < most[0] as f64 && found[1] < most[1] as f64, "{name}: {found:?}");
        }
    }
}

/// Returns the bytes that are allocated now.
fn in_use() -> u64 {
    let freed = FREED.load(Ordering::Relaxed);
    ALLOCATED.load(Ordering::Relaxed) - freed
}

/// An observation stacks four frames. In the game, an agent's action is open whenever a call ends, and its episode never
/// ends.
///
/// `cargo test --test memory -- --nocapture each_frame` prints the bytes.
#[test]
fn runners_hold_each_frame_of_stacked_observations_once() {
    const FRAME: usize = 84 * 84;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (image, choice) = (Space::image(&[84, 84, 1]).unwrap(), Space::discrete(2).unwrap());
    scripted::env("memory/Frames-v0", [image.clone(), choice.clone()], |t, _, mut out| {
        out.write_u8(&[t as u8 | 1; FRAME])?;
        Ok(Step::running(0.0))
    });
    let agents = ["a", "b"].map(|id| AgentSpec::new(id, image.clone(), choice.clone()));
    scripted::game_of("memory/Turns-v0", agents.into(), |t, out| {
        out.observe(t % 2)?.write_u8(&[t as u8 | 1; FRAME])
    });
    let frames = |env| {
        let stack = ConnectorConfig::frame_stacking(4);
        EnvRunnerConfig::new(env).num_envs(2).env_to_module([stack])
    };
    let turns = MultiAgentConfig::default().policy_mapping(PolicyMapping::ByAgent);
    let device = DeviceSpec::Cpu.open().unwrap();
    let single = SingleAgentEnvRunner::new(frames("memory/Frames-v0"), 0, &device).unwrap();
    let several = frames("memory/Turns-v0").multi_agent(turns);
    let several = MultiAgentEnvRunner::new(several, 0, &device).unwrap();
    let runners: [Box<dyn EnvRunner>; 2] = [Box::new(single), Box::new(several)];
    for mut runner in runners {
        let mut collect = || {
            let before = in_use();
            let options = SampleOptions::random();
            let experience = runner.collect(Amount::Timesteps(400), options).unwrap();
            let held = (in_use() - before) as usize;
            (held, experience.agent_steps())
        };
        collect();
        let before = in_use();
        for _ in 0..10 {
            let (held, rows) = collect();
            println!("{held} bytes for {rows} rows of 4 frames of {FRAME} bytes");
            assert!(held < rows * FRAME * 3 / 2, "{held} bytes for {rows} rows");
        }
        let grown = in_use().saturating_sub(before) as usize;
        assert!(grown < 20 * FRAME, "the runner grew by {grown} bytes");
    }
}

/// Returns the resident memory of this process in KiB.
fn resident() -> u64 {
    status("VmRSS:")
}

/// Returns a number of KiB that the kernel reports of this process.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs something, and returns its result, the memory before and the largest memory meanwhile, in KiB.
fn peak<T>(run: impl FnOnce() -> T) -> (T, u64, u64) {
    // Resets the largest resident memory of this process.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = resident();
    let result = run();
    (result, before, status("VmHWM:"))
}

fn is_flat(mut algo: Algorithm) {
    let mut train = |iterations| {
        for _ in 0..iterations {
            algo.train().unwrap();
        }
        resident()
    };
    let early = train(200);
    let late = train(800);
    assert!(late < early + 4 * 1024, "{early} KiB grew to {late} KiB");
    assert!(late < 200 * 1024, "{late} KiB");
}

#[test]
fn memory_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// Threads that learn come and go, and batches wait in a queue and in the circular buffer.
#[test]
fn memory_of_the_asynchronous_plan_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = DeviceSpec::Cpu.open().unwrap();
    let impala = ImpalaConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(8).fragment_length(4))
        .seed(0);
    is_flat(impala.build(&device).unwrap());
    let appo = AppoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(8).fragment_length(4))
        .seed(0);
    is_flat(appo.build(&device).unwrap());
}

/// Runners with a copy of the learner each.
#[test]
fn memory_of_the_plan_of_a3c_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = A2cConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_env_runners(2).num_envs_per_env_runner(2))
        .model("fcnet_hiddens", vec![16])
        .with_execution_plan(AsyncGradients::new(4).updates_per_step(8))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// Returns the steps of an episode of CartPole with the given number.
fn cart_pole(episode: u64, len: usize) -> Rollout {
    let rows = |n: usize| (0..n).map(|i| (episode as usize * len + i) as f32).collect::<Vec<_>>();
    let segment = Segment::new(0..len, SegmentEnd::Truncated).with_episode(0, episode);
    let observations = Buffer::from_f32(rows(4 * len), &[4]).unwrap();
    let actions = Buffer::from_i64((0..len as i64).collect(), &[]).unwrap();
    let last = Buffer::from_f32(rows(4), &[4]).unwrap();
    Rollout::new(observations, actions, vec![1.0; len], vec![segment], last)
}

/// `cargo test --test memory -- --nocapture saving_a_replay` prints the times.
#[test]
fn saving_a_replay_buffer_needs_a_tenth_of_its_memory_and_restoring_it_its_memory_once() {
    const ROWS: usize = 1_000_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    for prioritized in [None, Some(PrioritizedConfig::default())] {
        let config = ReplayConfig::default().capacity(ROWS).prioritized(prioritized.clone());
        let mut buffer = ReplayBuffer::new(config, [""; 0], 1);
        // Twice as many as there is room for.
        (0..2 * ROWS as u64 / 200).for_each(|i| buffer.push(&cart_pole(i, 200)).unwrap());
        let save = |name: &str, buffer: &ReplayBuffer| {
            let started = Instant::now();
            let path = folder.path().join(name);
            let (_, before, most) =
                peak(|| checkpoint::write(path, &buffer.get_state().unwrap()).unwrap());
            let rows = buffer.len();
            println!(
                "{name}: saved {rows} rows in {:?}, {before} KiB, {most} KiB",
                started.elapsed()
            );
            assert!(most * 10 <= before * 11, "{name}: {before} KiB grew to {most} KiB");
        };
        save("first", &buffer);
        (0..100).for_each(|i| buffer.push(&cart_pole(1_000_000 + i, 200)).unwrap());
        save("second", &buffer);
        let started = Instant::now();
        let config = ReplayConfig::default().capacity(ROWS).prioritized(prioritized);
        let (restored, before, most) = peak(|| {
            let state = checkpoint::read(folder.path().join("second")).unwrap();
            ReplayBuffer::from_state(config, state).unwrap()
        });
        let (took, of_buffer) = (started.elapsed(), resident().saturating_sub(before));
        println!("restored in {took:?}: {of_buffer} KiB, at most {}", most - before);
        assert_eq!(restored.len(), buffer.len());
        assert!((most - before) * 10 <= of_buffer * 11 + 100 * 1024, "{most} {before} {of_buffer}");
        save("third", &restored);
    }
}

/// A million frames of 84 × 84 bytes have 7.06 GB. Actions, rewards and ends of a million steps add 0.013 GB, and
/// each episode a final frame.
///
/// `cargo test --test memory -- --ignored --nocapture frames_of_atari` prints the memory of a tenth of them.
#[test]
#[ignore = "needs a minute and a gigabyte of memory; `cargo xtask test --all` runs it"]
fn frames_of_atari_take_the_memory_of_their_bytes_once() {
    const ROWS: usize = 100_000;
    const SIDE: usize = 84;
    const EPISODE: usize = 500;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = ReplayConfig::default().capacity(ROWS);
    let mut buffer = ReplayBuffer::new(config, [""; 0], 1).num_frames(4);
    let stacks = |episode: u64, first: usize, len: usize| {
        let mut bytes = Vec::with_capacity(len * SIDE * SIDE * 4);
        for t in first..first + len {
            let frame = |age: usize| match t.checked_sub(age) {
                Some(t) => (episode as usize * 31 + t * 7) as u8 | 1,
                None => 0,
            };
            let pixel = [frame(3), frame(2), frame(1), frame(0)];
            bytes.extend(std::iter::repeat_n(pixel, SIDE * SIDE).flatten());
        }
        Buffer::from_u8(bytes, &[SIDE, SIDE, 4]).unwrap()
    };
    let before = resident();
    // A tenth more than there is room for.
    for episode in 0..(ROWS + ROWS / 10) as u64 / EPISODE as u64 {
        for first in (0..EPISODE).step_by(50) {
            let ends = first + 50 == EPISODE;
            let mut rollout = cart_pole(episode, 50);
            rollout.observations = stacks(episode, first, 50);
            rollout.final_observations = stacks(episode, first + 50, 1);
            rollout.segments[0].t_started = first;
            rollout.segments[0].end = if ends { SegmentEnd::Truncated } else { SegmentEnd::Cut };
            buffer.push(&rollout).unwrap();
        }
    }
    let used = (resident() - before) * 1024;
    let rows = buffer.len();
    println!("{rows} rows of {} bytes take {used} bytes", SIDE * SIDE);
    // 7.1 GB for a million, and a chunk of 8 MiB that is not full.
    let most = 7_100 * ROWS as u64 + 8 * 1024 * 1024;
    assert!(rows > ROWS - 300 && used < most, "{used} bytes for {rows} rows");
}

/// The buffer is full after 100 iterations.
#[test]
fn memory_of_replay_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let replay = ReplayConfig::default().capacity(1600).prioritized(PrioritizedConfig::default());
    let config = DqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .reporting(|r| r.min_sample_timesteps_per_iteration(0))
        .training(|t| {
            t.replay_buffer_config(replay)
                .train_batch_size(8)
                .num_steps_sampled_before_learning_starts(16)
                .sample_timesteps_per_update_round(16)
                .updates_per_env_step(0.125)
        })
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

#[test]
fn memory_of_runners_on_the_device_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.on_device(true).num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}

/// Three optimizers, and targets that move after each update.
#[test]
fn memory_of_sac_is_flat_over_1000_iterations_and_below_200_mb() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = SacConfig::new()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![16])
        .training(|t| {
            t.replay_buffer_config(ReplayConfig::default().capacity(160))
                .train_batch_size(8)
                .num_steps_sampled_before_learning_starts(16)
        })
        .seed(0);
    is_flat(config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap());
}
