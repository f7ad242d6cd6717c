use std::fs;

use super::*;

fn spec(name: &str, datatype: Datatype, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: dims.to_vec(),
    }
}

fn model(inputs: Vec<TensorSpec>, batched: bool) -> Model {
    Model {
        name: "m".to_owned(),
        version: None,
        inputs,
        outputs: vec![spec("OUT", Datatype::Int32, &[2])],
        batched,
        decoupled: false,
        is_sequential: false,
    }
}

fn data(source: Source) -> Data {
    Data {
        source,
        batch_size: 1,
        shapes: Vec::new(),
        string_length: 5,
        string_data: None,
        seed: 1,
    }
}

#[test]
fn random_data_fit_every_datatype_and_are_the_same_for_the_same_seed() {
    for datatype in Datatype::ALL {
        let model = model(vec![spec("IN", datatype, &[3, 2])], true);
        let data = Data {
            batch_size: 4,
            ..data(Source::Random)
        };
        let drawn = samples(&data, &model).unwrap();
        let tensor = &drawn[0].inputs[0];
        assert_eq!(tensor.shape, [4, 3, 2]);
        let due = datatype.element_byte_size().unwrap_or(4 + 5) * 24;
        assert_eq!(tensor.data.len(), due, "{datatype}");
        assert_eq!(samples(&data, &model).unwrap()[0].inputs, drawn[0].inputs);
        assert_eq!(drawn.len(), 16);
        let zero = samples(
            &super::Data {
                source: Source::Zero,
                ..data
            },
            &model,
        )
        .unwrap();
        assert!(
            zero[0].inputs[0].data.iter().all(|&byte| byte == 0),
            "{datatype}"
        );
    }
}

#[test]
fn open_dimensions_and_batches_must_be_given_as_the_model_allows() {
    let open = model(vec![spec("IN", Datatype::Fp32, &[-1, 2])], false);
    let error = samples(&data(Source::Random), &open).unwrap_err();
    assert!(format!("{error:#}").contains("--shape IN:d,d"), "{error:#}");
    let given = Data {
        shapes: vec![("IN".to_owned(), vec![3, 2])],
        ..data(Source::Random)
    };
    assert_eq!(samples(&given, &open).unwrap()[0].inputs[0].shape, [3, 2]);
    let wrong = Data {
        shapes: vec![("IN".to_owned(), vec![3, 3])],
        ..data(Source::Random)
    };
    assert!(samples(&wrong, &open).is_err());
    let batched = Data {
        batch_size: 2,
        ..given
    };
    let error = samples(&batched, &open).unwrap_err().to_string();
    assert!(error.contains("max_batch_size is 0"), "{error}");
}

#[test]
fn perf_analyzers_json_is_read_in_all_its_forms() {
    let model = model(
        vec![
            spec("A", Datatype::Int32, &[-1]),
            spec("B", Datatype::Bytes, &[1]),
        ],
        true,
    );
    let text = r#"{"data": [
        {"A": {"content": [1, 2], "shape": [2]}, "B": ["x"]},
        [{"A": {"content": {"b64": "AwAAAAQAAAA="}, "shape": [2]}, "B": {"b64": "AQAAAHk="}},
         {"A": {"content": [[5], [6]], "shape": [2]}, "B": ["zz"]}]
    ], "validation_data": [{"OUT": [1, 2]}, {"OUT": [3, 4]}, {"OUT": [5, 6]}]}"#;
    let rows = json::parse(text, &data(Source::Random), &model).unwrap();
    let first: Vec<&[u8]> = rows.iter().map(|row| &row.inputs[0].data[..]).collect();
    assert_eq!(first[0], [1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(first[1], [3, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(first[2], [5, 0, 0, 0, 6, 0, 0, 0]);
    assert_eq!(rows[1].inputs[1].data, b"\x01\0\0\0y"[..]);
    assert_eq!(rows[2].expected[0].data, [5, 0, 0, 0, 6, 0, 0, 0][..]);
    // The second batch of two begins with the second row.
    let second = batch(&rows, 2, 2).unwrap();
    assert_eq!(second.inputs[0].shape, [2, 2]);
    assert_eq!(second.inputs[0].data[..8], *first[2]);
    assert_eq!(second.inputs[0].data[8..], *first[0]);
}

#[test]
fn json_that_does_not_fit_says_where() {
    let model = model(vec![spec("A", Datatype::Uint8, &[2])], false);
    let cases = [
        (r#"{"data": [{"A": [1, 2]}, {"A": [1]}]}"#, "entry 2"),
        (r#"{"data": [{"A": [1, 256]}]}"#, "256 is no UINT8"),
        (r#"{"data": [{"A": [1, 2], "X": [1]}]}"#, "no input X"),
        (r#"{"data": [{}]}"#, "input A is not in it"),
        (
            r#"{"data": [{"A": {"content": [1, 2], "shape": [1, 2]}}]}"#,
            "A is [2]",
        ),
        (r#"{"data": [{"A": [1, 2]}], "validation_data": []}"#, ""),
        (r#"{"inputs": []}"#, "no \"data\""),
    ];
    for (text, due) in cases {
        match json::parse(text, &data(Source::Random), &model) {
            Err(error) => assert!(format!("{error:#}").contains(due), "{text}: {error:#}"),
            Ok(_) => assert!(due.is_empty(), "{text}"),
        }
    }
}

/// A file as `numpy.save` writes it.
fn npy(descr: &str, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    file
}

#[test]
fn arrays_of_numpy_are_rows_or_one_row() {
    let spec = spec("IN", Datatype::Int32, &[2]);
    let bytes: Vec<u8> = [1_i32, 2, 3, 4]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let rows = npy::Array::parse(&npy("<i4", "(2, 2)", &bytes)).unwrap();
    let rows = rows.rows(&spec).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].data, bytes[8..]);
    let one = npy::Array::parse(&npy("<i4", "(2,)", &bytes[..8])).unwrap();
    assert_eq!(one.rows(&spec).unwrap()[0].shape, [2]);
    for (descr, shape) in [("<f4", "(2, 2)"), ("<i4", "(4,)"), ("|O", "(2,)")] {
        let array = npy::Array::parse(&npy(descr, shape, &bytes));
        assert!(
            array.and_then(|array| array.rows(&spec)).is_err(),
            "{descr} {shape}"
        );
    }
    assert!(npy::Array::parse(b"\x93NUMPY\x01\x00\xff\xff").is_err());
}

#[test]
fn a_folder_has_a_file_for_each_input() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(
        vec![
            spec("A", Datatype::Uint8, &[2]),
            spec("T", Datatype::Bytes, &[2]),
        ],
        false,
    );
    let source = || data(Source::Files(vec![folder.path().to_owned()]));
    fs::write(folder.path().join("A"), [7, 8]).unwrap();
    let error = samples(&source(), &model).unwrap_err();
    assert!(
        format!("{error:#}").contains("no file T or T.npy"),
        "{error:#}"
    );
    fs::write(folder.path().join("T"), "one\ntwo\n").unwrap();
    fs::write(folder.path().join("OUT"), [1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
    let samples = samples(&source(), &model).unwrap();
    assert_eq!(samples[0].inputs[0].data[..], [7, 8]);
    assert_eq!(
        samples[0].inputs[1].data[..],
        *b"\x03\0\0\0one\x03\0\0\0two"
    );
    assert_eq!(samples[0].expected[0].name, "OUT");
}
