//! Names for episodes.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns 32 hexadecimal digits that no other episode has: random for the process, counted within
/// it.
///
/// Ids are names, never data: nothing that is computed depends on them, so they need not repeat
/// with the seed.
pub(super) fn unique_id() -> String {
    static PROCESS: LazyLock<u64> =
        LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:016x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}
