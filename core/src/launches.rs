//! The kernels that accelerators launch, counted by name.

use std::collections::BTreeMap;

/// Runs `work` and returns its result with the number of kernel launches on accelerators, by the name of the kernel.
/// The CPU launches none.
///
/// Launches are counted when they are issued, which a device may postpone: a read of a result at the end of
/// `work` makes the count complete. Launches of other threads are not counted. Only one count can run at a time: a
/// second one takes launches away from the first.
///
/// ```
/// use burn::prelude::*;
/// use rekindle_core::launches::count_launches;
///
/// let x = Tensor::<1>::from_floats([1.0, 2.0], &Device::flex());
/// let (sum, launches) = count_launches(|| x.sum().into_scalar::<f32>());
/// assert_eq!(sum, 3.0);
/// assert!(launches.is_empty());
/// ```
pub fn count_launches<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<String, usize>) {
    counter::count(work)
}

#[cfg(not(any(feature = "wgpu", feature = "cuda-llvm")))]
mod counter {
    use std::collections::BTreeMap;

    pub(super) fn count<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<String, usize>) {
        (work(), BTreeMap::new())
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda-llvm"))]
mod counter {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, PoisonError};

    use burn::tensor::StreamId;
    use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};

    struct Counter {
        /// That of the thread that counts. A device's thread issues launches in the name of their stream.
        stream: StreamId,
        counts: Mutex<BTreeMap<&'static str, usize>>,
    }

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            if StreamId::current() == self.stream {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(kernel).or_default() += 1;
            }
        }
    }

    pub(super) fn count<T>(work: impl FnOnce() -> T) -> (T, BTreeMap<String, usize>) {
        let stream = StreamId::current();
        let counter = Arc::new(Counter { stream, counts: Mutex::default() });
        let observation = LaunchObservation::new(counter.clone());
        let result = work();
        drop(observation);
        let counts = counter.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_name = BTreeMap::new();
        for (kernel, count) in counts.iter() {
            *by_name.entry(short(kernel)).or_default() += count;
        }
        (result, by_name)
    }

    /// Returns the name of a type without its path and its parameters.
    fn short(name: &str) -> String {
        let path = name.split_once('<').map_or(name, |(path, _)| path);
        path.rsplit("::").next().unwrap_or(path).to_owned()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_lose_paths_and_parameters() {
            assert_eq!(short("burn::kernel::Binary<f32, cubecl::Add>"), "Binary");
            assert_eq!(short("Binary"), "Binary");
        }
    }
}
