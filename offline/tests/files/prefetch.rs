//! Reading ahead gives what reading would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rekindle_core::ModuleId;
use rekindle_env::Space;
use rekindle_offline::{OfflineSource, Prefetch, Recorded, Result};

/// Parts of one step each that take a while to read. A part is known by its number: as many modules.
#[derive(Debug)]
struct Slow {
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    reads: AtomicUsize,
}

impl OfflineSource for Slow {
    fn module_spaces(&self) -> &BTreeMap<ModuleId, (Space, Space)> {
        &self.spaces
    }

    fn num_parts(&self) -> usize {
        10
    }

    fn steps_of(&self, _: usize) -> usize {
        1
    }

    fn read(&self, part: usize) -> Result<Recorded> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        assert!(part < 10, "part {part}");
        Ok((0..part).map(|id| (id.to_string(), Vec::new())).collect())
    }

    fn fingerprint(&self) -> String {
        String::new()
    }
}

fn slow() -> Arc<Slow> {
    Arc::new(Slow { spaces: BTreeMap::new(), reads: AtomicUsize::new(0) })
}

#[test]
fn parts_that_were_asked_for_are_there_when_they_are_read() {
    let source = slow();
    let mut parts = Prefetch::new(source.clone(), 0);
    parts.ask(&[3, 1, 4]);
    thread::sleep(Duration::from_millis(200));
    let read: Vec<_> = [3, 1, 4].map(|part| parts.read(part).unwrap().len()).into();
    assert_eq!(read, [3, 1, 4]);
    let times = parts.take_times();
    assert!(times.waiting < times.reading, "{times:?}");
    assert!(times.reading >= Duration::from_millis(60), "{times:?}");
    assert_eq!(source.reads.load(Ordering::SeqCst), 3);
}

#[test]
fn any_part_may_be_read_in_any_order_and_asked_for_again() {
    let source = slow();
    let mut parts = Prefetch::new(source.clone(), 0);
    parts.ask(&[1, 2]);
    parts.ask(&[1, 2, 3]);
    assert_eq!(parts.read(1).unwrap().len(), 1);
    // Another one than the next: what was asked for is forgotten.
    assert_eq!(parts.read(5).unwrap().len(), 5);
    parts.ask(&[6]);
    parts.ask(&[7, 8]);
    assert_eq!([7, 8, 9].map(|part| parts.read(part).unwrap().len()), [7, 8, 9]);
}

#[test]
fn data_that_fit_are_read_once() {
    let source = slow();
    let mut parts = Prefetch::new(source.clone(), 10);
    for _ in 0..3 {
        parts.ask(&[2, 3]);
        assert_eq!([2, 3].map(|part| parts.read(part).unwrap().len()), [2, 3]);
    }
    assert_eq!(source.reads.load(Ordering::SeqCst), 2);
}
