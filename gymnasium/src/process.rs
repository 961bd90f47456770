//! The process of a worker: start, messages, output and end.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{GymnasiumError, Result};
use crate::interpreter::Interpreter;
use crate::messages::Message;

/// The program of a worker.
const PROGRAM: &str = concat!(
    include_str!("worker/worker.py"),
    include_str!("worker/environments.py"),
    include_str!("worker/native.py"),
    include_str!("worker/start.py"),
);

/// Runs the program that comes first on standard input, after a line with its length. What follows is for the program
/// only: environments find an empty standard input.
const BOOT: &str = "import os; REQUESTS = os.fdopen(os.dup(0), 'rb'); \
    exec(compile(REQUESTS.read(int(REQUESTS.readline())), 'rekindle_worker.py', 'exec'))";

/// The longest message.
const MAX_MESSAGE: u64 = 16 << 20;
/// The largest picture in bytes.
const MAX_FRAME: usize = 256 << 20;
/// Messages that wait to be read. A worker that sends more waits.
const MAX_MESSAGES: usize = 4096;
/// Bytes of output that an error shows.
const TAIL: usize = 2000;
/// How long to wait for the end of a worker's output.
const OUTPUT_WAIT: Duration = Duration::from_millis(200);
/// Interval between checks whether a worker that sends nothing still runs.
const LIVENESS: Duration = Duration::from_millis(100);
/// Interval between checks whether a worker has ended.
const POLL: Duration = Duration::from_millis(1);

/// A running worker process. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Result<Message, String>>,
    output: Output,
}

impl Process {
    /// Starts a worker. Its output is passed on to standard error if `show_output`.
    ///
    /// # Errors
    /// [`GymnasiumError::Interpreter`] if the interpreter cannot be started.
    pub(crate) fn start(interpreter: &Interpreter, show_output: bool) -> Result<Self> {
        let failed = |source| GymnasiumError::Interpreter {
            python: interpreter.name(),
            origin: interpreter.origin,
            source,
        };
        let mut command = Command::new(&interpreter.program);
        command.args(["-u", "-c", BOOT]).env("PYGAME_HIDE_SUPPORT_PROMPT", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Several workers share the cores already.
        for threads in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
            if std::env::var_os(threads).is_none() {
                command.env(threads, "1");
            }
        }
        let mut child = spawn(command).map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let (sender, messages) = sync_channel(MAX_MESSAGES);
        named_thread(move || read_messages(stdout, &sender)).map_err(failed)?;
        let output = Output::follow(stderr, show_output).map_err(failed)?;
        let mut process = Self { child, stdin, messages, output };
        let sent = writeln!(process.stdin, "{}", PROGRAM.len())
            .and_then(|()| process.stdin.write_all(PROGRAM.as_bytes()));
        match sent {
            Ok(()) => Ok(process),
            Err(_) => Err(process.ended()),
        }
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line.
    ///
    /// # Errors
    /// [`GymnasiumError::Exited`] if the worker has ended.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(message)
            .map_err(|error| GymnasiumError::protocol(error.to_string()))?;
        line.push(b'\n');
        self.stdin.write_all(&line).map_err(|_| self.ended())
    }

