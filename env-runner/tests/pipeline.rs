//! Connector pipelines: editing by name and separate state.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use rekindle_env::{Buffer, Space};
use rekindle_env_runner::RunnerError;
use rekindle_env_runner::connectors::{
    Connector, ConnectorContext, ConnectorPipeline, MeanStdFilter,
};

fn filter() -> Box<dyn Connector> {
    Box::new(MeanStdFilter::new(true, true, None).unwrap())
}

fn space() -> Space {
    Space::unbounded(&[1]).unwrap()
}

#[test]
fn edits_by_an_unknown_name_are_errors() {
    let mut pipeline = ConnectorPipeline::with(space(), vec![filter()]).unwrap();
    for result in [
        pipeline.insert_before("Nobody", filter()),
        pipeline.insert_after("Nobody", filter()),
        pipeline.remove("Nobody"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, RunnerError::UnknownConnector { .. }));
        assert!(error.to_string().contains("it has [MeanStdFilter]"), "{error}");
    }
    assert_eq!(pipeline.len(), 1);
}

#[test]
fn two_connectors_of_one_kind_keep_separate_state() {
    let mut pipeline = ConnectorPipeline::with(space(), vec![filter(), filter()]).unwrap();
    assert_eq!(pipeline.names().collect::<Vec<_>>(), ["MeanStdFilter", "MeanStdFilter_1"]);
    let rows = Buffer::from_f32(vec![1.0, 2.0, 6.0], &[1]).unwrap();
    pipeline.transform(&rows, ConnectorContext::rows(true)).unwrap();
    let state = pipeline.get_state().unwrap();
    assert_ne!(state["MeanStdFilter"], state["MeanStdFilter_1"]);

    let mut restored = ConnectorPipeline::with(space(), vec![filter(), filter()]).unwrap();
    restored.set_state(&state).unwrap();
    let (one, two) = (
        pipeline.transform(&rows, ConnectorContext::rows(false)),
        restored.transform(&rows, ConnectorContext::rows(false)),
    );
    assert_eq!(one.unwrap(), two.unwrap());
}

#[test]
fn connectors_refuse_spaces_they_cannot_work_on() {
    let space = Space::discrete(3).unwrap();
    let message = ConnectorPipeline::with(space, vec![filter()]).unwrap_err().to_string();
    assert!(message.contains("`MeanStdFilter` cannot work on the space Discrete(3)"), "{message}");
}

#[test]
fn an_empty_pipeline_passes_its_input_through() {
    let mut pipeline = ConnectorPipeline::new(space());
    let rows = Buffer::from_f32(vec![1.0], &[1]).unwrap();
    assert_eq!(pipeline.transform(&rows, ConnectorContext::rows(true)).unwrap(), &rows);
    assert_eq!(pipeline.output_space(), &space());
    pipeline.append(filter()).unwrap();
    pipeline.remove("MeanStdFilter").unwrap();
    assert!(pipeline.is_empty());
}

#[test]
fn a_state_that_does_not_fit_changes_no_connector() {
    let mut pipeline = ConnectorPipeline::with(space(), vec![filter(), filter()]).unwrap();
    let rows = Buffer::from_f32(vec![1.0, 2.0, 6.0], &[1]).unwrap();
    pipeline.transform(&rows, ConnectorContext::rows(true)).unwrap();
    let good = pipeline.get_state().unwrap();
    pipeline.transform(&rows, ConnectorContext::rows(true)).unwrap();
    let before = pipeline.get_state().unwrap();
    let mut second_is_damaged = good.clone();
    second_is_damaged["MeanStdFilter_1"] = serde_json::json!({"n": 1});
    let mut unknown = good;
    unknown["Nobody"] = serde_json::json!({});
    for state in [second_is_damaged, unknown, serde_json::json!("no")] {
        pipeline.set_state(&state).unwrap_err();
        assert_eq!(pipeline.get_state().unwrap(), before);
    }
}

#[test]
fn a_filter_of_other_observations_is_refused() {
    let mut one = ConnectorPipeline::with(space(), vec![filter()]).unwrap();
    let rows = Buffer::from_f32(vec![1.0, 2.0], &[1]).unwrap();
    one.transform(&rows, ConnectorContext::rows(true)).unwrap();
    let two = Space::unbounded(&[2]).unwrap();
    let mut two = ConnectorPipeline::with(two, vec![filter()]).unwrap();
    let message = two.set_state(&one.get_state().unwrap()).unwrap_err().to_string();
    assert!(message.contains("1 elements, not 2"), "{message}");
    // A state without statistics fits every space.
    let mut fresh = ConnectorPipeline::with(space(), vec![filter()]).unwrap();
    two.set_state(&fresh.get_state().unwrap()).unwrap();
    fresh.set_state(&one.get_state().unwrap()).unwrap();
}
