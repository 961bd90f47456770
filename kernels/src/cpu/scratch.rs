//! Reuse of buffers.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// A temporary buffer of a kernel. A later kernel on the same thread reuses it.
///
/// Fresh memory would cost a training step as much as the arithmetic: it is zeroed, its pages are mapped
/// and unmapped, and it is not in the cache.
#[derive(Debug, Default)]
pub(crate) struct Pooled<T: Element>(Vec<T>);

/// A temporary buffer of numbers.
pub(crate) type Scratch = Pooled<f32>;

/// A temporary buffer of indices.
pub(crate) type Indices = Pooled<usize>;

/// Limits of what a thread keeps: the number of buffers, and of their elements together.
const MOST_BUFFERS: usize = 32;
const MOST_ELEMENTS: usize = 1 << 23;

/// The buffers that a thread keeps.
type Pool<T> = RefCell<Vec<Vec<T>>>;

thread_local! {
    static NUMBERS: Pool<f32> = const { RefCell::new(Vec::new()) };
    static INDICES: Pool<usize> = const { RefCell::new(Vec::new()) };
}

/// An element of buffers.
pub(crate) trait Element: Copy + Default + 'static {
    /// Returns the pool of a thread.
    fn pool() -> &'static LocalKey<Pool<Self>>;
}

impl Element for f32 {
    fn pool() -> &'static LocalKey<Pool<Self>> {
        &NUMBERS
    }
}

impl Element for usize {
    fn pool() -> &'static LocalKey<Pool<Self>> {
        &INDICES
    }
}

impl<T: Element> Pooled<T> {
    /// Returns a buffer with unspecified elements. Callers must write an element before they read it.
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.resize(len, T::default());
        Self(buffer)
    }

    /// Returns a buffer of the elements of an iterator, which are `len`.
    pub(crate) fn collect(len: usize, elements: impl Iterator<Item = T>) -> Self {
        let mut buffer = Self::take(len);
        buffer.clear();
        buffer.extend(elements);
        Self(buffer)
    }

    /// Returns a buffer with room for `len` elements from the pool, or an empty one.
    fn take(len: usize) -> Vec<T> {
        let fits = |buffer: &Vec<T>| (len..=2 * len).contains(&buffer.capacity());
        let found = T::pool().try_with(|pool| {
            let mut pool = pool.try_borrow_mut().ok()?;
            let index = pool.iter().rposition(fits)?;
            Some(pool.remove(index))
        });
        found.ok().flatten().unwrap_or_default()
    }
}

impl<T: Element> From<Vec<T>> for Pooled<T> {
    fn from(buffer: Vec<T>) -> Self {
        Self(buffer)
    }
}

impl<T: Element> Drop for Pooled<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 {
            return;
        }
        // The pool of a thread that is ending is gone; then the buffer is freed.
        let _ = T::pool().try_with(|pool| {
            let Ok(mut pool) = pool.try_borrow_mut() else { return };
            let kept: usize = pool.iter().map(Vec::capacity).sum();
            if pool.len() < MOST_BUFFERS && kept + buffer.capacity() <= MOST_ELEMENTS {
                pool.push(buffer);
            }
        });
    }
}

impl<T: Element> Deref for Pooled<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Element> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut [T] {
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
