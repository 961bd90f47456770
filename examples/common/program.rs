//! The start of a program: its arguments, and where warnings go.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing_subscriber::filter::LevelFilter;

/// Prints warnings to standard error, such as that of an environment that failed and was restarted.
///
/// rekindle reports them as events of the crate `tracing`. A program shows events by a subscriber.
#[allow(dead_code, reason = "tests call the functions of examples without `main`")]
pub(crate) fn show_warnings() {
    // Fails if the program already has a subscriber, which then shows the warnings.
    let _ = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .try_init();
}

/// Answers `--help` with `about` and refuses any argument, for an example that has none.
#[allow(dead_code, reason = "some examples have arguments, and tests call no `main`")]
pub(crate) fn no_arguments(name: &'static str, about: &'static str) {
    clap::Command::new(name).about(about).get_matches();
}

/// Standard output above a progress bar, for a `ConsoleSink`.
#[allow(dead_code, reason = "some examples have no progress bar")]
pub(crate) struct Above(pub(crate) ProgressBar);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
