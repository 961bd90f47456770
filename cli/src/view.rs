//! `rekindle view`: a page about all runs, from a small server on this machine.
//!
//! The server reads files as data and runs no code from them. By default it listens on a loopback address. Requests
//! with a foreign `Host` are then refused, so pages of other sites cannot read the runs.

mod api;
mod runs;
mod server;
#[cfg(test)]
mod tests;
mod videos;

use std::net::TcpListener;

use crate::args::ViewArgs;
use crate::error::{CliError, Result};
use crate::output::{self, say};

pub(crate) fn run(args: &ViewArgs) -> Result<()> {
    if !args.runs.is_dir() {
        let message = format!(
            "`{}` is not a directory; name the one with the folders of runs, which `rekindle train` creates",
            args.runs.display()
        );
        return Err(CliError::Failed(message));
    }
    let listener = TcpListener::bind((args.address, args.port)).map_err(|error| {
        let free = "; choose another port with --port, or --port 0";
        CliError::Failed(format!("cannot listen on {}:{}: {error}{free}", args.address, args.port))
    })?;
    let address = listener.local_addr().map_err(|error| CliError::Failed(error.to_string()))?;
    say!("http://{address}")?;
    // People and programs read the address while the server runs.
    output::flush()?;
    server::serve(&listener, &args.runs)
        .map_err(|error| CliError::Failed(format!("the server stopped: {error}")))
}
