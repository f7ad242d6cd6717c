use std::fs;

use super::*;

/// A version folder that holds `files`, and what completion makes of `config` there.
fn from_files(config: &str, model_name: &str, files: &[&str]) -> Result<pb::ModelConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let mut config = pbtxt(config);
    complete_from_files(&mut config, model_name, folder.path())
        .map(|()| config)
        .map_err(|error| {
            let folder = folder.path().display().to_string();
            error.to_string().replace(&folder, "FOLDER")
        })
}

#[test]
fn names_backends_and_files_follow_from_each_other() {
    // (configuration, model, files) to (backend, platform, file).
    let cases: [(&str, &str, &[&str], [&str; 3]); 14] = [
        (
            "",
            "m",
            &["model.onnx"],
            ["onnxruntime", "onnxruntime_onnx", "model.onnx"],
        ),
        (
            "",
            "m",
            &["model.plan", "model.onnx"],
            ["tensorrt", "tensorrt_plan", "model.plan"],
        ),
        (
            "",
            "m",
            &["model.py", "model.onnx"],
            ["onnxruntime", "onnxruntime_onnx", "model.onnx"],
        ),
        ("", "m", &["model.xml"], ["openvino", "", "model.xml"]),
        (
            "",
            "m",
            &["model.pt"],
            ["pytorch", "pytorch_libtorch", "model.pt"],
        ),
        (
            "",
            "m",
            &["model.pt2"],
            ["pytorch", "torch_aoti", "model.pt2"],
        ),
        ("", "m", &["model.py"], ["python", "", "model.py"]),
        ("", "m.identity", &[], ["identity", "", ""]),
        ("", "m.custom", &[], ["custom", "", "model.custom"]),
        (
            "backend: 'identity'",
            "m",
            &["model.onnx"],
            ["identity", "", ""],
        ),
        (
            "backend: 'onnxruntime'",
            "m",
            &[],
            ["onnxruntime", "onnxruntime_onnx", "model.onnx"],
        ),
        (
            "platform: 'onnxruntime_onnx'",
            "m",
            &[],
            ["onnxruntime", "onnxruntime_onnx", "model.onnx"],
        ),
        (
            "platform: 'torch_aoti'",
            "m",
            &[],
            ["pytorch", "torch_aoti", "model.pt2"],
        ),
        (
            "backend: 'onnxruntime' default_model_filename: 'a.onnx'",
            "m",
            &[],
            ["onnxruntime", "onnxruntime_onnx", "a.onnx"],
        ),
    ];
    for (config, model, files, want) in cases {
        let got = from_files(config, model, files).unwrap();
        let got_fields = [&got.backend, &got.platform, &got.default_model_filename];
        assert_eq!(got_fields, want, "{config} {model} {files:?}");
        assert_eq!(got.name, model);
    }
}

#[test]
fn says_what_is_missing_to_know_the_backend() {
    let cases = [
        (
            "",
            "m",
            "could not determine the backend of model 'm': its configuration has no 'backend' and \
             'FOLDER' has no model file (model.plan, model.onnx, model.xml, model.pt, model.pt2, \
             model.py); add the file, or write backend: \"onnxruntime\" in its config.pbtxt",
        ),
        (
            "name: 'other'",
            "m",
            "unexpected directory name 'm' for model 'other', directory name must equal model name",
        ),
        (
            "platform: 'onnx'",
            "m",
            "unexpected platform type 'onnx' for m: write the 'backend' that is to run it, such as \
             backend: \"onnxruntime\"",
        ),
        (
            "backend: 'onnxruntime' default_model_filename: '../x.onnx'",
            "m",
            "'default_model_filename' '../x.onnx' must be a relative path inside the model's \
             folder for m",
        ),
    ];
    for (config, model, want) in cases {
        assert_eq!(from_files(config, model, &[]).unwrap_err(), want);
    }
}

fn tensor(name: &str, datatype: Datatype, dims: &[i64]) -> EngineTensor {
    EngineTensor {
        name: name.to_owned(),
        datatype,
        dims: dims.into(),
        is_shape: false,
    }
}

fn signature(input: &[i64], output: &[i64]) -> EngineSignature {
    EngineSignature {
        inputs: vec![tensor("x", Datatype::Fp32, input)],
        outputs: vec![tensor("y", Datatype::Bytes, output)],
        max_batch_size: None,
    }
}

fn from_engine(
    config: &str,
    engine: &EngineSignature,
    environment: &Environment,
) -> Result<pb::ModelConfig, String> {
    let mut config = pbtxt(config);
    config.name = "m".to_owned();
    complete_from_engine(&mut config, engine, environment)
        .map(|()| config)
        .map_err(|error| error.to_string())
}

