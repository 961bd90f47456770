//! Saving and restoring.

use std::path::Path;

use proptest::prelude::*;
use rekindle_checkpoint::{Array, State, read, write};

use super::*;

/// A rollout of `len` steps of some environments, whose observations are a Dict with bytes.
fn nested(env: usize, episode: u64, t_started: usize, len: usize, end: SegmentEnd) -> Rollout {
    let first = episode as f32 * 100.0 + t_started as f32;
    let plain =
        rollout(segment(env, episode, t_started, len, end), first, &vec![first; len], first);
    let dict = |floats: Buffer| {
        let bytes = floats.as_f32().unwrap().iter().map(|x| *x as u8).collect();
        Buffer::from_dict([("a", floats), ("b", Buffer::from_u8(bytes, &[]).unwrap())]).unwrap()
    };
    let mut nested = plain.clone();
    nested.observations = dict(plain.observations.clone());
    nested.final_observations = dict(plain.final_observations);
    nested.extras.insert(Columns::ACTION_LOGP.into(), plain.observations);
    nested
}

/// Appends some fragments of two environments, with ends of both kinds and a lost fragment.
fn fill(buffer: &mut ReplayBuffer, fragments: std::ops::Range<u64>) {
    for i in fragments {
        let len = 1 + (i % 3) as usize;
        let end = match i % 4 {
            0 => SegmentEnd::Terminated,
            1 => SegmentEnd::Truncated,
            _ => SegmentEnd::Cut,
        };
        let t_started = if i % 7 == 6 { 5 } else { 0 };
        buffer.push(&nested((i % 2) as usize, i, t_started, len, end)).unwrap();
    }
}

fn filled(capacity: usize, fragments: u64) -> ReplayBuffer {
    let config = prioritized(LargestWeight::Buffer).capacity(capacity);
    let mut buffer = ReplayBuffer::new(config, [Columns::ACTION_LOGP], 2);
    fill(&mut buffer, 0..fragments);
    let rows: Vec<usize> = (0..buffer.storage.slots()).collect();
    let errors: Vec<f32> = rows.iter().map(|row| (row * 7 % 5) as f32).collect();
    buffer.set_errors(&rows, &errors);
    buffer
}

fn draw(buffer: &ReplayBuffer, seed: u64) -> rekindle_core::HostBatch {
    let spec = TransitionSpec::new(0.9).n_step(1..=3);
    let mut rng = Generator::from_seed(seed);
    buffer.sample(20, &spec, 0, &mut rng).unwrap().host().unwrap().clone()
}

fn saved_and_restored(buffer: &ReplayBuffer, path: &Path) -> ReplayBuffer {
    write(path, &buffer.get_state().unwrap()).unwrap();
    ReplayBuffer::from_state(buffer.config.clone(), read(path).unwrap()).unwrap()
}

/// Reads a saved buffer with its shards as components, which can be changed.
fn opened(path: &Path) -> State {
    let mut state = read(path).unwrap();
    for name in ["rows", "priorities"] {
        let parts = state.components.get_mut(name).unwrap();
        for (name, shard) in std::mem::take(&mut parts.shards) {
            parts.insert_component(name, shard.get_state().unwrap());
        }
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_restored_buffer_goes_on_as_the_saved_one(capacity in 6..200usize, fragments in 1..60u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = filled(capacity, fragments);
        let mut restored = saved_and_restored(&buffer, &folder.path().join("a"));
        for round in 0..3 {
            prop_assert!(restored.get_state().unwrap() == buffer.get_state().unwrap());
            prop_assert_eq!(draw(&restored, round), draw(&buffer, round));
            for buffer in [&mut buffer, &mut restored] {
                fill(buffer, fragments + round..fragments + round + 9);
                buffer.set_errors(&[0, 1], &[round as f32, 3.0]);
            }
        }
    }
}

#[test]
fn an_empty_buffer_and_one_with_another_capacity_are_restored() {
    let folder = tempfile::tempdir().unwrap();
    let empty = ReplayBuffer::new(ReplayConfig::default(), [""; 0], 1);
    assert!(saved_and_restored(&empty, &folder.path().join("a")).is_empty());
    let state = filled(60, 50).get_state().unwrap();
    for capacity in [20, 90] {
        let config = prioritized(LargestWeight::Buffer).capacity(capacity);
        let mut restored = ReplayBuffer::from_state(config, state.clone()).unwrap();
        assert!(restored.len() > 40);
        fill(&mut restored, 50..150);
        assert!(restored.len() <= capacity && restored.len() > capacity / 2);
    }
}

#[test]
fn a_state_keeps_its_steps_while_the_buffer_goes_on() {
    let mut buffer = filled(60, 50);
    let state = buffer.get_state().unwrap();
    let before = draw(&buffer, 0);
    fill(&mut buffer, 50..70);
    buffer.set_errors(&[0, 1, 2], &[9.0; 3]);
    let restored = ReplayBuffer::from_state(buffer.config.clone(), state).unwrap();
    assert_eq!(draw(&restored, 0), before);
    assert_ne!(draw(&buffer, 0), before);
}

#[cfg(unix)]
#[test]
fn a_save_links_the_chunks_that_have_not_changed() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let mut buffer = filled(400, 300);
    write(&a, &buffer.get_state().unwrap()).unwrap();
    let expected = buffer.get_state().unwrap();
    fill(&mut buffer, 300..302);
    write(&b, &buffer.get_state().unwrap()).unwrap();
    let chunks = buffer.storage.chunks.len();
    let linked = (0..chunks).filter(|chunk| {
        let file = |path: &Path| path.join(format!("rows/{chunk}/tensors.safetensors"));
        let [a, b] = [&a, &b].map(|path| std::fs::metadata(file(path)).unwrap().ino());
        a == b
    });
    let linked = linked.count();
    assert!(linked >= chunks - 4 && (1..chunks).contains(&linked), "{linked} of {chunks}");
    assert!(read(&a).unwrap() == expected);
    let restored = ReplayBuffer::from_state(buffer.config.clone(), read(&b).unwrap()).unwrap();
    assert_eq!(draw(&restored, 1), draw(&buffer, 1));
}

