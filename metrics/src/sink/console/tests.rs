use std::sync::{Arc, Mutex};

use super::*;
use crate::sink::Format;

/// A writer whose text can be read while a sink owns it.
#[derive(Clone, Default)]
struct Terminal(Arc<Mutex<Vec<u8>>>);

impl Terminal {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sink(columns: Vec<ConsoleColumn>) -> (ConsoleSink, Terminal) {
    let terminal = Terminal::default();
    (ConsoleSink::new(Box::new(terminal.clone()), columns), terminal)
}

#[test]
fn lines_of_progress_are_aligned_and_short() {
    let (mut sink, terminal) = sink(ConsoleColumn::progress());
    let metrics: Metrics = [
        ("env_runners/num_env_steps_sampled_lifetime", 12_288.0),
        ("env_runners/num_env_steps_sampled_lifetime_throughput", 31_415.9),
        ("env_runners/episode_return_mean", 187.32),
        ("env_runners/episode_return_min", 9.0),
        ("env_runners/episode_return_max", 500.0),
        ("env_runners/episode_len_mean", 187.32),
        ("env_runners/env_step_timer", 0.4),
        ("env_runners/env_reset_timer", 0.2),
        ("env_runners/rlmodule_inference_timer", 0.2),
        ("timers/learner_update_timer", 0.2),
    ]
    .into_iter()
    .collect();
    sink.write(3, &metrics).unwrap();
    sink.write(4, &Metrics::new()).unwrap();
    let expected = "  \
  iter    steps  steps/s   return      min      max   ep len  env/inf/con/lrn %
     3    12.3k    31.4k    187.3        9      500    187.3         60/20/0/20
     4        -        -        -        -        -        -                  -
";
    assert_eq!(terminal.text(), expected);
}

#[test]
fn the_header_is_repeated_every_twenty_lines() {
    let (mut sink, terminal) = sink(vec![ConsoleColumn::new("loss", "loss", Format::Fixed(2))]);
    for iteration in 1..=41 {
        sink.write(iteration, &Metrics::new()).unwrap();
    }
    let text = terminal.text();
    let headers: Vec<usize> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("loss"))
        .map(|(index, _)| index)
        .collect();
    assert_eq!(headers, [0, 21, 42]);
}

#[test]
fn non_finite_values_are_shown() {
    let (mut sink, terminal) = sink(vec![
        ConsoleColumn::new("a", "a", Format::Fixed(2)),
        ConsoleColumn::new("b", "b", Format::Short(3)),
    ]);
    sink.write(1, &[("a", f64::NAN), ("b", f64::INFINITY)].into_iter().collect()).unwrap();
    assert!(terminal.text().ends_with("     1      NaN      inf\n"), "{}", terminal.text());
}
