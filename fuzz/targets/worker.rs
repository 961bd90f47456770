//! Any bytes as a message or the shared memory of a worker with Python environments.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| rekindle_gymnasium::fuzzing::read(bytes));