    /// Sends a line without content, which a worker with pipes waits for.
    ///
    /// # Errors
    /// [`GymnasiumError::Exited`] if the worker has ended.
    pub(crate) fn wake(&mut self) -> Result<()> {
        self.stdin.write_all(b"null\n").map_err(|_| self.ended())
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// [`GymnasiumError::Exited`], [`GymnasiumError::TimedOut`] or [`GymnasiumError::Protocol`]. The
    /// worker is killed.
    pub(crate) fn receive(&mut self, deadline: &Deadline) -> Result<Message> {
        loop {
            // A program that an environment started may hold the pipe open after the end of the worker. What the worker
            // sent before is read first.
            let has_ended = self.has_ended();
            match self.messages.recv_timeout(deadline.left().min(LIVENESS)) {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(reason)) => return Err(GymnasiumError::Protocol { reason }),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if has_ended => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) if deadline.left().is_zero() => {
                    return Err(self.timed_out(deadline));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Returns whether the worker has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the worker has ended, but not beyond `end`.
    pub(crate) fn wait_until(&mut self, end: Instant) {
        while !self.has_ended() && Instant::now() < end {
            thread::sleep(POLL);
        }
    }

    /// Kills the worker and returns the timeout error.
    pub(crate) fn timed_out(&mut self, deadline: &Deadline) -> GymnasiumError {
        let _ = self.kill();
        let (task, seconds) = (deadline.task, deadline.limit.as_secs_f64());
        GymnasiumError::TimedOut { task, seconds, output: self.output.tail() }
    }

    /// Returns the error of a worker that closed its pipes. If it still runs, it is killed.
    pub(crate) fn ended(&mut self) -> GymnasiumError {
        // A worker that exits closes its pipes a moment before.
        self.wait_until(Instant::now() + OUTPUT_WAIT);
        match self.kill() {
            Ok(status) => GymnasiumError::Exited { status, output: self.output.tail() },
            Err(error) => GymnasiumError::protocol(format!("its end is unknown: {error}")),
        }
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        // Fails if the worker has ended already.
        let _ = self.child.kill();
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// How long a worker may take for a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    end: Instant,
    limit: Duration,
    task: &'static str,
}

impl Deadline {
    /// Begins a task, such as `step`.
    pub(crate) fn new(task: &'static str, limit: Duration) -> Self {
        let now = Instant::now();
        // A limit that overflows the clock is no limit.
        let end = now.checked_add(limit).unwrap_or(now + Duration::from_secs(1 << 32));
        Self { end, limit, task }
    }

    pub(crate) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// The end of what a worker prints.
#[derive(Debug)]
struct Output {
    tail: Arc<Mutex<VecDeque<u8>>>,
    /// Disconnected when the output has ended.
    end: Receiver<()>,
}

impl Output {
    /// Reads the output on its own thread, so that a full pipe never blocks the worker.
    fn follow(mut stderr: impl Read + Send + 'static, show: bool) -> io::Result<Self> {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (running, end) = channel::<()>();
        let kept = Arc::clone(&tail);
        named_thread(move || {
            let _running = running;
            let mut bytes = [0; 8192];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                if show {
                    // Keep draining the worker's output even if standard error is closed.
                    let _ = io::stderr().write_all(&bytes[..count]);
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&bytes[..count]);
                let excess = kept.len().saturating_sub(TAIL);
                kept.drain(..excess);
            }
        })?;
        Ok(Self { tail, end })
    }

    /// Returns the last lines. Call it after the end of the worker.
    fn tail(&self) -> String {
        let _ = self.end.recv_timeout(OUTPUT_WAIT);
        let tail: Vec<u8> = {
            let kept = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().copied().collect()
        };
        String::from_utf8_lossy(&tail).trim().to_owned()
    }
}

fn read_messages(stdout: impl Read, sender: &SyncSender<Result<Message, String>>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdout.by_ref().take(MAX_MESSAGE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let message = match line.last() {
            Some(b'\n') => serde_json::from_slice(&line)
                .map_err(|error| format!("a message is not understood: {error}"))
                .and_then(|message| with_pixels(message, &mut stdout)),
            _ => Err("a message is too long or has no end".to_owned()),
        };
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}

/// Reads the bytes of a picture, which follow its message.
fn with_pixels(mut message: Message, stdout: &mut impl Read) -> Result<Message, String> {
    if let Message::Frame { height, width, pixels, .. } = &mut message {
        let bytes = height.checked_mul(*width).and_then(|pixels| pixels.checked_mul(3));
        let bytes = bytes.filter(|&bytes| bytes <= MAX_FRAME);
        let bytes = bytes.ok_or_else(|| format!("a picture has {height} x {width} pixels"))?;
        let read = stdout.take(bytes as u64).read_to_end(pixels);
        if read.is_err() || pixels.len() != bytes {
            return Err("a picture has no end".to_owned());
        }
    }
    Ok(message)
}

fn named_thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("rekindle-gymnasium".to_owned()).spawn(work).map(drop)
}

type Request = (Command, SyncSender<io::Result<Child>>);

/// Starts a program from a thread that never ends.
///
/// Linux ends workers with the thread that started them, not with its process.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        // Without the thread, sending fails below.
        let _ = named_thread(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, answered) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts workers could not be started");
    spawner.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &[u8]) -> Vec<Result<Message, String>> {
        let (sender, receiver) = sync_channel(16);
        read_messages(text, &sender);
        drop(sender);
        receiver.into_iter().collect()
    }

    #[test]
    fn reading_stops_at_the_first_line_that_is_no_message() {
        let read = messages(b"{\"kind\":\"mapped\"}\nhello\n{\"kind\":\"mapped\"}\n");
        assert!(matches!(read.as_slice(), [Ok(Message::Mapped), Err(_)]), "{read:?}");
        let read = messages(b"{\"kind\":\"mapped\"}");
        assert!(matches!(read.as_slice(), [Err(reason)] if reason.contains("no end")), "{read:?}");
        assert!(messages(b"").is_empty());
    }

    #[test]
    fn the_bytes_of_a_picture_follow_its_message() {
        let line = |size: &str| format!("{{\"kind\":\"frame\",{size},\"fps\":30}}\n");
        let whole = line("\"height\":1,\"width\":2") + "abcdef{\"kind\":\"mapped\"}\n";
        let read = messages(whole.as_bytes());
        let [Ok(Message::Frame { pixels, .. }), Ok(Message::Mapped)] = read.as_slice() else {
            panic!("{read:?}");
        };
        assert_eq!(pixels, b"abcdef");
        for size in ["\"height\":9,\"width\":9", "\"height\":99999999999,\"width\":99999999999"] {
            let read = messages((line(size) + "abc").as_bytes());
            assert!(matches!(read.as_slice(), [Err(reason)] if reason.contains("picture")));
        }
    }

    #[test]
    fn only_the_end_of_a_flood_is_kept() {
        let flood = "x".repeat(100_000) + "\nlast line\n";
        let output = Output::follow(io::Cursor::new(flood), false).unwrap();
        let tail = output.tail();
        assert!(tail.ends_with("x\nlast line") && tail.len() <= TAIL, "{}", tail.len());
    }

    fn interpreter(program: &str) -> Interpreter {
        Interpreter { program: program.into(), origin: "option `python`", search_path: Vec::new() }
    }

    #[test]
    fn an_interpreter_that_does_not_exist_is_named_with_where_it_comes_from() {
        let interpreter = interpreter("no-such-python");
        let message = Process::start(&interpreter, false).unwrap_err().to_string();
        assert!(message.contains("`no-such-python` (option `python`)"), "{message}");
        assert!(message.contains("install Python"), "{message}");
    }

    #[test]
    fn a_program_that_is_no_python_ends_with_its_output() {
        let interpreter = interpreter("false");
        let error = Process::start(&interpreter, false)
            .and_then(|mut process| process.receive(&Deadline::new("start", Duration::MAX)));
        assert!(matches!(error, Err(GymnasiumError::Exited { .. })), "{error:?}");
    }
}
