use super::record::{append, crc32c, masked};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values computed by an independent program.
#[test]
fn bytes_equal_the_golden_ones() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(masked(0xe306_9283), 0xc78a_b0e5);
    let payload = Event::scalars(300, &[("a", 1.5)]).encode(0.0);
    assert_eq!(hex(&payload), "09000000000000000010ac022a0a0a080a0161150000c03f");
    let mut record = Vec::new();
    append(&mut record, &payload);
    let expected =
        "1800000000000000a37f4b2209000000000000000010ac022a0a0a080a0161150000c03f38c8dcce";
    assert_eq!(hex(&record), expected);
    let version = Event::version().encode(0.0);
    assert_eq!(hex(&version), "0900000000000000001a0d627261696e2e4576656e743a32");
}

/// Splits an event file into payloads, and checks their CRCs.
fn payloads(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(12) {
        assert_eq!(masked(crc32c(&head[..8])).to_le_bytes(), head[8..]);
        let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
        let (payload, rest) = rest.split_at(length);
        let (crc, rest) = rest.split_at(4);
        assert_eq!(masked(crc32c(payload)).to_le_bytes(), crc);
        payloads.push(payload);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    payloads
}

#[test]
fn each_iteration_is_an_event_behind_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = TensorBoardSink::create(dir.path()).unwrap();
    let result: Metrics = [(ENV_STEPS, 300.0), ("a", f64::NAN)].into_iter().collect();
    sink.write(1, &result).unwrap();
    sink.write(2, &[("a", 1.5)].into_iter().collect()).unwrap();
    let bytes = fs::read(sink.path()).unwrap();
    let events = payloads(&bytes);
    assert_eq!(events.len(), 3);
    assert!(events[0].ends_with(b"brain.Event:2"));
    // After the time: the steps, or the iteration for a result without steps.
    assert_eq!(events[1][9..12], [0x10, 0xac, 0x02]);
    assert_eq!(events[2][9..11], [0x10, 2]);
}

#[test]
fn a_resumed_run_has_a_file_of_its_own_that_voids_later_steps() {
    let dir = tempfile::tempdir().unwrap();
    let first = TensorBoardSink::create(dir.path()).unwrap();
    let second = TensorBoardSink::resume(dir.path(), 299).unwrap();
    assert!(first.path() < second.path(), "files are read in the order of their names");
    let bytes = fs::read(second.path()).unwrap();
    // Step 300, and `session_log` with the status START.
    assert_eq!(payloads(&bytes)[1][9..], [0x10, 0xac, 0x02, 0x3a, 2, 8, 1]);
    // A file from before the clock was set back.
    let later = dir.path().join("events.out.tfevents.9999999998.rekindle.1.0");
    fs::write(&later, "").unwrap();
    let third = TensorBoardSink::resume(dir.path(), 299).unwrap();
    assert!(third.path() > later.as_path(), "{}", third.path().display());
}

#[test]
fn names_of_stable_baselines3() {
    let result: Metrics = [
        ("env_runners/episode_return_mean", 9.0),
        ("learners/default_policy/entropy", 0.5),
        ("learners/red/vf_loss", 2.0),
        ("timers/training_iteration", 1.0),
    ]
    .into_iter()
    .collect();
    let names = ScalarNames::Sb3.of(&result);
    let expected = [
        ("rollout/ep_rew_mean".to_owned(), 9.0),
        ("train/entropy_loss".to_owned(), -0.5),
        ("train/red/value_loss".to_owned(), 2.0),
    ];
    assert_eq!(names, expected);
    assert_eq!(ScalarNames::Rllib.of(&result).len(), 4);
}
