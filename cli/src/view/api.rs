//! The answers to the requests of the page.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::runs::{RunList, Summary, settings};
use super::server::Answer;
use super::videos;
use crate::lines::spread_lines;

/// Maximum number of points of a curve, about the width of the page in pixels.
const MAX_POINTS: usize = 1000;
const JSON: &str = "application/json";

/// Answers a request for a path with a query.
pub(super) fn answer(target: &str, list: &RunList) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = parameters(query);
    match path {
        "/" => Answer::new("text/html; charset=utf-8", include_str!("page.html")),
        "/page.js" => Answer::new("text/javascript; charset=utf-8", include_str!("page.js")),
        "/page.css" => Answer::new("text/css; charset=utf-8", include_str!("page.css")),
        "/api/runs" => {
            let runs = list.current();
            let runs: Vec<_> = runs.iter().map(|(name, path)| Summary::of(name, path)).collect();
            to_json(&json!(runs))
        }
        "/api/metrics" => of_run(list, &query, |path| {
            let lines = spread_lines(&path.join("metrics.jsonl"), 1).map_err(|e| e.to_string())?;
            Ok(lines.last().and_then(|line| parse(line)).map_or(json!({}), Value::Object))
        }),
        "/api/series" => of_run(list, &query, |path| series(path, &query)),
        "/api/videos" => of_run(list, &query, |path| Ok(json!(videos::names(path)))),
        "/video" => match run_of(list, &query).zip(query.get("file")) {
            Some((path, file)) => videos::answer(&path, file),
            None => Answer::error("404 Not Found", "unknown run"),
        },
        "/api/config" => of_run(list, &query, |path| {
            let (algorithm, settings) = settings(path)?;
            let mut flat = Map::from_iter([("algorithm".to_owned(), algorithm.into())]);
            flatten(&settings, "", &mut flat);
            Ok(Value::Object(flat))
        }),
        _ => Answer::error("404 Not Found", "unknown page"),
    }
}

/// Answers about the run that the query names.
fn of_run(
    list: &RunList,
    query: &BTreeMap<String, String>,
    content: impl FnOnce(&Path) -> Result<Value, String>,
) -> Answer {
    match run_of(list, query) {
        None => Answer::error("404 Not Found", "unknown run"),
        Some(path) => match content(&path) {
            Ok(value) => to_json(&value),
            Err(message) => Answer::error("500 Internal Server Error", &message),
        },
    }
}

/// Returns the folder of the run that the query names. The name is looked up in the list of runs, so a path in the query
/// never reaches the file system.
fn run_of(list: &RunList, query: &BTreeMap<String, String>) -> Option<PathBuf> {
    list.current().get(query.get("run")?).cloned()
}

/// Returns the points of a curve. NaN and infinities, which JSON lacks, are null.
fn series(run: &Path, query: &BTreeMap<String, String>) -> Result<Value, String> {
    let (x, y) = match (query.get("x"), query.get("y")) {
        (Some(x), Some(y)) => (x, y),
        _ => return Err("a series has an x and a y".to_owned()),
    };
    let lines = spread_lines(&run.join("metrics.jsonl"), MAX_POINTS).map_err(|e| e.to_string())?;
    let points = lines.iter().filter_map(|line| {
        let line = parse(line)?;
        let point = [line.get(x)?.as_f64(), line.get(y).and_then(Value::as_f64)];
        point[0].is_some().then_some(point)
    });
    Ok(json!(points.collect::<Vec<_>>()))
}

fn parse(line: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(line).ok()
}

/// Adds settings by their names with dots.
fn flatten(value: &Value, prefix: &str, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(value, &name, flat);
            }
        }
        other => {
            flat.insert(prefix.to_owned(), other.to_string().into());
        }
    }
}

/// Returns the parameters of a query, decoded.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// Decodes the percent encoding of URLs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
            }
            (byte, _) => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn to_json(value: &Value) -> Answer {
    Answer::new(JSON, value.to_string())
}