#[test]
fn a_batchable_model_gets_batching_inputs_and_outputs() {
    let got = from_engine("", &signature(&[-1, 3, -1], &[-1]), &Environment::default()).unwrap();
    let want = pbtxt(
        "name: 'm' max_batch_size: 4 dynamic_batching {}
         input { name: 'x' data_type: TYPE_FP32 dims: [3, -1] }
         output { name: 'y' data_type: TYPE_STRING dims: [1] reshape {} }",
    );
    assert_eq!(got, want);
}

#[test]
fn batching_follows_the_rules_of_the_onnx_backend() {
    let batchable = signature(&[-1, 3], &[-1, 3]);
    let fixed_output = signature(&[-1, 3], &[3]);
    let scalar_input = signature(&[], &[-1]);
    let full = "input { name: 'x' data_type: TYPE_FP32 dims: [-1, 3] }
                output { name: 'y' data_type: TYPE_STRING dims: [-1, 3] }";
    // (configuration, engine, default) to (max_batch_size, whether there is a scheduler).
    let cases = [
        ("", &batchable, 4, (4, true)),
        ("", &batchable, 1, (1, false)),
        ("", &batchable, 0, (0, false)),
        ("max_batch_size: 0", &batchable, 4, (4, true)),
        ("max_batch_size: 16", &batchable, 4, (16, true)),
        ("max_batch_size: 1", &batchable, 4, (1, false)),
        ("", &fixed_output, 4, (0, false)),
        ("", &scalar_input, 4, (0, false)),
        (full, &batchable, 4, (0, false)),
    ];
    for (config, engine, default_max_batch_size, want) in cases {
        let environment = Environment {
            default_max_batch_size,
            ..Environment::default()
        };
        let got = from_engine(config, engine, &environment).unwrap();
        let got = (got.max_batch_size, got.scheduling_choice.is_some());
        assert_eq!(got, want, "{config} {engine:?}");
    }
}

#[test]
fn a_scalar_of_a_model_without_batches_is_shown_as_one_element() {
    let got = from_engine("", &signature(&[], &[2]), &Environment::default()).unwrap();
    assert_eq!((got.max_batch_size, &got.input[0].dims[..]), (0, &[1][..]));
    assert_eq!(got.input[0].reshape, None);
    // And so written, it is accepted again.
    assert_eq!(
        from_engine(
            &to_pbtxt(&got),
            &signature(&[], &[2]),
            &Environment::default()
        ),
        Ok(got)
    );
}

fn to_pbtxt(config: &pb::ModelConfig) -> String {
    let (input, output) = (&config.input[0], &config.output[0]);
    format!(
        "input {{ name: '{}' data_type: {} dims: {:?} }} output {{ name: '{}' data_type: {} dims: {:?} }}",
        input.name, input.data_type, input.dims, output.name, output.data_type, output.dims
    )
}

#[test]
fn without_auto_completion_nothing_is_filled_in() {
    let environment = Environment {
        auto_complete: false,
        ..Environment::default()
    };
    let engine = signature(&[-1, 3], &[-1, 3]);
    let full = "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: [3] }";
    let got = from_engine(full, &engine, &environment).unwrap();
    let mut want = pbtxt(full);
    want.name = "m".to_owned();
    assert_eq!(got, want);
    assert_eq!(
        from_engine("max_batch_size: 8", &engine, &environment).unwrap_err(),
        "unable to load model 'm', configuration expects 0 inputs, model provides 1: input 'x' is \
         missing, the model's inputs are: x"
    );
}

#[test]
fn an_engine_that_was_made_for_a_batch_size_decides_it() {
    let of = |max_batch_size| EngineSignature {
        max_batch_size: Some(max_batch_size),
        ..signature(&[-1, 3], &[-1, 1])
    };
    let completed = |config, most| {
        let config = from_engine(config, &of(most), &Environment::default())?;
        Ok((config.max_batch_size, config.scheduling_choice.is_some()))
    };
    assert_eq!(completed("", 16), Ok((16, true)));
    assert_eq!(completed("", 1), Ok((1, false)));
    assert_eq!(completed("max_batch_size: 8", 16), Ok((8, true)));
    let refused: Result<_, String> = completed("max_batch_size: 17", 16);
    assert_eq!(
        refused.unwrap_err(),
        "unable to load model 'm', configuration specified max-batch 17 but the engine only supports \
         max-batch 16"
    );
}

