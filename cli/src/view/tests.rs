use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::lines::spread_lines;

/// Serves a directory until the process of the test ends.
fn serve(root: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let root = root.to_owned();
    std::thread::spawn(move || server::serve(&listener, &root));
    address
}

/// Sends bytes and returns the answer's head and body.
fn send(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn get(address: SocketAddr, target: &str) -> (String, String) {
    send(address, &format!("GET {target} HTTP/1.1\r\nHost: localhost:1\r\n\r\n"))
}

fn json_at(address: SocketAddr, target: &str) -> Value {
    let (head, body) = get(address, target);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

fn run(root: &Path, name: &str, config: &str, metrics: &str) {
    let folder = root.join(name);
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    fs::write(folder.join("config.toml"), config).unwrap();
    fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
}

const CONFIG: &str = "algorithm = \"PPO\"\n[environment]\nenv = \"CartPole-v1\"\n[debugging]\nseed = 7\n[training]\nminibatch_size = \"none\"\n";

#[test]
fn runs_curves_and_settings_are_answered() {
    let root = tempfile::tempdir().unwrap();
    run(
        root.path(),
        "ppo/a",
        CONFIG,
        "{\"x\":1,\"y\":2}\n{\"x\":2,\"y\":null}\n{\"x\":NaN,\"y\":NaN}\n\u{0}\n{\"y\":1}\n{\"x\":3",
    );
    run(root.path(), "ppo/b", "not toml", "");
    let address = serve(root.path());
    let runs = json_at(address, "/api/runs");
    assert_eq!(runs[0]["name"], "ppo/a");
    assert_eq!((&runs[0]["env"], &runs[0]["seed"]), (&json!("CartPole-v1"), &json!(7)));
    assert!(runs[1]["error"].as_str().unwrap().contains("line 1"), "{runs}");
    let series = json_at(address, "/api/series?run=ppo%2Fa&x=x&y=y");
    assert_eq!(series, json!([[1.0, 2.0], [2.0, null]]));
    assert_eq!(json_at(address, "/api/metrics?run=ppo/a"), json!({"y": 1}));
    let config = json_at(address, "/api/config?run=ppo/a");
    assert_eq!(config["training.minibatch_size"], "null");
    assert_eq!(config["debugging.seed"], "7");
    for page in ["/", "/page.js", "/page.css"] {
        let (head, body) = get(address, page);
        assert!(head.starts_with("HTTP/1.1 200") && !body.is_empty(), "{head}");
        // Nothing is loaded from other sites. The address of the SVG namespace is only a name.
        let body = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!body.contains("http:") && !body.contains("https:") && !body.contains("//cdn"));
    }
}

#[test]
fn videos_are_sent_by_their_names_and_nothing_else_is() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), "run", CONFIG, "");
    run(root.path(), "without", CONFIG, "");
    let folder = root.path().join("run/videos");
    fs::create_dir(&folder).unwrap();
    for (name, text) in
        [("b.gif", "GIF89a"), ("a.mp4", "mp4"), (".c.gif", "partial"), ("notes.txt", "text")]
    {
        fs::write(folder.join(name), text).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../config.toml", folder.join("link.gif")).unwrap();
    let address = serve(root.path());
    assert_eq!(json_at(address, "/api/videos?run=run"), json!(["a.mp4", "b.gif"]));
    assert_eq!(json_at(address, "/api/videos?run=without"), json!([]));
    let (head, body) = get(address, "/video?run=run&file=b.gif");
    assert!(head.contains("Content-Type: image/gif") && body == "GIF89a", "{head}\n{body}");
    assert!(get(address, "/video?run=run&file=a.mp4").0.contains("Content-Type: video/mp4"));
    for query in [
        "run=run&file=link.gif",
        "run=run&file=notes.txt",
        "run=run&file=..%2Fconfig.toml",
        "run=without&file=b.gif",
        "run=unknown&file=b.gif",
        "run=run",
        "",
    ] {
        let (head, _) = get(address, &format!("/video?{query}"));
        assert!(head.starts_with("HTTP/1.1 404"), "{query}: {head}");
    }
    // Only the latest videos are listed.
    (0..20).for_each(|n| fs::write(folder.join(format!("v{n:02}.gif")), "").unwrap());
    let listed = json_at(address, "/api/videos?run=run");
    assert_eq!((listed[0].as_str(), listed.as_array().unwrap().len()), (Some("v08.gif"), 12));
}

