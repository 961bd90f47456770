//! Destinations of the results of training.

use rekindle_metrics::{Metrics, OrWarn, Sink};

use super::Algorithm;

/// The sinks of an algorithm. They are flushed when the algorithm is dropped.
#[derive(Default)]
pub(super) struct Sinks(Vec<OrWarn<Box<dyn Sink>>>);

impl Sinks {
    /// Passes a result to every sink. A sink that fails warns.
    pub(super) fn write(&mut self, iteration: u64, result: &Metrics) {
        for sink in &mut self.0 {
            // `OrWarn` has reported the error.
            let _ = sink.write(iteration, result);
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for sink in &mut self.0 {
            let _ = sink.flush();
        }
    }
}

impl Algorithm {
    /// Adds a sink, which receives the result of every later [`train`](Algorithm::train).
    ///
    /// Sinks see the result after the hook `on_train_result`, in the order in which they were added. A
    /// sink that fails, for example on a full disk, warns, receives the next result, and does not end
    /// training. Checkpoints hold no sinks: add them again after
    /// [`from_checkpoint`](Algorithm::from_checkpoint). To continue a file, open it with
    /// [`JsonlSink::append`](rekindle_metrics::JsonlSink::append).
    ///
    /// ```no_run
    /// use burn::prelude::Device;
    /// use rekindle_algorithms::PpoConfig;
    /// use rekindle_metrics::{ConsoleSink, JsonlSink};
    ///
    /// let mut algo = PpoConfig::new()
    ///     .environment("CartPole-v1")
    ///     .build(&Device::flex())?
    ///     .with_sink(ConsoleSink::stdout())
    ///     .with_sink(JsonlSink::create("metrics.jsonl")?);
    /// algo.train()?; // Prints a line and writes another one to the file.
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    #[must_use]
    pub fn with_sink(mut self, sink: impl Sink + 'static) -> Self {
        let sink: Box<dyn Sink> = Box::new(sink);
        self.sinks.0.push(sink.or_warn());
        self
    }
}