#[test]
fn says_what_differs_from_the_engine() {
    let engine = EngineSignature {
        inputs: vec![
            tensor("b", Datatype::Fp32, &[-1, 3]),
            tensor("a", Datatype::Int64, &[-1, -1]),
        ],
        outputs: vec![tensor("y", Datatype::Fp16, &[-1, 2, 2])],
        max_batch_size: None,
    };
    let good = "max_batch_size: 2 input [
        { name: 'a' data_type: TYPE_INT64 dims: 7 }, { name: 'b' data_type: TYPE_FP32 dims: 3 } ]
        output { name: 'y' data_type: TYPE_FP16 dims: 4 reshape { shape: [2, 2] } }";
    from_engine(good, &engine, &Environment::default()).unwrap();
    // What to replace in the good configuration, with what, and what is said of it.
    let cases = [
        (
            "name: 'a'",
            "name: 'c'",
            "unexpected inference input 'c', allowed inputs are: a, b",
        ),
        (
            "name: 'y'",
            "name: 'z'",
            "unexpected inference output 'z', allowed outputs are: y",
        ),
        (
            "name: 'a'",
            "name: 'b'",
            "unable to load model 'm', configuration expects datatype TYPE_INT64 for input 'b', \
             model provides TYPE_FP32",
        ),
        (
            "TYPE_FP16 dims: 4",
            "TYPE_FP32 dims: 4",
            "unable to load model 'm', configuration expects datatype TYPE_FP32 for output 'y', \
             model provides TYPE_FP16",
        ),
        (
            "dims: 3",
            "dims: 4",
            "model 'm', input 'b': the model has shape [-1,3], but the configuration specifies \
             shape [-1,4] (an initial batch dimension because max_batch_size > 0, then the dims of \
             the configuration)",
        ),
        (
            "max_batch_size: 2",
            "max_batch_size: 0",
            "model 'm', input 'a': the model has shape [-1,-1], but the configuration specifies \
             shape [7]; these are 2 and 1 dimensions",
        ),
        (
            "{ name: 'a' data_type: TYPE_INT64 dims: 7 },",
            "",
            "unable to load model 'm', configuration expects 1 inputs, model provides 2: input 'a' \
             is missing, the model's inputs are: a, b",
        ),
    ];
    for (from, to, want) in cases {
        let got = from_engine(
            &good.replacen(from, to, 1),
            &engine,
            &Environment::default(),
        );
        assert_eq!(got.unwrap_err(), want);
    }
}

#[test]
fn an_output_may_be_left_open_where_the_engine_knows_it_but_its_rows_may_not() {
    let agrees = |config: &str, output: &[i64]| {
        let engine = signature(&[-1, 3], output);
        from_engine(config, &engine, &Environment::default()).is_ok()
    };
    let config = |batch, input, output| {
        format!(
            "max_batch_size: {batch} input {{ name: 'x' data_type: TYPE_FP32 dims: {input} }} \
             output {{ name: 'y' data_type: TYPE_STRING dims: {output} }}"
        )
    };
    assert!(agrees(&config(0, "[-1, 3]", "[1, -1, 128]"), &[1, 1, 128]));
    assert!(!agrees(&config(0, "[-1, 3]", "[1, -1, 64]"), &[1, 1, 128]));
    assert!(!agrees(&config(0, "[-1, -1]", "[1, 1, 128]"), &[1, 1, 128]));
    assert!(agrees(&config(4, "[3]", "[-1]"), &[-1, 5]));
    assert!(!agrees(&config(4, "[3]", "[-1]"), &[1, 5]));
}

#[test]
fn says_which_tensor_cannot_be_batched() {
    for config in [
        "max_batch_size: 8",
        "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: 3 }
         output { name: 'y' data_type: TYPE_STRING dims: 3 }",
    ] {
        let got = from_engine(
            config,
            &signature(&[-1, 3], &[1, 3]),
            &Environment::default(),
        );
        assert_eq!(
            got.unwrap_err(),
            "model 'm' has 'max_batch_size' 8, but its output 'y' has shape [1,3], whose first \
             dimension is not a variable batch dimension (-1); write max_batch_size: 0"
        );
    }
}

#[test]
fn an_ensemble_is_refused_by_name_and_not_for_want_of_a_backend() {
    for config in [
        "platform: 'ensemble' ensemble_scheduling {}",
        "platform: 'ensemble'",
        "ensemble_scheduling {}",
    ] {
        assert_eq!(
            from_files(config, "m", &[]).unwrap_err(),
            "'ensemble_scheduling' is not supported by this version of Despina"
        );
    }
}
