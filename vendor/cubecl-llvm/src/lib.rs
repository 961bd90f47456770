//! What `cubecl-cuda` names of `cubecl-llvm`, without LLVM behind it.
//!
//! `cubecl-cuda` links two compilers of kernels: CUDA C++ by NVRTC, which its feature `cpp` chooses,
//! and PTX by LLVM. The original of this crate fetches a prebuilt LLVM when it is built. A build that
//! has chosen NVRTC never calls it, so here are its types for that target only, and a compiler that
//! refuses. Names and fields follow version 0.11.3.
#![forbid(unsafe_code)]

mod compiler;
pub mod nvptx;

pub use shared::{NvptxModule, PlironArtifact, PlironCompiler, PlironOptions};

/// What the original compiles for, as far as CUDA is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlvmTarget {
    /// PTX for NVIDIA GPUs.
    #[default]
    Nvptx,
}

/// Types at their original place.
pub mod shared {
    pub use crate::compiler::{NvptxModule, PlironArtifact, PlironCompiler, PlironOptions};

    /// What a target cannot do.
    pub mod lowered_features {
        use cubecl_core::ir::DeviceProperties;

        /// A target.
        #[derive(Clone, Copy, Debug)]
        pub enum GpuTarget {
            /// PTX.
            Nvptx,
        }

        /// Takes back features that LLVM does not compile; NVRTC is asked for none of this.
        pub fn restrict_features(_properties: &mut DeviceProperties, _target: GpuTarget) {}
    }
}
