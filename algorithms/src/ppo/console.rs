//! The columns of PPO on the console.

use rekindle_metrics::{ConsoleColumn, Format};

/// Returns the columns for PPO: progress, losses, and shares of the time.
///
/// | column | metric |
/// |---|---|
/// | `steps`, `steps/s` | environment steps so far, and per second |
/// | `return`, `min`, `max`, `ep len` | returns and lengths of the latest episodes (100 by default) |
/// | `pi loss`, `vf loss`, `kl`, `entropy` | losses, divergence and entropy of the last update; the mean over the modules that were trained |
/// | `env/inf/con/lrn %` | shares of the time: environments, inference (forward passes of acting), connectors, learner |
///
/// ```
/// use rekindle_algorithms::ppo;
/// use rekindle_metrics::ConsoleSink;
///
/// let console = ConsoleSink::stdout().columns(ppo::console_columns());
/// ```
#[must_use]
pub fn console_columns() -> Vec<ConsoleColumn> {
    use Format::{Fixed, Short};
    let column =
        |label: &str, name: &str, format| ConsoleColumn::mean_over(label, "learners", name, format);
    let mut columns = ConsoleColumn::progress();
    let time = columns.pop();
    columns.extend([
        column("pi loss", "policy_loss", Short(3)),
        column("vf loss", "vf_loss", Short(3)),
        column("kl", "mean_kl_loss", Fixed(4)),
        column("entropy", "entropy", Fixed(3)),
    ]);
    columns.extend(time);
    columns
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rekindle_metrics::{ConsoleSink, Metrics, Sink};

    use super::*;

    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn losses_of_several_modules_are_averaged() {
        let terminal = Terminal::default();
        let mut sink = ConsoleSink::new(Box::new(terminal.clone()), console_columns());
        let metrics: Metrics = [
            ("learners/left/policy_loss", 1.0),
            ("learners/right/policy_loss", 2.0),
            ("learners/right/vf_loss", 4.0),
            ("learners/__all_modules__/num_module_steps_trained", 9.0),
        ]
        .into_iter()
        .collect();
        sink.write(0, &metrics).unwrap();
        let printed = String::from_utf8(terminal.0.lock().unwrap().clone()).unwrap();
        let last = printed.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        let dashes = ["-"; 6];
        assert_eq!(last, [&["0"], &dashes[..], &["1.5", "4", "-", "-", "-"]].concat(), "{printed}");
    }

    #[test]
    fn losses_stand_between_progress_and_time() {
        let terminal = Terminal::default();
        let mut sink = ConsoleSink::new(Box::new(terminal.clone()), console_columns());
        let metrics: Metrics = [
            ("env_runners/num_env_steps_sampled_lifetime", 12_288.0),
            ("learners/default_policy/policy_loss", -0.012_34),
            ("learners/default_policy/vf_loss", 8_123.4),
            ("learners/default_policy/mean_kl_loss", 0.004_21),
            ("learners/default_policy/entropy", 0.611_2),
            ("env_runners/env_step_timer", 0.6),
            ("timers/learner_update_timer", 0.2),
        ]
        .into_iter()
        .collect();
        sink.write(3, &metrics).unwrap();
        let expected = "  \
  iter    steps  steps/s   return      min      max   ep len  pi loss  vf loss       kl  entropy  env/inf/con/lrn %
     3    12.3k        -        -        -        -        -  -0.0123    8.12k   0.0042    0.611          75/0/0/25
";
        assert_eq!(String::from_utf8(terminal.0.lock().unwrap().clone()).unwrap(), expected);
    }
}
