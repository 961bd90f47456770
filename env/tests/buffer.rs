//! Columnar storage.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

use rekindle_env::{Buffer, EnvError, Parts, Space, Value};
use serde_json::json;

/// A space with every kind of leaf.
fn nested() -> Space {
    Space::dict([
        ("camera", Space::image(&[2, 2]).unwrap()),
        (
            "arm",
            Space::tuple([
                Space::unbounded(&[3]).unwrap(),
                Space::discrete(4).unwrap(),
                Space::multi_discrete([2, 3]).unwrap(),
            ])
            .unwrap(),
        ),
        ("buttons", Space::multi_binary(2).unwrap()),
    ])
    .unwrap()
}

fn element(n: u8) -> Value {
    let (float, int) = (f32::from(n), i64::from(n));
    Value::dict([
        ("camera", Value::from([n; 4])),
        (
            "arm",
            Value::tuple([
                Value::from([float, -float, 0.5]),
                Value::from(int),
                Value::from([int, 2 * int]),
            ]),
        ),
        ("buttons", Value::from([n % 2, 1 - n % 2])),
    ])
}

fn filled(rows: u8) -> Buffer {
    let mut buffer = Buffer::with_capacity(&nested(), usize::from(rows));
    (0..rows).for_each(|n| buffer.push_value(&element(n)).unwrap());
    buffer
}

fn elements(buffer: &Buffer) -> Vec<Value> {
    (0..buffer.rows()).map(|i| buffer.row(i).to_value().unwrap()).collect()
}

#[test]
fn leaves_are_contiguous_and_named_in_canonical_order() {
    let buffer = filled(2);
    let leaves = buffer.leaves();
    let names: Vec<&str> = leaves.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["arm.0", "arm.1", "arm.2", "buttons", "camera"]);
    let shapes: Vec<&[usize]> = leaves.iter().map(|(_, leaf)| leaf.shape().unwrap()).collect();
    assert_eq!(shapes, [&[3][..], &[], &[2], &[2], &[2, 2]]);
    assert_eq!(leaves[0].1.as_f32().unwrap(), [0.0, 0.0, 0.5, 1.0, -1.0, 0.5]);
    assert_eq!(leaves[1].1.as_i64().unwrap(), [0, 1]);
    assert_eq!(leaves[4].1.as_u8().unwrap(), [0, 0, 0, 0, 1, 1, 1, 1]);

    let single = Buffer::zeros(&Space::discrete(2).unwrap(), 1);
    assert_eq!(single.leaves()[0].0, "");
}

#[test]
fn rows_read_and_write_leaves_in_place() {
    let mut buffer = filled(3);
    let mut row = buffer.row_mut(1);
    row.get_mut("camera").unwrap().write_u8(&[9; 4]).unwrap();
    let mut arm = row.get_mut("arm").unwrap();
    arm.index_mut(0).unwrap().as_f32_mut().unwrap()[2] = 7.0;
    arm.index_mut(1).unwrap().write_discrete(3).unwrap();
    arm.index_mut(2).unwrap().write_i64(&[1, 2]).unwrap();
    row.reborrow().get_mut("buttons").unwrap().as_u8_mut().unwrap().fill(1);

    let row = buffer.row(1);
    assert_eq!(row.get("camera").unwrap().as_u8().unwrap(), [9; 4]);
    let arm = row.get("arm").unwrap();
    assert_eq!(arm.index(0).unwrap().as_f32().unwrap(), [1.0, -1.0, 7.0]);
    assert_eq!(arm.index(1).unwrap().as_discrete().unwrap(), 3);
    assert_eq!(arm.index(2).unwrap().as_i64().unwrap(), [1, 2]);
    assert_eq!(buffer.row(0).to_value().unwrap(), element(0));
    assert_eq!(buffer.row(2).to_value().unwrap(), element(2));
}

#[test]
fn rows_are_selected_copied_and_appended() {
    let buffer = filled(5);
    assert_eq!(elements(&buffer.gather(&[4, 0, 4]).unwrap()), [4, 0, 4].map(element));
    assert_eq!(elements(&buffer.slice(1..3).unwrap()), [1, 2].map(element));

    let mut other = Buffer::zeros(&nested(), 0);
    other.push(buffer.row(3)).unwrap();
    other.extend_from(&buffer, 0..2).unwrap();
    other.extend_zeros(1);
    other.copy_row(3, &buffer, 4).unwrap();
    other.row_mut(0).copy_from(buffer.row(2)).unwrap();
    assert_eq!(elements(&other), [2, 0, 1, 4].map(element));
    other.copy_rows(1, &buffer, (0..2).map(|i| 3 - 2 * i)).unwrap();
    assert_eq!(elements(&other), [2, 3, 1, 4].map(element));

    other.truncate(9);
    assert_eq!(other.rows(), 4);
    other.truncate(1);
    assert_eq!(elements(&other), [element(2)]);
    other.clear();
    assert!(other.is_empty());
}

