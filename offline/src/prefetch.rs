//! Reading recorded data beside learning.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::source::{OfflineSource, Recorded};

/// Reads the parts of a source on a thread of its own, before they are needed.
///
/// [`read`](Self::read) returns what the source would: the thread affects speed, not results. Data that fit in memory
/// are kept instead, so that each part is decoded once. Sources in memory are read directly.
///
/// ```
/// use std::sync::Arc;
///
/// use rekindle_env::Space;
/// use rekindle_offline::{OfflineData, OfflineSource, Prefetch};
///
/// let data = OfflineData::new(Space::unbounded(&[2])?, Space::discrete(3)?);
/// let mut parts = Prefetch::new(Arc::new(data), 1000);
/// assert!(parts.read(0).is_err(), "there is no episode");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Prefetch {
    source: Arc<dyn OfflineSource>,
    reader: Option<Reader>,
    /// Parts that were asked for and not taken, in order.
    asked: VecDeque<usize>,
    /// Parts that stay in memory, if all of them fit.
    kept: Option<BTreeMap<usize, Recorded>>,
    times: PrefetchTimes,
}

/// Time spent on reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrefetchTimes {
    /// The caller waited for a part, or read it itself.
    pub waiting: Duration,
    /// Parts were read and decoded, on any thread.
    pub reading: Duration,
}

/// A thread that reads parts in the order in which they are asked for.
struct Reader {
    requests: Sender<usize>,
    /// In a mutex that nothing locks: execution plans may be shared between threads, and receivers may not.
    results: Mutex<Receiver<(Result<Recorded>, Duration)>>,
}

impl Reader {
    /// Starts the thread. It ends when the reader is dropped, after the part that it reads then.
    fn start(source: &Arc<dyn OfflineSource>) -> Option<Self> {
        let (requests, parts) = channel::<usize>();
        let (sender, results) = channel();
        let source = source.clone();
        let run = move || {
            for part in parts {
                let started = Instant::now();
                let recorded = source.read(part);
                if sender.send((recorded, started.elapsed())).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("rekindle-prefetch".into()).spawn(run);
        if let Err(error) = &thread {
            tracing::warn!(%error, "recorded data are read by the thread that learns");
        }
        thread.is_ok().then_some(Self { requests, results: results.into() })
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch")
            .field("source", &self.source)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

impl Prefetch {
    /// Creates a reader that keeps all parts if they have at most `limit` steps together.
    #[must_use]
    pub fn new(source: Arc<dyn OfflineSource>, limit: usize) -> Self {
        let keeps = !source.is_in_memory() && source.num_steps() <= limit;
        Self {
            source,
            reader: None,
            asked: VecDeque::new(),
            kept: keeps.then(BTreeMap::new),
            times: PrefetchTimes::default(),
        }
    }

    /// Returns the source.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn OfflineSource> {
        &self.source
    }

    /// Asks for parts in the order in which they will be read, instead of those that were asked for before and not
    /// read. Parts of both remain.
    pub fn ask(&mut self, parts: &[usize]) {
        if self.source.is_in_memory() {
            return;
        }
        let is_kept = |part: &usize| self.kept.as_ref().is_some_and(|kept| kept.contains_key(part));
        let parts: Vec<_> = parts.iter().copied().filter(|part| !is_kept(part)).collect();
        if !parts.iter().zip(&self.asked).all(|(new, old)| new == old) {
            self.forget();
        }
        for part in parts.into_iter().skip(self.asked.len()) {
            let reader = match self.reader.take() {
                Some(reader) => Some(reader),
                None => Reader::start(&self.source),
            };
            let Some(reader) = reader else { return };
            if reader.requests.send(part).is_ok() {
                self.asked.push_back(part);
            }
            self.reader = Some(reader);
        }
    }

    /// Returns a part: the next one that was asked for, or any other one, which is then read here.
    ///
    /// # Errors
    /// Those of [`OfflineSource::read`].
    pub fn read(&mut self, part: usize) -> Result<Recorded> {
        if let Some(recorded) = self.kept.as_ref().and_then(|kept| kept.get(&part)) {
            return Ok(recorded.clone());
        }
        let started = Instant::now();
        let recorded = match self.take(part) {
            Some((recorded, reading)) => {
                self.times.reading += reading;
                recorded
            }
            None => {
                let recorded = self.source.read(part);
                self.times.reading += started.elapsed();
                recorded
            }
        };
        self.times.waiting += started.elapsed();
        let recorded = recorded?;
        if let Some(kept) = &mut self.kept {
            kept.insert(part, recorded.clone());
        }
        Ok(recorded)
    }

    /// Returns the times since the last call.
    pub fn take_times(&mut self) -> PrefetchTimes {
        mem::take(&mut self.times)
    }

    /// Waits for a part if it is the next one that was asked for.
    fn take(&mut self, part: usize) -> Option<(Result<Recorded>, Duration)> {
        if self.asked.front() != Some(&part) {
            self.forget();
            return None;
        }
        self.asked.pop_front();
        let result =
            self.reader.as_mut().and_then(|reader| reader.results.get_mut().ok()?.recv().ok());
        if result.is_none() {
            // The source panicked there. It will do so here, too.
            self.forget();
        }
        result
    }

    fn forget(&mut self) {
        if !self.asked.is_empty() {
            self.reader = None;
            self.asked.clear();
        }
    }
}
