//! A switch from fused operations to compositions of plain ones, for debugging.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static EAGER: Cell<bool> = const { Cell::new(false) };
}

/// Whether operations on this thread are plain compositions; see [`scope`].
#[must_use]
pub fn is_eager() -> bool {
    EAGER.get()
}

/// Replaces fused operations on this thread by compositions of Burn's operations, until the returned scope
/// is dropped, if `eager` is true. Otherwise nothing changes.
///
/// Breakpoints and prints then see each operation and its result. Values and gradients agree with those of
/// the fused operations up to rounding. A graph that was recorded with fused operations keeps their
/// gradients.
///
/// ```
/// use rekindle_kernels::eager;
///
/// {
///     let _eager = eager::scope(true);
///     assert!(eager::is_eager());
///     let _inner = eager::scope(false);
///     assert!(eager::is_eager());
/// }
/// assert!(!eager::is_eager());
/// ```
#[must_use = "the scope ends when it is dropped"]
pub fn scope(eager: bool) -> Scope {
    let before = EAGER.get();
    EAGER.set(before || eager);
    Scope { before, of_this_thread: PhantomData }
}

/// The time in which operations on this thread may be eager; see [`scope`].
#[derive(Debug)]
pub struct Scope {
    before: bool,
    /// Keeps the scope on its thread.
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        EAGER.set(self.before);
    }
}
