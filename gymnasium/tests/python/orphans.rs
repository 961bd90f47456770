//! Workers end with the program that started them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{reset, vector};

/// Set in the program that is killed.
const VICTIM: &str = "REKINDLE_GYMNASIUM_VICTIM";

fn runs(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    // A zombie counts as ended, because it may have no parent that waits for it.
    !status.is_empty() && !status.contains("State:\tZ")
}

fn ends_within(ids: &[u32], limit: Duration) -> bool {
    let end = Instant::now() + limit;
    while ids.iter().any(|&id| runs(id)) {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn workers_end_when_their_vector_is_dropped() {
    let mut env = vector("gymnasium:CartPole-v1", 4, json!({"num_workers": 2}));
    reset(&mut env, 0);
    let ids = env.worker_ids();
    assert!(ids.len() == 2 && ids.iter().all(|&id| runs(id)));
    drop(env);
    assert!(ids.iter().all(|&id| !runs(id)));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn workers_outlive_the_thread_that_made_them() {
    let mut env = thread::spawn(|| vector("gymnasium:CartPole-v1", 2, json!({}))).join().unwrap();
    thread::sleep(Duration::from_millis(50));
    reset(&mut env, 0);
}

/// Started by the test below, which kills it.
#[test]
#[ignore = "the child process of the test below, which `cargo xtask test` runs"]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let mut env = vector("python:lab:Faulty", 2, json!({"num_workers": 2}));
    let mut out = reset(&mut env, 0);
    // A program that an environment has started.
    let mut other = vector("python:lab:System", 1, json!({"sleeps": true}));
    reset(&mut other, 0);
    let program = rekindle_env::VectorEnv::info(&other, 0)["program"] as u32;
    println!("workers {:?}", [env.worker_ids(), other.worker_ids(), vec![program]].concat());
    std::io::stdout().flush().unwrap();
    // One worker hangs in its environment, the other waits for a command.
    let hang = rekindle_env::Buffer::from_i64(vec![3, 0], &[]).unwrap();
    let _ = rekindle_env::VectorEnv::step(&mut env, &hang, &mut out);
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn no_worker_survives_when_its_program_is_killed() {
    let before = shared_files();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["orphans::victim", "--exact", "--ignored", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.into_iter().find_map(|line| {
        line.split_once("workers [").map(|(_, ids)| ids.trim_end_matches(']').to_owned())
    });
    let line = line.unwrap();
    let ids: Vec<u32> = line.split(", ").map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 4 && ids.iter().all(|&id| runs(id)));
    thread::sleep(Duration::from_millis(100));
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(ends_within(&ids, Duration::from_secs(5)), "{ids:?}");
    assert_eq!(shared_files(), before);
}

/// The files in shared memory that belong to this library.
fn shared_files() -> usize {
    let Ok(files) = Path::new("/dev/shm").read_dir() else { return 0 };
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.filter(|name| name.contains("rekindle")).count()
}
