//! A server of HTTP/1.1 for one page: GET, one request per connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::api;
use super::runs::RunList;

/// The largest head of a request.
const MAX_HEAD: u64 = 16 * 1024;
/// Limit of each read from and each write to a client.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of threads that answer requests. Browsers open up to six connections to a server, some of them unused.
const THREADS: usize = 16;
/// Maximum number of connections that wait for a thread. Further ones are refused.
const QUEUE: usize = 64;

/// The content security policy: only files of this server and no inline scripts, so names of runs cannot inject code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer to a request.
pub(super) struct Answer {
    pub(super) status: &'static str,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", kind, body: body.into() }
    }

    pub(super) fn error(status: &'static str, message: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: message.into() }
    }
}

/// Answers requests until the listener fails.
pub(super) fn serve(listener: &TcpListener, root: &Path) -> io::Result<()> {
    let is_local = listener.local_addr()?.ip().is_loopback();
    let runs = RunList::new(root);
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let answer = || answer_all(&receiver, &runs, is_local);
            thread::Builder::new().spawn_scoped(scope, answer)?;
        }
        // The threads end when the sender is dropped.
        let sender = sender;
        let mut is_full = false;
        loop {
            let (stream, _) = match listener.accept() {
                Ok(accepted) => accepted,
                // The client has disconnected, or the system has no file descriptor left.
                Err(error) if is_temporary(&error) => {
                    thread::sleep(Duration::from_millis(50));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match sender.try_send(stream) {
                Ok(()) => is_full = false,
                Err(TrySendError::Full(stream)) => {
                    // One warning for each time that all threads are taken.
                    if !std::mem::replace(&mut is_full, true) {
                        tracing::warn!("too many connections: requests are refused");
                    }
                    let _ = refuse(&stream);
                }
                // All threads have ended.
                Err(TrySendError::Disconnected(_)) => return Ok(()),
            }
        }
    })
}

/// Answers connections until no more can come.
fn answer_all(connections: &Mutex<Receiver<TcpStream>>, runs: &RunList, is_local: bool) {
    loop {
        let next = connections.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            // A client that disconnects is no failure.
            Ok(stream) => {
                let _ = handle(&stream, runs, is_local);
            }
            Err(_) => return,
        }
    }
}

fn refuse(stream: &TcpStream) -> io::Result<()> {
    // The thread that accepts connections does not wait for a client.
    stream.set_nonblocking(true)?;
    write_answer(stream, &Answer::error("503 Service Unavailable", "too many requests; try again"))
}

fn is_temporary(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // EMFILE and ENFILE.
    let is_full = matches!(error.raw_os_error(), Some(23 | 24));
    is_full || matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn handle(stream: &TcpStream, runs: &RunList, is_local: bool) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let answer = match read_request(stream)? {
        Some(request) if is_local && !request.has_local_host() => {
            Answer::error("403 Forbidden", "this page is for this machine only")
        }
        Some(request) if request.method != "GET" => {
            Answer::error("405 Method Not Allowed", "only GET is answered")
        }
        Some(request) => api::answer(&request.target, runs),
        None => Answer::error("400 Bad Request", "not a request of HTTP"),
    };
    write_answer(stream, &answer)
}

struct Request {
    method: String,
    target: String,
    host: String,
}

impl Request {
    /// Returns whether the request names a loopback address as its host. A foreign name that resolves to this machine
    /// would let another site read the answers.
    fn has_local_host(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

fn read_request(stream: &TcpStream) -> io::Result<Option<Request>> {
    let mut head = BufReader::new(stream).take(MAX_HEAD);
    let mut line = String::new();
    let mut read_line = |line: &mut String| {
        line.clear();
        match head.read_line(line) {
            Ok(_) => Ok(line.ends_with('\n')),
            // The bytes are not UTF-8.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(error),
        }
    };
    if !read_line(&mut line)? {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let mut host = String::new();
    loop {
        if !read_line(&mut line)? {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("host") => {
                host = value.trim().to_owned();
            }
            Some(_) => {}
            None if line.trim_end().is_empty() => {
                return Ok(Some(Request { method, target, host }));
            }
            None => return Ok(None),
        }
    }
}

fn write_answer(mut stream: &TcpStream, answer: &Answer) -> io::Result<()> {
    let Answer { status, kind, body } = answer;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()
}