#[test]
fn hostile_names_and_requests_do_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let name = "<img src=x onerror=alert(1)>&\"'%2e%2e";
    run(root.path(), name, &CONFIG.replace("CartPole", "</script><script>alert(1)//"), "");
    fs::write(root.path().join("secret.txt"), "secret").unwrap();
    let address = serve(root.path());
    // The name is JSON data, which the page shows as text.
    assert_eq!(json_at(address, "/api/runs")[0]["name"], name);
    let (head, _) = get(address, "/");
    assert!(head.contains("default-src 'none'; script-src 'self'"), "{head}");
    for target in [
        "/secret.txt",
        "/../secret.txt",
        "/api/config?run=..",
        "/api/config?run=/etc",
        "/api/config",
    ] {
        assert!(get(address, target).0.starts_with("HTTP/1.1 404"), "{target}");
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET / HTTP/1.1\r\n\r\n", "403"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", "403"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: localhost", "400"),
        ("\u{1}\u{2}", "400"),
    ] {
        let (head, _) = send(address, request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {head}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(15_000));
    assert!(send(address, &long).0.starts_with("HTTP/1.1 404"));
    assert!(
        send(address, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").0.starts_with("HTTP/1.1 200")
    );
}

#[test]
fn a_run_that_was_written_before_the_clock_was_set_back_is_recent() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), "run", CONFIG, "{\"x\":1}\n");
    let file =
        fs::File::options().append(true).open(root.path().join("run/metrics.jsonl")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    assert_eq!(json_at(serve(root.path()), "/api/runs")[0]["age"], 0);
}

#[test]
fn the_directory_is_not_searched_for_each_request_and_new_runs_appear() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), "first", CONFIG, "");
    let list = runs::RunList::new(root.path());
    let before = list.current();
    run(root.path(), "second", CONFIG, "");
    assert!(std::sync::Arc::ptr_eq(&before, &list.current()), "found again at once");
    let started = Instant::now();
    while list.current().len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20), "the new run does not appear");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn idle_and_many_connections_do_not_stop_the_server() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), "run", CONFIG, "");
    let address = serve(root.path());
    // As a browser does, open connections without a request.
    let idle: Vec<_> = (0..6).map(|_| TcpStream::connect(address).unwrap()).collect();
    let started = Instant::now();
    let many: Vec<_> = (0..40)
        .map(|_| std::thread::spawn(move || json_at(address, "/api/runs")[0]["name"].clone()))
        .collect();
    for answer in many {
        assert_eq!(answer.join().unwrap(), "run");
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    // With no thread left, connections are refused at once, and answered again after the others have timed out.
    let flood: Vec<_> = (0..120).map(|_| TcpStream::connect(address).unwrap()).collect();
    drop(idle);
    let refused = flood.iter().rev().take(5).any(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).is_ok() && head == *b"HTTP/1.1 503"
    });
    assert!(refused);
    drop(flood);
    assert_eq!(json_at(address, "/api/runs")[0]["name"], "run");
}

#[test]
fn lines_of_a_large_file_are_spread_over_it_within_a_second() {
    let root = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for x in 0..1_000_000 {
        text += &format!("{{\"training_iteration\":{x},\"y\":{x}}}\n");
    }
    text += "{\"training_iteration\":9";
    run(root.path(), "large", CONFIG, &text);
    let address = serve(root.path());
    let started = Instant::now();
    let series = json_at(address, "/api/series?run=large&x=training_iteration&y=y");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let xs: Vec<f64> = series.as_array().unwrap().iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert!(xs.len() > 900 && xs.len() <= 1001, "{}", xs.len());
    assert_eq!((xs[0], xs[xs.len() - 1]), (0.0, 999_999.0));
    assert!(xs.windows(2).all(|pair| pair[0] < pair[1] && pair[1] - pair[0] < 2000.0));
}

#[test]
fn a_small_file_has_all_its_lines_and_more_are_thinned_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lines");
    for (text, max, expected) in [
        ("", 3, &[][..]),
        ("a", 3, &[]),
        ("a\nb\n", 3, &["a", "b"]),
        ("a\nb\nc\nd\ne\n", 3, &["a", "c", "e"]),
        ("a\nb\nc\nd\n", 3, &["a", "c", "d"]),
        ("a\nb\nc\n", 1, &["a", "c"]),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(spread_lines(&path, max).unwrap(), expected, "{text:?}");
    }
}
