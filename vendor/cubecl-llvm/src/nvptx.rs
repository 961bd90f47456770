//! PTX.

/// Versions of PTX.
pub mod ptx_version {
    use std::fmt;

    /// A version that LLVM would write for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PtxVersion(u32);

    impl PtxVersion {
        /// None: NVRTC knows which version the driver reads.
        #[must_use]
        pub fn for_driver(_version: i32) -> Option<Self> {
            None
        }
    }

    impl fmt::Display for PtxVersion {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "ptx{}", self.0)
        }
    }
}