#[cfg(unix)]
#[test]
fn the_first_save_after_a_restore_links_the_chunks_that_have_not_changed() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
    let buffer = filled(400, 300);
    let mut restored = saved_and_restored(&buffer, &a);
    let chunks = buffer.storage.chunks.len();
    let linked = |from: &Path, to: &Path| {
        let linked = (0..chunks).filter(|chunk| {
            let file = format!("rows/{chunk}/tensors.safetensors");
            let [from, to] = [from, to].map(|path| std::fs::metadata(path.join(&file)).unwrap());
            from.ino() == to.ino()
        });
        linked.count()
    };
    write(&b, &restored.get_state().unwrap()).unwrap();
    assert_eq!(linked(&a, &b), chunks);
    assert!(read(&b).unwrap() == read(&a).unwrap());
    fill(&mut restored, 300..302);
    write(&c, &restored.get_state().unwrap()).unwrap();
    let linked = linked(&b, &c);
    assert!(linked >= chunks - 4 && (1..chunks).contains(&linked), "{linked} of {chunks}");
    assert!(read(&c).unwrap() == restored.get_state().unwrap());
}

#[test]
fn a_buffer_whose_state_was_changed_after_reading_is_saved_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    let buffer = filled(60, 50);
    write(&a, &buffer.get_state().unwrap()).unwrap();
    let mut state = opened(&a);
    let chunk = state.components.get_mut("rows").unwrap().components.get_mut("0").unwrap();
    let rows = chunk.tensor("rewards").unwrap().shape()[0];
    chunk.insert_tensor("rewards", vec![7.5_f32; rows]);
    let changed = ReplayBuffer::from_state(buffer.config.clone(), state).unwrap();
    write(&b, &changed.get_state().unwrap()).unwrap();
    let of = |path: &Path| opened(path).component("rows/0").unwrap().clone();
    assert_eq!(of(&b).tensor("rewards").unwrap().as_slice::<f32>().unwrap(), vec![7.5; rows]);
    assert!(of(&a) != of(&b));
}

#[test]
fn states_whose_parts_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let buffer = filled(60, 50);
    write(folder.path().join("a"), &buffer.get_state().unwrap()).unwrap();
    let refused = |change: &dyn Fn(&mut State), reason: &str| {
        let mut state = opened(&folder.path().join("a"));
        change(&mut state);
        let error = ReplayBuffer::from_state(buffer.config.clone(), state).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    };
    fn chunk(state: &mut State) -> &mut State {
        state.components.get_mut("rows").unwrap().components.get_mut("0").unwrap()
    }
    let rows = chunk(&mut opened(&folder.path().join("a"))).tensor("rewards").unwrap().shape()[0];
    let replaced = |name: &'static str, with: Array| {
        move |state: &mut State| {
            chunk(state).insert_tensor(name, with.clone());
        }
    };
    refused(&replaced("rewards", vec![0_f32; 3].into()), "differ in length");
    refused(&replaced("follows", vec![9_u8; rows].into()), "known end");
    refused(&replaced("follows", vec![2_u8; rows].into()), "final observations");
    refused(&replaced("column.1.0", vec![1_f32; rows].into()), "layout");
    let without = |state: &mut State| {
        chunk(state).tensors.remove("column.2.1");
    };
    refused(&without, "column.2.1");
    refused(&|state| state.data["chunks"] = u64::MAX.into(), "no component");
    refused(&|state| state.data["block_len"] = 0.into(), "blocks");
    refused(&|state| state.data["chunk_rows"] = 8.into(), "blocks");
    let blocks = |change: fn(&mut Vec<i64>)| {
        move |state: &mut State| {
            let mut blocks = state.tensor("blocks").unwrap().as_slice::<i64>().unwrap().to_vec();
            change(&mut blocks);
            let array = Array::new([blocks.len() / 3, 3], blocks).unwrap();
            state.insert_tensor("blocks", array);
        }
    };
    refused(&blocks(|blocks| blocks[0] -= 1), "blocks");
    refused(&blocks(|blocks| blocks[0] = -1), "blocks");
    refused(&blocks(|blocks| blocks[1] = 1 << 40), "blocks");
    refused(&blocks(|blocks| blocks[2] = 99), "blocks");
    refused(&blocks(|blocks| blocks.truncate(3)), "blocks");
    refused(&|state| state.data["largest"] = (-1.0).into(), "largest priority");
    refused(
        &|state| {
            let parts = state.components.get_mut("priorities").unwrap();
            let part = parts.components.get_mut("0").unwrap();
            let mut values = part.tensor("priorities").unwrap().as_slice().unwrap().to_vec();
            values[0] = f64::NAN;
            part.insert_tensor("priorities", values);
        },
        "priorities",
    );
}
