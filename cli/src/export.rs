//! `rekindle export`.

use rekindle::algorithms::Algorithm;
use rekindle::core::device::DeviceSpec;

use crate::args::ExportArgs;
use crate::error::{CliError, Result};
use crate::run_path::checkpoint_at;

pub(crate) fn run(args: &ExportArgs) -> Result<()> {
    let path = checkpoint_at(&args.path, args.best)?;
    if args.out.exists() {
        let message = format!("{} exists; name a new directory with --out", args.out.display());
        return Err(CliError::Usage(message));
    }
    let algorithm = Algorithm::restore(&path, &DeviceSpec::Cpu.open()?)?;
    algorithm.policy_bundle_of(&args.module)?.save_to_path(&args.out)?;
    println!("{}", args.out.display());
    Ok(())
}
