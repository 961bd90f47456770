//! A cache of weights in the layout of a kernel, for the forward passes of a policy that acts.

use std::sync::Arc;
#[cfg(feature = "flex")]
use std::sync::{Mutex, PoisonError};

use rekindle_core::AnyTensor;

use crate::cpu::Scratch;
#[cfg(feature = "flex")]
use crate::host_op::flex::{Plain, as_plain};

/// Limits of the cache: the number of weights, and the elements of each weight.
#[cfg(feature = "flex")]
const MOST_KEPT: usize = 32;
#[cfg(feature = "flex")]
const MOST_ELEMENTS: usize = 1 << 20;

/// Weights and their packed form. The cache owns a reference to each weight's memory, which prevents changes and
/// reuse of the memory. The address therefore identifies the weight.
///
/// All threads share the cache. A cache per thread would drop tensors when its thread ends, and the destructor of
/// memory that was read from an accelerator needs thread-local values that are gone by then.
#[cfg(feature = "flex")]
static KEPT: Mutex<Vec<(Plain, Arc<Scratch>)>> = Mutex::new(Vec::new());

/// Returns the result of `pack` for a weight, from the cache if possible. Returns `None` for large weights, and for
/// weights with gradients, which change between calls.
///
/// Every call for the same weight must use the same `pack`.
pub(crate) fn packed(
    weight: &AnyTensor,
    pack: impl FnOnce(&[f32]) -> Scratch,
) -> Option<Arc<Scratch>> {
    #[cfg(feature = "flex")]
    {
        let weight = as_plain(weight)?;
        let elements = weight.as_slice::<f32>().filter(|w| w.len() <= MOST_ELEMENTS)?;
        let same = |(kept, _): &(Plain, Arc<Scratch>)| {
            kept.as_slice::<f32>().is_some_and(|kept| std::ptr::eq(kept, elements))
        };
        let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept().iter().find(|entry| same(entry)).map(|(_, packed)| packed.clone());
        if found.is_some() {
            return found;
        }
        let packed = Arc::new(pack(elements));
        let mut kept = kept();
        let oldest = (kept.len() >= MOST_KEPT).then(|| kept.remove(0));
        kept.push((weight.clone(), packed.clone()));
        drop(kept);
        drop(oldest);
        Some(packed)
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = (weight, pack);
        None
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::prelude::*;

    use super::*;

    fn doubled(weight: &[f32]) -> Scratch {
        Scratch::from(weight.iter().map(|w| 2.0 * w).collect::<Vec<_>>())
    }

    #[test]
    fn weights_are_packed_once_while_their_memory_lives() {
        let device = Device::flex();
        let weight = Tensor::<1>::from_floats([1.0, 2.0], &device);
        let any = AnyTensor::from(weight.clone());
        let first = packed(&any, doubled).unwrap();
        assert_eq!(first[..], [2.0, 4.0]);
        let again = packed(&any, |_| Scratch::default()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        // Equal shape but other numbers: must not hit the entry of the first weight.
        drop(any);
        let changed = weight * 3.0;
        assert_eq!(packed(&changed.into(), doubled).unwrap()[..], [6.0, 12.0]);
    }

    #[test]
    fn weights_that_learn_are_not_kept() {
        let weight = Tensor::<1>::ones([2], &Device::flex().autodiff()).require_grad();
        assert!(packed(&weight.into(), doubled).is_none());
    }
}
