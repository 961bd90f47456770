//! The compiler that is never called, and what it would return.

use std::ffi::c_char;
use std::fmt;

use cubecl_environment::backtrace::BackTrace;
use cubecl_core::ir::nvidia::SmArch;
use cubecl_core::prelude::KernelDefinition;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

use crate::LlvmTarget;
use crate::nvptx::ptx_version::PtxVersion;

/// Refuses every kernel.
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    /// What it would compile for.
    pub target: LlvmTarget,
}

/// How it would compile.
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    /// Unused for CUDA.
    pub arch: Option<()>,
    /// The architecture of the GPU.
    pub sm_arch: Option<SmArch>,
    /// The version of PTX.
    pub ptx_version: Option<PtxVersion>,
    /// How launch parameters are passed.
    pub grid_constants: bool,
    /// Keeps `..Default::default()` in use, of which callers make some.
    pub rest: (),
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct NvptxModule {
    /// The text for the driver.
    pub ptx: Vec<c_char>,
    /// The name of its function.
    pub entrypoint: String,
    /// The text for people.
    pub ir: String,
    /// Bytes of shared memory.
    pub shared_memory_size: usize,
    /// What it does with its buffers.
    pub io: Vec<BufferIOAttr>,
}

/// What comes of compiling.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlironArtifact {
    /// PTX.
    NvptxCode(NvptxModule),
}

impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::NvptxCode(module) = self;
        f.write_str(&module.ir)
    }
}

impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;

    fn compile(
        &mut self,
        _kernel: KernelDefinition,
        _options: &Self::CompilationOptions,
    ) -> Result<Self::Representation, CompilationError> {
        let reason = "this build has no LLVM: it compiles kernels with NVRTC, by the feature `cpp` \
                      of cubecl-cuda (rekindle's feature `cuda`), which is off; to build with LLVM, \
                      take the patch of cubecl-llvm out of the workspace's Cargo.toml";
        Err(CompilationError::Generic { reason: reason.into(), backtrace: BackTrace::capture() })
    }

    fn extension(&self) -> &'static str {
        "ll"
    }

    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
