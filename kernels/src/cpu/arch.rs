//! The instruction set that kernels use.

use pulp::Arch;

/// Returns the best instruction set of this processor.
#[cfg(not(test))]
#[inline]
pub(super) fn arch() -> Arch {
    Arch::new()
}

#[cfg(test)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Arch>> = const { std::cell::Cell::new(None) };
}

/// Returns the best instruction set of this processor, or the one that [`with`] chose.
#[cfg(test)]
pub(super) fn arch() -> Arch {
    CHOSEN.get().unwrap_or_default()
}

/// Runs `work` with kernels that this thread starts on another instruction set.
#[cfg(test)]
pub(super) fn with<T>(arch: Arch, work: impl FnOnce() -> T) -> T {
    let before = CHOSEN.replace(Some(arch));
    let result = work();
    CHOSEN.set(before);
    result
}

/// Returns the instruction sets of this processor that multiply and add without rounding between.
#[cfg(test)]
pub(super) fn fused() -> Vec<Arch> {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = pulp::x86::V3::try_new().map(Arch::V3);
        let avx512 = pulp::x86::V4::try_new().map(Arch::V4);
        avx2.into_iter().chain(avx512).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    vec![Arch::new()]
}
