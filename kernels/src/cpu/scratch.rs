//! Reuse of buffers.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// A temporary buffer of a kernel. A later kernel on the same thread reuses it.
///
/// Fresh memory would cost a training step as much as the arithmetic: it is zeroed, its pages are mapped
/// and unmapped, and it is not in the cache.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Vec<f32>);

/// Limits of what a thread keeps: the number of buffers, and of their elements together.
const MOST_BUFFERS: usize = 32;
const MOST_ELEMENTS: usize = 1 << 23;

thread_local! {
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    /// Returns a buffer with unspecified elements. Callers must write an element before they read it.
    pub(crate) fn new(len: usize) -> Self {
        let fits = |buffer: &Vec<f32>| (len..=2 * len).contains(&buffer.capacity());
        let found = POOL.try_with(|pool| {
            let mut pool = pool.try_borrow_mut().ok()?;
            let index = pool.iter().rposition(fits)?;
            Some(pool.remove(index))
        });
        let mut buffer = found.ok().flatten().unwrap_or_default();
        buffer.resize(len, 0.0);
        Self(buffer)
    }
}

impl From<Vec<f32>> for Scratch {
    fn from(buffer: Vec<f32>) -> Self {
        Self(buffer)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 {
            return;
        }
        // The pool of a thread that is ending is gone; then the buffer is freed.
        let _ = POOL.try_with(|pool| {
            let Ok(mut pool) = pool.try_borrow_mut() else { return };
            let kept: usize = pool.iter().map(Vec::capacity).sum();
            if pool.len() < MOST_BUFFERS && kept + buffer.capacity() <= MOST_ELEMENTS {
                pool.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_by_what_it_fits() {
        let buffer = Scratch::new(1000);
        let place = buffer.as_ptr();
        drop(buffer);
        assert_ne!(Scratch::new(100).as_ptr(), place, "far too large");
        assert_eq!(Scratch::new(900).as_ptr(), place);
        assert_eq!(Scratch::new(900).len(), 900);
    }
}
