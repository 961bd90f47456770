use std::io::Write;

use super::*;

fn result(values: &[(&str, f64)]) -> Metrics {
    values.iter().copied().collect()
}

#[test]
fn new_metrics_get_columns_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.csv");
    let mut sink = CsvSink::create(&path).unwrap();
    sink.write(1, &result(&[("a/b", 1.5), (ITERATION, 1.0)])).unwrap();
    sink.write(2, &result(&[("a/a", f64::NAN), ("a/b", f64::INFINITY)])).unwrap();
    sink.write(3, &result(&[("a/a", 2.0)])).unwrap();
    let expected = "training_iteration,a/b,a/a\n1,1.5,\n2,inf,NaN\n3,,2\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_resumed_run_drops_what_it_will_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("progress.csv");
    let mut sink = CsvSink::resume(&path, 0).unwrap();
    for iteration in 1..=3 {
        sink.write(iteration, &result(&[("a,b", iteration as f64)])).unwrap();
    }
    sink.file.write_all(b"4,0.").unwrap();
    let mut sink = CsvSink::resume(&path, 2).unwrap();
    sink.write(3, &result(&[("a,b", 0.5), ("c", 1.0)])).unwrap();
    let expected = "training_iteration,\"a,b\",c\n1,1,\n2,2,\n3,0.5,1\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn names_with_quotes_come_back() {
    let names = ["plain".to_owned(), "a \"b\", c".to_owned()];
    assert_eq!(columns_of(&header(&names)), names);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = CsvSink::create(dir.path()).unwrap_err().to_string();
    assert!(message.contains(&dir.path().display().to_string()), "{message}");
}