#[test]
fn gathering_into_a_buffer_reuses_its_memory() {
    let source = Buffer::from_f32((0_u8..8).map(f32::from).collect(), &[2]).unwrap();
    let mut target = Buffer::with_capacity(&Space::unbounded(&[2]).unwrap(), 4);
    source.gather_into(&[0, 1, 2, 3], &mut target).unwrap();
    let memory = target.as_f32().unwrap().as_ptr();
    source.gather_into(&[3, 3], &mut target).unwrap();
    assert_eq!(target.as_f32().unwrap(), [6.0, 7.0, 6.0, 7.0]);
    assert_eq!(target.as_f32().unwrap().as_ptr(), memory);
}

#[test]
fn rows_out_of_range_are_errors_and_change_nothing() {
    let mut buffer = filled(2);
    let mut other = filled(1);
    let errors = [
        buffer.row(2).to_value().unwrap_err(),
        buffer.row(usize::MAX).get("camera").unwrap().as_u8().unwrap_err(),
        buffer.row_mut(2).write(&element(0)).unwrap_err(),
        buffer.gather(&[0, 2]).unwrap_err(),
        buffer.slice(1..3).unwrap_err(),
        #[allow(clippy::reversed_empty_ranges)]
        buffer.slice(2..1).unwrap_err(),
        other.extend_from(&buffer, 0..3).unwrap_err(),
        other.push(buffer.row(2)).unwrap_err(),
        other.copy_row(1, &buffer, 0).unwrap_err(),
        other.copy_row(0, &buffer, 2).unwrap_err(),
        other.copy_rows(0, &buffer, 0..2).unwrap_err(),
        other.copy_rows(0, &buffer, 2..3).unwrap_err(),
        other.copy_rows(usize::MAX, &buffer, 0..1).unwrap_err(),
        buffer.gather_into(&[7], &mut other).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, EnvError::RowOutOfRange { .. }), "{error}");
    }
    assert_eq!((buffer, other), (filled(2), filled(1)));
}

#[test]
fn another_kind_or_shape_is_a_typed_error() {
    let mut numbers = Buffer::zeros(&Space::unbounded(&[2]).unwrap(), 1);
    let wide = Buffer::zeros(&Space::unbounded(&[3]).unwrap(), 1);
    let mut choices = Buffer::zeros(&Space::multi_discrete([2, 2]).unwrap(), 1);
    let nested = filled(1);
    let wrong_kinds = [
        numbers.as_i64().unwrap_err(),
        numbers.as_u8_mut().unwrap_err(),
        numbers.row(0).as_u8().unwrap_err(),
        numbers.row(0).as_discrete().unwrap_err(),
        choices.row(0).as_discrete().unwrap_err(),
        choices.row_mut(0).write_discrete(0).unwrap_err(),
        numbers.get("a").unwrap_err(),
        numbers.index(0).unwrap_err(),
        numbers.row_mut(0).get_mut("a").unwrap_err(),
        numbers.row_mut(0).index_mut(0).unwrap_err(),
        numbers.row_mut(0).write(&Value::from(1)).unwrap_err(),
        Buffer::zeros(&Space::discrete(2).unwrap(), 1)
            .row_mut(0)
            .write(&Value::from([1_i64]))
            .unwrap_err(),
        numbers.push(wide.row(0)).unwrap_err(),
        numbers.copy_row(0, &wide, 0).unwrap_err(),
        numbers.copy_rows(0, &wide, 0..1).unwrap_err(),
        numbers.push(nested.row(0)).unwrap_err(),
        nested.as_f32().unwrap_err(),
        nested.shape().unwrap_err(),
    ];
    for error in wrong_kinds {
        assert!(matches!(error, EnvError::WrongKind { .. }), "{error}");
    }
    let error = numbers.row_mut(0).write_f32(&[0.0; 3]).unwrap_err();
    assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");
    let error = Buffer::from_f32(vec![0.0; 3], &[2]).unwrap_err();
    assert!(matches!(error, EnvError::ShapeMismatch { .. }), "{error}");
    assert!(Buffer::from_f32(vec![], &[usize::MAX, 2]).is_err());
    assert!(Buffer::from_f32(vec![], &[0]).is_ok_and(|empty| empty.rows() == 0));
}

