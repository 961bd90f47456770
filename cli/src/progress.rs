//! The output of training: a line per iteration, and a progress bar.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rekindle::algorithms::{Algorithm, RunConfig};
use rekindle::metrics::{ConsoleColumn, ConsoleSink, Metrics, MetricsError, Sink};

use crate::args::Output;
use crate::output::tell;

/// The shortest time between two lines. A fast algorithm runs a hundred iterations per second.
const PAUSE: Duration = Duration::from_millis(500);

/// The time between two pictures of the bar during an iteration.
const TICK: Duration = Duration::from_millis(250);

/// The progress of a run on the terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts a progress bar, which is shown only on a terminal.
    pub(crate) fn start(algorithm: &Algorithm, run: &RunConfig, output: Output) -> Self {
        let target = match output.quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let (length, template) = match (run.max_env_steps, run.max_iterations) {
            (Some(steps), _) => (Some(steps), "{wide_bar} {human_pos}/{human_len} steps{left}"),
            (None, Some(iterations)) => {
                (Some(iterations), "{wide_bar} {human_pos}/{human_len} iterations{left}")
            }
            (None, None) => (None, "{spinner} {human_pos} steps, {elapsed}"),
        };
        let bar = ProgressBar::with_draw_target(length, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key(
                "left",
                |state: &ProgressState, text: &mut dyn fmt::Write| {
                    // A picture that cannot be written is not drawn.
                    let _ = text.write_str(&time_left(state.eta()));
                },
            ));
        }
        let progress = Self { bar };
        progress.bar.set_position(position(algorithm, run));
        // Estimate the time left from the speed of this program, not of the run before a resume.
        progress.bar.reset_eta();
        if !progress.bar.is_hidden() {
            // An iteration may take minutes.
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    /// Prints a line to standard error, above the bar.
    pub(crate) fn tell(&self, line: &str) {
        self.bar.suspend(|| tell!("{line}"));
    }

    /// Returns a function that prints a line to standard error, above the bar.
    pub(crate) fn teller(&self, line: &'static str) -> impl FnOnce() + Send + 'static + use<> {
        let bar = self.bar.clone();
        move || bar.suspend(|| tell!("{line}"))
    }

    /// Returns the sink that prints iterations, or `None` if iterations are not printed.
    pub(crate) fn lines(&self, algorithm: &Algorithm, output: Output) -> Option<impl Sink + use<>> {
        let columns = columns(algorithm);
        let is_shown = output.verbose || (!output.quiet && io::stdout().is_terminal());
        let pause = if output.verbose { Duration::ZERO } else { PAUSE };
        let writer = Box::new(Above(self.bar.clone()));
        is_shown.then(|| Lines { console: ConsoleSink::new(writer, columns), pause, last: None })
    }

    pub(crate) fn update(&self, algorithm: &Algorithm, run: &RunConfig) {
        self.bar.set_position(position(algorithm, run));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Describes an estimate of the time left. It is 0 before the first iteration, when nothing is known.
fn time_left(estimate: Duration) -> String {
    match estimate {
        Duration::ZERO => String::new(),
        _ => format!(", {:#} left", HumanDuration(estimate)),
    }
}

fn position(algorithm: &Algorithm, run: &RunConfig) -> u64 {
    match (run.max_env_steps, run.max_iterations) {
        (None, Some(iterations)) => algorithm.iteration().min(iterations),
        (Some(steps), _) => algorithm.env_steps().min(steps),
        (None, None) => algorithm.env_steps(),
    }
}

fn columns(algorithm: &Algorithm) -> Vec<ConsoleColumn> {
    use rekindle::metrics::Format::Short;
    let mut columns = match algorithm.execution_plan().learns_offline() {
        true => ConsoleColumn::learning(),
        false => ConsoleColumn::progress(),
    };
    let evaluation = "evaluation/env_runners/episode_return_mean";
    let place = columns.len().saturating_sub(1);
    let estimation = algorithm.config().evaluation.off_policy_estimation.as_ref();
    for estimator in estimation.iter().flat_map(|estimation| estimation.methods.iter().rev()) {
        let group = "evaluation/off_policy_estimation";
        let (label, name) = (estimator.name(), estimator.name());
        columns.insert(place, ConsoleColumn::mean_over(label, group, name, Short(4)));
    }
    columns.insert(place, ConsoleColumn::new("eval", evaluation, Short(4)));
    columns.insert(place, ConsoleColumn::mean_over("loss", "learners", "total_loss", Short(3)));
    columns
}

/// Prints iterations, with a pause between two lines so that they can be read.
struct Lines {
    console: ConsoleSink,
    pause: Duration,
    last: Option<Instant>,
}

impl Sink for Lines {
    fn write(&mut self, iteration: u64, metrics: &Metrics) -> Result<(), MetricsError> {
        if self.last.is_some_and(|last| last.elapsed() < self.pause) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        self.console.write(iteration, metrics)
    }

    fn flush(&mut self) -> Result<(), MetricsError> {
        self.console.flush()
    }
}

/// Standard output above the progress bar.
struct Above(ProgressBar);

impl Write for Above {
    /// Training goes on if nobody reads the lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.suspend(|| io::stdout().write(bytes)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_about_the_time_left_before_it_is_known() {
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::hidden());
        assert_eq!(time_left(bar.eta()), "");
        assert_eq!(time_left(Duration::from_secs(45)), ", 45s left");
    }
}
