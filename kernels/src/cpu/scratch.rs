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
    /// Memory of results. It is apart from that of temporary buffers, because not all results are given back.
    static RESULTS: Pool<f32> = const { RefCell::new(Vec::new()) };
}

/// Returns a buffer with room for `len` elements, but not for more than `most`, from a pool, or an empty one.
fn take<T>(pool: &'static LocalKey<Pool<T>>, len: usize, most: usize) -> Vec<T> {
    let fits = |buffer: &Vec<T>| (len..=most).contains(&buffer.capacity());
    let found = pool.try_with(|pool| {
        let mut pool = pool.try_borrow_mut().ok()?;
        let index = pool.iter().rposition(fits)?;
        Some(pool.remove(index))
    });
    found.ok().flatten().unwrap_or_default()
}

/// Puts a buffer into a pool, instead of those that were not used for longest if the pool is full.
fn keep<T>(pool: &'static LocalKey<Pool<T>>, buffer: Vec<T>) {
    if buffer.capacity() == 0 || buffer.capacity() > MOST_ELEMENTS {
        return;
    }
    // The pool of a thread that is ending is gone; then the buffer is freed.
    let _ = pool.try_with(|pool| {
        let Ok(mut pool) = pool.try_borrow_mut() else { return };
        let mut kept: usize = pool.iter().map(Vec::capacity).sum();
        while pool.len() >= MOST_BUFFERS || kept + buffer.capacity() > MOST_ELEMENTS {
            kept -= pool.remove(0).capacity();
        }
        pool.push(buffer);
    });
}

/// An element of buffers.
pub(crate) trait Element: Copy + Default + 'static {
    /// What tests find in memory that was not written.
    const UNWRITTEN: Self;

    /// Returns the pool of a thread.
    fn pool() -> &'static LocalKey<Pool<Self>>;
}

impl Element for f32 {
    const UNWRITTEN: Self = Self::NAN;

    fn pool() -> &'static LocalKey<Pool<Self>> {
        &NUMBERS
    }
}

impl Element for usize {
    const UNWRITTEN: Self = Self::MAX;

    fn pool() -> &'static LocalKey<Pool<Self>> {
        &INDICES
    }
}

impl<T: Element> Pooled<T> {
    /// Returns a buffer with unspecified elements. Callers must write an element before they read it.
    pub(crate) fn new(len: usize) -> Self {
        let mut buffer = take(T::pool(), len, 2 * len);
        buffer.resize(len, T::default());
        if cfg!(test) {
            buffer.fill(T::UNWRITTEN);
        }
        Self(buffer)
    }

    /// Returns a buffer of the elements of an iterator, which are `len`.
    pub(crate) fn collect(len: usize, elements: impl Iterator<Item = T>) -> Self {
        let mut buffer = take(T::pool(), len, 2 * len);
        buffer.clear();
        buffer.extend(elements);
        Self(buffer)
    }
}

impl<T: Element> From<Vec<T>> for Pooled<T> {
    fn from(buffer: Vec<T>) -> Self {
        Self(buffer)
    }
}

impl<T: Element> Drop for Pooled<T> {
    fn drop(&mut self) {
        keep(T::pool(), std::mem::take(&mut self.0));
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

/// Smallest number of elements of a result that is worth a place in the pool.
const LEAST_RESULT: usize = 1 << 14;

/// Returns memory for a result of a kernel, with unspecified elements. Callers must write every element. The memory is
/// that of an earlier result, if one was [given back](give_back).
pub(crate) fn result(len: usize) -> Vec<f32> {
    let mut memory = match len < LEAST_RESULT {
        true => Vec::new(),
        false => take(&RESULTS, len, len + len / 4),
    };
    match memory.capacity() {
        0 => memory = vec![0.0; len],
        _ => memory.resize(len, 0.0),
    }
    if cfg!(test) {
        memory.fill(f32::UNWRITTEN);
    }
    memory
}

/// Keeps the memory of a result that is no longer needed.
#[cfg(feature = "flex")]
pub(crate) fn give_back(result: Vec<f32>) {
    if result.capacity() >= LEAST_RESULT {
        keep(&RESULTS, result);
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

    /// Buffers of sizes that nobody needs any more must not keep others out.
    #[test]
    fn a_full_pool_drops_what_was_not_used_for_longest() {
        let old: Vec<Scratch> = (0..MOST_BUFFERS).map(|_| Scratch::new(10)).collect();
        drop(old);
        let buffer = Scratch::new(1000);
        let place = buffer.as_ptr();
        drop(buffer);
        assert_eq!(Scratch::new(1000).as_ptr(), place);
        drop(Scratch::new(MOST_ELEMENTS));
        NUMBERS.with_borrow(|pool| {
            assert_eq!(pool.iter().map(Vec::capacity).collect::<Vec<_>>(), [MOST_ELEMENTS]);
        });
    }

    #[test]
    #[cfg(feature = "flex")]
    fn large_results_are_used_again() {
        let memory = result(LEAST_RESULT);
        let place = memory.as_ptr();
        give_back(memory);
        let again = result(LEAST_RESULT - LEAST_RESULT / 16);
        assert_eq!(again.len(), LEAST_RESULT - LEAST_RESULT / 16);
        assert_ne!(again.as_ptr(), place, "small results are not kept");
        let again = result(LEAST_RESULT);
        assert_eq!(again.as_ptr(), place);
    }
}
