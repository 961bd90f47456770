//! Jobs of MPI, each under a time limit.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a job may take at most.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_rekindle-mpi");

/// A running job.
pub(crate) struct Job {
    child: Child,
    output: Option<thread::JoinHandle<String>>,
    errors: Option<thread::JoinHandle<String>>,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Returns `mpirun` for a number of processes. It may start more of them than there are cores, and as root in a
/// container.
pub(crate) fn mpirun(processes: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &processes.to_string()]);
    settings(&mut command);
    command
}

/// Sets what `mpirun` needs in a container.
pub(crate) fn settings(command: &mut Command) {
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_mpi_yield_when_idle", "1"),
        // Containers forbid reading the memory of other processes.
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        // As the launch wrapper sets them.
        ("OMPI_MCA_btl_vader_eager_limit", "131072"),
        ("OMPI_MCA_btl_vader_max_send_size", "131072"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("RUST_BACKTRACE", "0"),
    ] {
        command.env(name, value);
    }
}

fn read(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Job {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (output, errors) =
            (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
        Self { child, output: Some(output), errors: Some(errors) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to `mpirun` or the script that this test started.
    pub(crate) fn signal(&self, signal: &str) {
        send(self.id(), signal);
    }

    /// Returns the id of the process with a rank, below the process that this test started.
    pub(crate) fn rank(&self, rank: usize) -> u32 {
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
        wait_for("a rank", || {
            let mut all = vec![self.id()];
            let mut next = 0;
            while next < all.len() {
                all.extend(children(all[next]));
                next += 1;
            }
            all.into_iter().find(|id| {
                let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
            })
        })
    }

    /// Waits until the job ends. Fails if it takes longer than the limit.
    pub(crate) fn end(self) -> Ended {
        self.end_within(LIMIT)
    }

    pub(crate) fn end_within(mut self, limit: Duration) -> Ended {
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if asked.elapsed() > limit {
                send(self.id(), "TERM");
                thread::sleep(Duration::from_secs(3));
                let _ = self.child.kill();
                let (output, errors) = self.texts();
                panic!("the job hangs\n{output}\n{errors}");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let (output, errors) = self.texts();
        Ended { code: status.code(), output, errors }
    }

    fn texts(&mut self) -> (String, String) {
        let text = |thread: Option<thread::JoinHandle<String>>| thread.unwrap().join().unwrap();
        (text(self.output.take()), text(self.errors.take()))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Also if the test fails. `mpirun` ends its processes.
        if let Ok(None) = self.child.try_wait() {
            send(self.id(), "TERM");
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Fails unless the job has succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.output, self.errors);
        self
    }
}

pub(crate) fn send(id: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status();
    assert!(sent.unwrap().success(), "{signal} to {id}");
}

fn children(id: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a function of this test program in several processes.
pub(crate) fn in_processes(processes: usize, test: &str, folder: &Path) -> Job {
    let mut command = mpirun(processes);
    command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
    command.env(FOLDER, folder);
    Job::start(command)
}

/// The folder that processes of a test share. They do nothing without it.
const FOLDER: &str = "REKINDLE_TEST_MPI_FOLDER";

pub(crate) fn folder() -> Option<std::path::PathBuf> {
    std::env::var_os(FOLDER).map(Into::into)
}
