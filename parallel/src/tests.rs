use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// Fewer rounds under Miri, which interprets every instruction.
const ROUNDS: usize = if cfg!(miri) { 5 } else { 500 };

/// Crews of several sizes, regardless of the number of cores.
fn crews() -> [Crew; 3] {
    [1, 2, 4].map(Crew::new)
}

#[test]
fn every_task_is_done_once_with_several_callers() {
    for crew in crews() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        let mut done = vec![0; 1 + round % 7];
                        let tasks = done.iter_mut().enumerate();
                        for_each_on(|| &crew, tasks, |(i, d)| *d += i + 1);
                        assert!(done.iter().enumerate().all(|(i, d)| *d == i + 1));
                    }
                });
            }
        });
    }
}

#[test]
fn tasks_may_fork_themselves() {
    for crew in crews() {
        let mut sums = [0; 4];
        for_each_on(
            || &crew,
            &mut sums,
            |sum| {
                let mut parts = [1; 8];
                for_each_on(|| &crew, parts.iter_mut(), |part| *part *= 2);
                *sum = parts.iter().sum();
            },
        );
        assert_eq!(sums, [16; 4]);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_crew_goes_on() {
    for crew in crews() {
        let panics = catch_unwind(AssertUnwindSafe(|| {
            for_each_on(|| &crew, 0..64, |i| assert!(i != 40, "task 40"));
        }));
        assert!(panics.is_err());
        let mut done = [false; 16];
        for_each_on(|| &crew, &mut done, |d| *d = true);
        assert_eq!(done, [true; 16]);
    }
}

#[test]
fn workers_that_sleep_are_woken() {
    let crew = Crew::new(3);
    for _ in 0..3 {
        // Longer than workers stay awake.
        thread::sleep(std::time::Duration::from_millis(10));
        let names = Mutex::new(std::collections::BTreeSet::new());
        for_each_on(
            || &crew,
            0..64,
            |_| {
                thread::sleep(std::time::Duration::from_micros(200));
                names.lock().unwrap().insert(format!("{:?}", thread::current().id()));
            },
        );
        assert!(names.into_inner().unwrap().len() > 1, "nobody helped");
    }
}

/// A worker polls for two milliseconds unless it rests.
#[test]
#[cfg(not(miri))]
fn a_worker_that_rests_sleeps_at_once_and_is_woken_by_the_next_job() {
    let crew = Crew::new(2);
    let mut fastest = std::time::Duration::MAX;
    for _ in 0..50 {
        let started = AtomicBool::new(false);
        // The job ends after the worker has entered it, so the worker is awake.
        crew.run(1, &|number| match number {
            0 => (0..100_000)
                .take_while(|_| !started.load(Ordering::Acquire))
                .for_each(|_| thread::yield_now()),
            _ => started.store(true, Ordering::Release),
        });
        assert!(started.into_inner(), "the worker was not woken");
        let since = std::time::Instant::now();
        crew.rest();
        while !crew.is_asleep(1) {
            assert!(since.elapsed() < std::time::Duration::from_secs(10));
            thread::yield_now();
        }
        fastest = fastest.min(since.elapsed());
    }
    assert!(fastest < std::time::Duration::from_millis(1), "{fastest:?}");
}

#[test]
fn the_crew_of_the_process_works() {
    let mut done = [0; 16];
    for_each(&mut done, |d| *d += 1);
    assert_eq!(done, [1; 16]);
    assert!(num_threads() >= 1);
    assert_eq!(share(10, 100), 16);
    assert_eq!(share(1000, 1000), 1008);
}

#[test]
fn a_number_of_threads_that_is_none_is_refused_with_its_text() {
    for (value, expected) in [
        ("3", Ok(3)),
        (" 1 ", Ok(1)),
        ("0", Err("0".to_owned())),
        ("abc", Err("abc".to_owned())),
        ("-2", Err("-2".to_owned())),
        ("", Err(String::new())),
    ] {
        assert_eq!(parse_num_threads(value.as_ref()), expected, "{value:?}");
    }
}
