use super::*;

fn metrics(value: f64) -> Metrics {
    [("env_runners/episode_return_mean", value), (ITERATION, 99.0)].into_iter().collect()
}

#[test]
fn lines_are_flat_objects_which_start_with_the_iteration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let mut sink = JsonlSink::create(&path).unwrap();
    sink.write(1, &metrics(21.5)).unwrap();
    sink.write(2, &metrics(f64::NAN)).unwrap();

    // Read while the sink is alive: each line was flushed.
    let lines = fs::read_to_string(&path).unwrap();
    assert_eq!(
        lines,
        "{\"training_iteration\":1,\"env_runners/episode_return_mean\":21.5}\n\
         {\"training_iteration\":2,\"env_runners/episode_return_mean\":null}\n"
    );
}

#[test]
fn written_metrics_are_read_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let values = [0.1 + 0.2, 1e-300, -7.0];
    JsonlSink::create(&path).unwrap().write(1, &metrics(values[0])).unwrap();
    for (iteration, value) in (2..).zip(&values[1..]) {
        JsonlSink::append(&path).unwrap().write(iteration, &metrics(*value)).unwrap();
    }

    let read = read_jsonl(&path).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|line| (line.get(ITERATION), line.get("env_runners/episode_return_mean")))
        .collect();
    let expected = [1.0, 2.0, 3.0].map(Some).into_iter().zip(values.map(Some));
    assert_eq!(read, expected.collect::<Vec<_>>());
}

#[test]
fn appending_drops_a_line_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    fs::write(&path, "{\"a\":1.0}\n{\"a\":2").unwrap();
    JsonlSink::append(&path).unwrap().write(2, &Metrics::new()).unwrap();
    let read = read_jsonl(&path).unwrap();
    assert_eq!((read.len(), read[0].get("a"), read[1].get(ITERATION)), (2, Some(1.0), Some(2.0)));
}

#[test]
fn a_corrupted_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let corrupted: [&[u8]; 4] = [b"{\"a\":", b"[1]", b"{\"a\":\"text\"}", b"{\"\xff\":1}"];
    for line in corrupted {
        fs::write(&path, [b"{\"a\":1}\n", line, b"\n{\"a\":3}\n"].concat()).unwrap();
        let error = read_jsonl(&path).unwrap_err();
        assert!(matches!(error, MetricsError::Json { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("result.jsonl:2:"), "{error}");
    }
}

#[test]
fn an_empty_file_holds_no_metrics_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let error = read_jsonl(&path).unwrap_err();
    assert!(error.to_string().contains("result.jsonl"), "{error}");
    drop(JsonlSink::create(&path).unwrap());
    assert!(read_jsonl(&path).unwrap().is_empty());
}

/// The lines of a file, by iteration.
fn iterations(path: &Path) -> Vec<f64> {
    read_jsonl(path).unwrap().iter().map(|line| line.get(ITERATION).unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_or_a_warning() {
    let mut sink = JsonlSink::append("/dev/full").unwrap();
    let error = sink.write(1, &metrics(1.0)).unwrap_err();
    assert!(matches!(&error, MetricsError::Io { path, .. } if path == Path::new("/dev/full")));
    let mut sink = sink.or_warn();
    sink.write(2, &metrics(1.0)).unwrap();
    sink.write(3, &metrics(1.0)).unwrap();
    sink.flush().unwrap();
    assert_eq!(sink.failures(), 2);
}

#[test]
fn lines_of_two_writers_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let mut writers = [JsonlSink::create(&path).unwrap(), JsonlSink::append(&path).unwrap()];
    std::thread::scope(|scope| {
        for (first, writer) in writers.iter_mut().enumerate() {
            scope.spawn(move || {
                for iteration in 0..200 {
                    writer.write(2 * iteration + first as u64, &metrics(1.0)).unwrap();
                }
            });
        }
    });
    let mut found = iterations(&path);
    found.sort_by(f64::total_cmp);
    assert_eq!(found, (0..400).map(f64::from).collect::<Vec<_>>());
}

#[cfg(unix)]
#[test]
fn a_removed_file_is_made_again_and_a_removed_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("result.jsonl");
    let mut sink = JsonlSink::create(&path).unwrap();
    sink.write(1, &metrics(1.0)).unwrap();
    fs::remove_file(&path).unwrap();
    sink.write(2, &metrics(1.0)).unwrap();
    assert_eq!(iterations(&path), [2.0]);

    fs::remove_dir_all(&folder).unwrap();
    let error = sink.write(3, &metrics(1.0)).unwrap_err();
    assert!(error.to_string().contains("result.jsonl"), "{error}");
    // Writing resumes when the directory exists again.
    fs::create_dir(&folder).unwrap();
    sink.write(4, &metrics(1.0)).unwrap();
    assert_eq!(iterations(&path), [4.0]);
}

#[test]
fn a_file_in_a_folder_that_does_not_exist_is_an_error_of_opening() {
    let dir = tempfile::tempdir().unwrap();
    let error = JsonlSink::create(dir.path().join("none/result.jsonl")).unwrap_err();
    assert!(error.to_string().contains("result.jsonl"), "{error}");
}

#[test]
fn a_resumed_run_drops_the_iterations_that_it_will_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let mut sink = JsonlSink::resume(&path, 0).unwrap();
    for iteration in 1..=4 {
        sink.write(iteration, &metrics(1.0)).unwrap();
    }
    let mut sink = JsonlSink::resume(&path, 2).unwrap();
    assert_eq!(iterations(&path), [1.0, 2.0]);
    sink.write(3, &metrics(1.0)).unwrap();
    assert_eq!(iterations(&path), [1.0, 2.0, 3.0]);
}

#[test]
fn the_last_complete_line_is_read_from_files_of_any_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("result.jsonl");
    let last = |text: &str| {
        fs::write(&path, text).unwrap();
        read_last_jsonl(&path).unwrap().map(|line| line.get(ITERATION).unwrap())
    };
    let line = |iteration: usize, width: usize| {
        format!("{{\"training_iteration\":{iteration}{}}}\n", " ".repeat(width))
    };
    assert_eq!(last(""), None);
    assert_eq!(last("{\"training_iteration\":1"), None);
    assert_eq!(last(&line(1, 0)), Some(1.0));
    assert_eq!(last(&(line(1, 0) + &line(2, 0) + "{\"training")), Some(2.0));
    // Lines that are longer than what is read first, and many lines.
    assert_eq!(last(&line(1, 300_000)), Some(1.0));
    assert_eq!(last(&(line(1, 300_000) + &line(2, 300_000))), Some(2.0));
    assert_eq!(last(&(0..50_000).map(|n| line(n, 0)).collect::<String>()), Some(49_999.0));
    fs::write(&path, "no metrics\n").unwrap();
    assert!(read_last_jsonl(&path).unwrap_err().to_string().contains("result.jsonl"));
    assert!(read_last_jsonl(dir.path().join("missing")).is_err());
}
