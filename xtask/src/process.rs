//! Running other programs. Each command is echoed first, and errors name it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// Interval between readings of a program's memory.
const POLL: Duration = Duration::from_millis(20);

/// Runs a program with inherited output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().map_err(|source| cannot_start(command, source))?;
    check(command, status)
}

/// Runs a program and returns its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    announce(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| cannot_start(command, source))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|error| Error::malformed(display(command), error))
}

/// Returns whether a program exists and succeeds. Its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Output and cost of a program.
#[derive(Debug)]
pub(crate) struct Observation {
    /// Exit status; a failure is not an error here.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// Duration from start to exit.
    pub(crate) wall: Duration,
    /// Peak memory in bytes, or `None` on systems other than Linux.
    pub(crate) peak_memory: Option<u64>,
}

/// Runs and measures a program, and passes on its standard output line by line.
pub(crate) fn observe(command: &mut Command) -> Result<Observation> {
    observe_with(command, pass_on)
}

/// Runs and measures a program without showing its standard output.
pub(crate) fn observe_silently(command: &mut Command) -> Result<Observation> {
    observe_with(command, |mut stdout| {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    })
}

fn observe_with(
    command: &mut Command,
    read: impl FnOnce(ChildStdout) -> io::Result<String> + Send,
) -> Result<Observation> {
    announce(command);
    let start = Instant::now();
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|source| cannot_start(command, source))?;
    let stdout = child.stdout.take();
    thread::scope(|scope| {
        let reader = scope.spawn(move || stdout.map_or(Ok(String::new()), read));
        let mut peak_memory = None;
        let status = loop {
            // The high-water mark never falls, so the last reading is the highest.
            peak_memory = read_peak_memory(child.id()).or(peak_memory);
            match child.try_wait().map_err(|source| cannot_start(command, source))? {
                Some(status) => break status,
                None => thread::sleep(POLL),
            }
        };
        let wall = start.elapsed();
        let stdout = reader
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
            .map_err(|error| Error::malformed(display(command), error))?;
        Ok(Observation { status, stdout, wall, peak_memory })
    })
}

/// Returns an error if a program failed.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { command: display(command), status })
}

/// Formats a command as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(program.as_os_str());
    let environment = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}={}", key.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let words = std::iter::once(name).chain(command.get_args());
    environment
        .chain(words.map(|word| quoted(&word.to_string_lossy())))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn announce(command: &Command) {
    eprintln!("$ {}", display(command));
}

fn cannot_start(command: &Command, source: io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn pass_on(stdout: impl Read) -> io::Result<String> {
    let mut text = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn read_peak_memory(process: u32) -> Option<u64> {
    parse_peak_memory(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// Reads the line `VmHWM:   1234 kB` of a process's status, in bytes.
fn parse_peak_memory(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_the_high_water_mark() {
        let status = "VmPeak:\t  9000 kB\nVmHWM:\t    1234 kB\nVmRSS:\t     900 kB\n";
        assert_eq!(parse_peak_memory(status), Some(1234 * 1024));
        assert_eq!(parse_peak_memory("Name:\tsh\n"), None);
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/some/where/cargo");
        command.args(["doc", "--title", "two words"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(display(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --title 'two words'");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().starts_with("cannot start `no-such-program-here`"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn observing_gives_output_status_and_memory() {
        let script = "echo one; sleep 0.1; echo two; exit 3";
        let seen = observe(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!((seen.stdout.as_str(), seen.status.code()), ("one\ntwo\n", Some(3)));
        assert!(seen.peak_memory.is_some_and(|bytes| bytes > 100 * 1024));
        assert!(seen.wall >= Duration::from_millis(100));
    }
}
