use super::*;

#[test]
fn keeps_kind_and_shape_and_gives_the_tensor_back() {
    let device = Device::flex();
    let any = AnyTensor::from(Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device));
    assert_eq!(any.kind(), TensorKind::Float);
    assert_eq!(any.shape(), [2, 2]);
    assert_eq!(any.to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let error = any.int::<2>().unwrap_err().to_string();
    assert_eq!(error, "expected an int tensor of rank 2, found a float tensor of shape [2, 2]");
    assert!(any.float::<3>().is_err());
}

#[test]
fn bytes_are_a_float_tensor_that_is_made_when_it_is_read() {
    let device = Device::flex();
    let any = AnyTensor::from_bytes(vec![0, 7, 255, 1], vec![2, 2], &device).unwrap();
    assert_eq!((any.kind(), any.shape(), any.rows()), (TensorKind::Float, vec![2, 2], 2));
    assert_eq!(any.as_bytes().unwrap().data(), [0, 7, 255, 1]);
    assert_eq!(any.to_f32().unwrap(), [0.0, 7.0, 255.0, 1.0]);
    assert!(any.int::<2>().is_err() && any.float::<1>().is_err());
    let rows = Tensor::<1, Int>::from_ints([1], &device);
    assert_eq!(any.select_rows(&rows).unwrap().to_f32().unwrap(), [255.0, 1.0]);
    assert_eq!(any.clone().inner().unwrap().to_f32().unwrap(), any.to_f32().unwrap());
    assert!(AnyTensor::from_bytes(vec![1], Vec::new(), &device).is_err());
}

#[test]
fn bytes_stay_bytes_without_gradients_and_when_rows_are_selected_or_put_together() {
    let device = Device::flex().autodiff();
    let any = AnyTensor::from_bytes(vec![0, 7, 255, 1], vec![2, 2], &device).unwrap();
    let bytes = |any: &AnyTensor| any.as_bytes().unwrap().data().to_vec();
    let inner = any.clone().inner().unwrap();
    assert_eq!(bytes(&inner), [0, 7, 255, 1]);
    assert!(!inner.float::<2>().unwrap().device().is_autodiff());
    let outer = AnyTensor::from_inner(inner).unwrap();
    assert_eq!(bytes(&outer), [0, 7, 255, 1]);
    assert!(outer.float::<2>().unwrap().device().is_autodiff());
    let rows = Tensor::<1, Int>::from_ints([1, 0, 1], &device);
    let selected = any.select_rows(&rows).unwrap();
    assert_eq!((bytes(&selected), selected.shape()), (vec![255, 1, 0, 7, 255, 1], vec![3, 2]));
    let all = AnyTensor::cat(&[selected.clone(), any.clone()]).unwrap();
    assert_eq!((all.shape(), bytes(&all)[6..].to_vec()), (vec![5, 2], bytes(&any)));
    let floats: AnyTensor = any.float::<2>().unwrap().into();
    let mixed = AnyTensor::cat(&[floats, any.clone()]).unwrap();
    assert!(mixed.as_bytes().is_none());
    assert_eq!(mixed.to_f32().unwrap(), [any.to_f32().unwrap(), any.to_f32().unwrap()].concat());
}

#[test]
fn host_data_of_every_kind_is_uploaded_as_that_kind() {
    let device = Device::flex();
    let ints = AnyTensor::from_data(TensorData::new(vec![1i64, 2], [2]), &device).unwrap();
    assert_eq!(ints.kind(), TensorKind::Int);
    assert_eq!(to_i64(ints.int::<1>().unwrap()).unwrap(), [1, 2]);
    let bools = AnyTensor::from_data(TensorData::new(vec![true], [1, 1]), &device).unwrap();
    assert_eq!(bools.kind(), TensorKind::Bool);
    let scalar = TensorData::new(vec![1.0f32], Vec::<usize>::new());
    assert!(matches!(AnyTensor::from_data(scalar, &device), Err(CoreError::Rank { .. })));
}

#[test]
fn integers_beyond_those_of_the_device_are_an_error() {
    let device = Device::flex();
    for value in [1i64 << 31, i64::MIN, i64::from(i32::MIN) - 1] {
        let error = AnyTensor::from_data(TensorData::new(vec![0, value], [2]), &device);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&value.to_string()) && error.contains("32-bit"), "{error}");
    }
    let extremes = vec![i64::from(i32::MIN), i64::from(i32::MAX)];
    let tensor = AnyTensor::from_data(TensorData::new(extremes.clone(), [2]), &device).unwrap();
    assert_eq!(tensor.to_i64().unwrap(), extremes);
}

#[test]
fn rows_are_gathered_and_put_together_whatever_their_kind() {
    let device = Device::flex();
    let rows = Tensor::<1, Int>::from_ints([2, 0], &device);
    let floats = AnyTensor::from(Tensor::<2>::from_floats([[1.0], [2.0], [3.0]], &device));
    assert_eq!(floats.select_rows(&rows).unwrap().to_f32().unwrap(), [3.0, 1.0]);
    let ints = AnyTensor::from(Tensor::<1, Int>::from_ints([1, 2, 3], &device));
    let both = AnyTensor::cat(&[ints.clone(), ints.select_rows(&rows).unwrap()]).unwrap();
    assert_eq!(both.to_i64().unwrap(), [1, 2, 3, 3, 1]);
    assert!(AnyTensor::cat(&[ints, floats]).is_err());
    assert!(AnyTensor::cat(&[]).is_err());
}
