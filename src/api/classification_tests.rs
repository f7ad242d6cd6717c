use proptest::prelude::*;

use super::*;
use crate::{
    api::tests::model_config,
    error::ErrorKind,
    tensor::{Buffer, BytesTensor},
};

fn tensor(datatype: Datatype, dims: &[i64], data: Vec<u8>) -> Tensor {
    Tensor {
        datatype,
        shape: dims.into(),
        data: Buffer::from(data),
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The classes' shape and texts.
fn classes(tensor: &Tensor, has_rows: bool, count: usize) -> (Vec<i64>, Vec<String>) {
    let view = View::new(tensor, has_rows, count).unwrap();
    let classes = view.classes(None).unwrap();
    assert_eq!(classes.datatype, Datatype::Bytes);
    let texts = BytesTensor::new(classes.data.host().unwrap())
        .map(|text| String::from_utf8(text.unwrap().to_vec()).unwrap())
        .collect();
    (classes.shape.to_vec(), texts)
}

#[test]
fn each_row_of_a_batch_has_its_own_classes() {
    let tensor = tensor(
        Datatype::Fp32,
        &[2, 3],
        floats(&[0.1, 3.3, 2.0, 5.0, -1.0, 5.0]),
    );
    assert_eq!(
        classes(&tensor, true, 2),
        (
            vec![2, 2],
            ["3.300000:1", "2.000000:2", "5.000000:0", "5.000000:2"]
                .map(str::to_owned)
                .to_vec()
        )
    );
    // Without a batch dimension all elements are one row, whatever the rank.
    let (shape, texts) = classes(&tensor, false, 1);
    assert_eq!((shape, texts), (vec![1], vec!["5.000000:3".to_owned()]));
}

#[test]
fn rows_of_any_rank_are_flat_and_a_count_beyond_them_gives_all() {
    let image = tensor(Datatype::Uint8, &[1, 2, 2], vec![1, 9, 3, 200]);
    let (shape, texts) = classes(&image, true, 100);
    assert_eq!(shape, [1, 4]);
    assert_eq!(texts, ["200:3", "9:1", "3:2", "1:0"]);
    let scalar = tensor(Datatype::Uint8, &[], vec![7]);
    assert_eq!(classes(&scalar, true, 3), (vec![1], vec!["7:0".to_owned()]));
    let empty = tensor(Datatype::Fp64, &[3, 0], Vec::new());
    assert_eq!(classes(&empty, true, 2), (vec![3, 0], Vec::new()));
}

#[test]
fn every_numeric_datatype_is_written_as_c_plus_plus_does() {
    let cases: [(Datatype, Vec<u8>, &str); 12] = [
        (Datatype::Uint8, vec![255], "255:0"),
        (Datatype::Uint16, vec![255, 255], "65535:0"),
        (Datatype::Uint32, vec![255; 4], "4294967295:0"),
        (Datatype::Uint64, vec![255; 8], "18446744073709551615:0"),
        (Datatype::Int8, vec![128], "-128:0"),
        (Datatype::Int16, vec![0, 128], "-32768:0"),
        (Datatype::Int32, vec![255; 4], "-1:0"),
        (Datatype::Int64, vec![255; 8], "-1:0"),
        (Datatype::Fp16, vec![0, 0x3c], "1.000000:0"),
        (Datatype::Bf16, vec![0xc0, 0xbf], "-1.500000:0"),
        (Datatype::Fp32, floats(&[0.1]), "0.100000:0"),
        (
            Datatype::Fp64,
            1e17f64.to_le_bytes().to_vec(),
            "100000000000000000.000000:0",
        ),
    ];
    for (datatype, data, want) in cases {
        let (_, texts) = classes(&tensor(datatype, &[1], data), false, 1);
        assert_eq!(texts, [want], "{datatype}");
    }
}

#[test]
fn floats_round_as_printf_does() {
    // What glibc's printf("%f") gives; 0.0078125 lies half way and goes to the even digit.
    for (value, want) in [
        (0.007_812_5, "0.007812"),
        (0.023_437_5, "0.023438"),
        (1e-9, "0.000000"),
        (-1e-9, "-0.000000"),
        (-0.0, "-0.000000"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (-f64::NAN, "-nan"),
        (123_456_789.987_654_3, "123456789.987654"),
    ] {
        let mut text = Vec::new();
        push_float(&mut text, value);
        assert_eq!(String::from_utf8(text).unwrap(), want);
    }
}

#[test]
fn outputs_without_an_order_are_refused_before_anything_is_computed() {
    let mut config = model_config(0, &[]);
    let mut wanted = Classification::default();
    wanted.push(0, NonZeroUsize::MIN);
    let outputs = ["OUT".to_owned()];
    assert!(wanted.check(&outputs, &config).is_ok());
    for (datatype, name) in [(Datatype::Bytes, "BYTES"), (Datatype::Bool, "BOOL")] {
        config.outputs[0].datatype = datatype;
        let error = wanted.check(&outputs, &config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(
            error.message(),
            format!("class result not available for output due to unsupported type '{name}'")
        );
    }
    // An unknown output is somebody else's to refuse.
    assert!(wanted.check(&["X".to_owned()], &config).is_ok());
}

#[test]
fn a_tensor_that_is_not_what_it_says_is_not_read() {
    for (dims, byte_size) in [(&[2, 2][..], 15), (&[2, -1], 8), (&[i64::MAX, i64::MAX], 8)] {
        let tensor = tensor(Datatype::Fp32, dims, vec![0; byte_size]);
        assert!(View::new(&tensor, true, 1).is_none(), "{dims:?}");
    }
}

proptest! {
    #[test]
    fn classes_are_the_elements_that_they_name(
        rows in 1u32..4,
        values in prop::collection::vec(-1000i32..1000, 1..20),
        count in 1usize..24,
    ) {
        let data: Vec<u8> = (0..rows)
            .flat_map(|row| values.iter().map(move |value| value.rotate_left(row)))
            .flat_map(i32::to_le_bytes)
            .collect();
        let dims = [i64::from(rows), i64::try_from(values.len()).unwrap()];
        let (shape, texts) = classes(&tensor(Datatype::Int32, &dims, data), true, count);
        let count = count.min(values.len());
        prop_assert_eq!(shape, [i64::from(rows), i64::try_from(count).unwrap()]);
        for (row, texts) in (0..rows).zip(texts.chunks(count)) {
            for text in texts {
                let (value, class) = text.split_once(':').unwrap();
                let class: usize = class.parse().unwrap();
                prop_assert_eq!(value.parse(), Ok(values[class].rotate_left(row)));
            }
        }
    }
}