#[test]
fn parts_of_other_names_are_not_mixed_up() {
    let named = |key| Space::dict([(key, Space::discrete(2).unwrap())]).unwrap();
    let (mut a, b) = (Buffer::zeros(&named("a"), 1), Buffer::zeros(&named("b"), 1));
    let error = a.push(b.row(0)).unwrap_err();
    assert!(matches!(error, EnvError::WrongKind { .. }), "{error}");
    assert!(!a.is_compatible(&named("b")));
}

#[test]
fn errors_about_missing_parts_list_all_parts() {
    let mut buffer = filled(1);
    let error = buffer.row_mut(0).get_mut("button").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no entry `button` in this Dict or Tuple; did you mean `buttons`? known: `arm`, `buttons`, `camera`"
    );
    let error = buffer.row(0).get("arm").unwrap().index(3).unwrap_err();
    assert_eq!(error.to_string(), "no entry `3` in this Dict or Tuple; known: `0`, `1`, `2`");
}

#[test]
fn rows_print_their_element() {
    let text = format!("{:?}", filled(2).row(1));
    let arm = "[[1.0, -1.0, 0.5], 1, [1, 2]]";
    assert_eq!(text, format!(r#"{{"arm": {arm}, "buttons": [1, 0], "camera": [1, 1, 1, 1]}}"#));
    let missing = format!("{:?}", Buffer::from_i64(vec![], &[]).unwrap().row(0));
    assert_eq!(missing, "<row 0 is out of range for a buffer of 0 rows>");
}

#[test]
fn a_refused_value_is_not_appended() {
    let mut buffer = filled(1);
    assert!(buffer.push_value(&Value::dict([("camera", Value::from([0_u8; 4]))])).is_err());
    let mut wrong = element(1);
    if let Value::Dict(parts) = &mut wrong {
        parts.insert("camera".to_owned(), Value::from(3));
    }
    assert!(buffer.push_value(&wrong).is_err());
    assert_eq!(buffer, filled(1));
}

#[test]
fn compatibility_means_the_same_leaves() {
    let buffer = filled(1);
    assert!(buffer.is_compatible(&nested()));
    assert!(!buffer.is_compatible(&Space::discrete(2).unwrap()));
    let choice = Buffer::from_i64(vec![], &[]).unwrap();
    assert!(choice.is_compatible(&Space::discrete(9).unwrap()));
    assert!(!choice.is_compatible(&Space::multi_discrete([2]).unwrap()));
}

#[test]
fn taking_a_buffer_apart_returns_its_storage() {
    let buffer = Buffer::from_f32(vec![1.0, 2.0], &[1]).unwrap();
    assert_eq!(buffer.into_parts(), Parts::Float(vec![1.0, 2.0], vec![1]));
    assert!(matches!(filled(1).into_parts(), Parts::Dict(parts) if parts.len() == 3));
}

#[test]
fn json_keeps_every_number_and_refuses_lengths_that_disagree() {
    let mut buffer = filled(3);
    buffer
        .row_mut(0)
        .get_mut("arm")
        .unwrap()
        .index_mut(0)
        .unwrap()
        .write_f32(&[f32::INFINITY, f32::NEG_INFINITY, 0.1])
        .unwrap();
    let mut json = serde_json::to_value(&buffer).unwrap();
    assert_eq!(serde_json::from_value::<Buffer>(json.clone()).unwrap(), buffer);

    json["rows"] = json!(4);
    assert!(serde_json::from_value::<Buffer>(json.clone()).is_err());
    json["column"]["Dict"]["camera"]["rows"] = json!(4);
    assert!(serde_json::from_value::<Buffer>(json).is_err());
    for rows in [0, 2] {
        let leaf = json!({ "shape": [usize::MAX, 2], "data": [] });
        let huge = json!({ "rows": rows, "column": { "Float": leaf } });
        assert!(serde_json::from_value::<Buffer>(huge).is_err());
    }
}

#[test]
fn rows_of_several_buffers_are_gathered_in_order() {
    let (a, b) = (filled(3), filled(5));
    let rows = [(1, 4), (0, 0), (1, 4), (0, 2)];
    let gathered = a.gather_from(&[&a, &b], &rows).unwrap();
    let expected: Vec<Value> =
        rows.iter().map(|&(source, row)| elements([&a, &b][source])[row].clone()).collect();
    assert_eq!(elements(&gathered), expected);
    assert!(a.gather_from(&[], &[]).unwrap().is_empty());
    for rows in [[(2, 0)], [(0, 3)]] {
        let error = a.gather_from(&[&a, &b], &rows).unwrap_err();
        assert!(matches!(error, EnvError::RowOutOfRange { .. }), "{error}");
    }
    let other = Buffer::from_f32(vec![0.0], &[]).unwrap();
    let error = a.gather_from(&[&a, &other], &[(0, 0)]).unwrap_err();
    assert!(matches!(error, EnvError::WrongKind { .. }), "{error}");
}
