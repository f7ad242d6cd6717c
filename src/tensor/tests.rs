use super::*;

#[test]
fn counts_elements_without_overflowing() {
    assert_eq!(Shape::new([]).element_count(), Some(1));
    assert_eq!(Shape::new([2, 3]).element_count(), Some(6));
    assert_eq!(Shape::new([2, -1]).element_count(), None);
    assert_eq!(Shape::new([i64::MAX, i64::MAX]).element_count(), None);
    assert_eq!(Shape::new([i64::MAX, 4]).byte_size(Datatype::Fp64), None);
}

#[test]
fn a_zero_dimension_makes_a_shape_empty_however_large_the_others() {
    assert_eq!(Shape::new([0, 5]).element_count(), Some(0));
    assert_eq!(Shape::new([5, 0]).byte_size(Datatype::Fp32), Some(0));
}

#[test]
fn a_signature_accepts_equal_dimensions_and_wildcards() {
    let want = Shape::new([-1, 16]);
    assert!(want.accepts(&[3, 16]));
    assert!(!want.accepts(&[3, 17]));
    assert!(!want.accepts(&[16]));
}

#[test]
fn shapes_print_as_triton_does() {
    assert_eq!(Shape::new([-1, 16]).to_string(), "[-1,16]");
    assert_eq!(Shape::new([]).to_string(), "[]");
}

#[test]
fn every_datatype_is_found_by_its_name_only() {
    for datatype in Datatype::ALL {
        assert_eq!(Datatype::from_name(datatype.name()), Some(datatype));
    }
    assert_eq!(Datatype::from_name("fp32"), None);
    assert_eq!(Datatype::from_name("STRING"), None);
}

#[test]
fn bytes_tensors_round_trip_and_refuse_cut_elements() {
    let mut wire = Vec::new();
    for element in [&b"ab"[..], b"", b"\0c"] {
        push_element(&mut wire, element).unwrap();
    }
    let read: Result<Vec<_>, ()> = BytesTensor::new(&wire).collect();
    assert_eq!(read.unwrap(), [&b"ab"[..], b"", b"\0c"]);
    assert_eq!(BytesTensor::element_count(&wire), Some(3));
    assert_eq!(BytesTensor::prefix_byte_size(&wire, 1), Some(6));
    assert_eq!(BytesTensor::prefix_byte_size(&wire, 4), None);
    for cut in [1, 3, 5, wire.len() - 1] {
        assert_eq!(
            BytesTensor::element_count(&wire[..cut]),
            None,
            "cut at {cut}"
        );
    }
}
