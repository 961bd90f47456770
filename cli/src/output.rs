//! Standard output and standard error, whose readers may end before the program: `rekindle list | head`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use crate::error::{CliError, Result};

/// Prints a line to standard output. A reader that has ended is no failure, because it reads as much as it wants.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::print_line(format_args!($($text)*)) };
}

/// Prints a line to standard error, if it is read.
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::tell_line(format_args!($($text)*)) };
}

pub(crate) use {say, tell};

pub(crate) fn print_line(text: fmt::Arguments<'_>) -> Result<()> {
    check(writeln!(io::stdout(), "{}", visible(&text.to_string())))
}

/// Prints text as it is, for programs. It ends with a line break.
pub(crate) fn print(text: &str) -> Result<()> {
    check(io::stdout().write_all(text.as_bytes()))
}

pub(crate) fn flush() -> Result<()> {
    check(io::stdout().flush())
}

fn check(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CliError::Failed(format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

pub(crate) fn tell_line(text: fmt::Arguments<'_>) {
    // Nobody is left to be told about an error.
    let _ = writeln!(io::stderr(), "{}", visible(&text.to_string()));
}

/// Returns text with its control characters as escapes. Names in a run folder may come from anybody, and a terminal
/// executes control sequences.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_hidden) {
        return text.into();
    }
    let shown = text.chars().map(|c| match is_hidden(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    shown.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_other_text_is_unchanged() {
        assert_eq!(visible("a\tb\nü …"), "a\tb\nü …");
        assert_eq!(visible("\u{1b}[2J\r\u{9b}x\u{7f}"), "\\u{1b}[2J\\r\\u{9b}x\\u{7f}");
    }

    #[test]
    fn a_reader_that_has_ended_is_no_failure_and_a_full_disk_is() {
        assert!(check(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        let message = check(Err(io::ErrorKind::StorageFull.into())).unwrap_err().to_string();
        assert!(message.starts_with("cannot write to standard output: "), "{message}");
    }
}
