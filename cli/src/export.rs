//! `rekindle export`.

use std::fs;
use std::path::Path;

use rekindle::algorithms::saved_algorithm;
use rekindle::checkpoint;
use rekindle::core::device::DeviceSpec;
use rekindle::env_runner::PolicyBundle;
use serde_json::json;

use crate::args::{ExportArgs, ExportFormat};
use crate::error::{CliError, Result};
use crate::output::say;
use crate::run_path::checkpoint_at;

pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    let path = checkpoint_at(&args.path, args.best)?;
    if args.out.exists() {
        let message = format!("`{}` exists; choose another name with --out", args.out.display());
        return Err(CliError::Usage(message));
    }
    let bundle = bundle_at(&path, args)?;
    match args.format {
        ExportFormat::Bundle => bundle.save_to_path(&args.out)?,
        ExportFormat::Onnx => write(&args.out, &bundle.to_onnx()?)?,
    }
    say!("{}", args.out.display())
}

/// Returns the policy of a checkpoint, or of a bundle.
fn bundle_at(path: &Path, args: &ExportArgs) -> Result<PolicyBundle> {
    let device = DeviceSpec::Cpu.open()?;
    let is_bundle = checkpoint::read_data(path)?.get("test_observations").is_some();
    if is_bundle {
        return Ok(PolicyBundle::from_checkpoint(path, &device)?);
    }
    let spec = saved_algorithm(path)?.allow_external_environments(args.allow_python);
    Ok(spec.restore(path, &json!({}), &device)?.policy_bundle_of(&args.module)?)
}

/// Writes a whole file, or none.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    fs::write(temporary, bytes)
        .and_then(|()| fs::rename(temporary, path))
        .map_err(CliError::io("write", path))
}
