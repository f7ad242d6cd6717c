use super::{validate::normalise, *};

#[test]
fn every_datatype_keeps_its_name() {
    for datatype in Datatype::ALL {
        let data_type = tensors::data_type_of(datatype);
        assert_eq!(tensors::datatype_of(data_type.into()), Some(datatype));
        let name = match datatype {
            Datatype::Bytes => "TYPE_STRING".to_owned(),
            other => format!("TYPE_{}", other.name()),
        };
        assert_eq!(data_type.as_str_name(), name);
    }
    assert_eq!(tensors::datatype_of(0), None);
    assert_eq!(tensors::datatype_of(15), None);
    assert_eq!(tensors::datatype_of(-1), None);
}

#[test]
fn the_batcher_gets_its_settings() {
    let config = normalise(
        "dynamic_batching {
           preferred_batch_size: [ 8, 2, 8 ] max_queue_delay_microseconds: 250
           priority_levels: 2 default_priority_level: 2
           default_queue_policy { default_timeout_microseconds: 5 allow_timeout_override: true }
           priority_queue_policy { key: 1 value { timeout_action: DELAY max_queue_size: 3 } }
         }",
    );
    let want = DynamicBatching {
        preferred_batch_sizes: vec![2, 8],
        max_queue_delay: Duration::from_micros(250),
        preserve_ordering: false,
        priority_levels: 2,
        default_priority_level: 2,
        default_queue_policy: Some(QueuePolicy {
            default_timeout: Some(Duration::from_micros(5)),
            allow_timeout_override: true,
            ..QueuePolicy::default()
        }),
        priority_queue_policy: BTreeMap::from([(
            1,
            QueuePolicy {
                timeout_action: TimeoutAction::Delay,
                max_queue_size: Some(3),
                ..QueuePolicy::default()
            },
        )]),
    };
    assert_eq!(config.unwrap().scheduling, Scheduling::Dynamic(want));
}

#[test]
fn versions_to_serve() {
    let policy = |text: &str| ModelConfig::version_policy_of(&pbtxt(text));
    let cases = [
        ("", VersionPolicy::Latest(1)),
        ("version_policy {}", VersionPolicy::Latest(1)),
        ("version_policy { latest {} }", VersionPolicy::Latest(1)),
        (
            "version_policy { latest { num_versions: 3 } }",
            VersionPolicy::Latest(3),
        ),
        ("version_policy { all {} }", VersionPolicy::All),
        (
            "version_policy { specific { versions: [3, 1] } }",
            VersionPolicy::Specific(vec![3, 1]),
        ),
    ];
    for (text, want) in cases {
        assert_eq!(policy(text), Ok(want), "{text}");
    }
    for version in [0, -1] {
        let text =
            format!("name: 'm' version_policy {{ specific {{ versions: [1, {version}] }} }}");
        assert_eq!(
            policy(&text).unwrap_err().to_string(),
            format!("'version_policy.specific.versions' must be positive, not {version}, for m")
        );
    }
}

#[test]
fn warmup_samples_are_normalised() {
    let config = normalise(
        "model_warmup [
           { name: 'none' inputs { key: 'x' value { data_type: TYPE_FP32 dims: [2, 4] zero_data: true } } },
           { name: 'two' batch_size: 8 count: 2
             inputs { key: 'x' value { data_type: TYPE_STRING dims: 1 random_data: true } } },
           { batch_size: 1 inputs { key: 'x' value { data_type: TYPE_FP16 dims: 1 random_data: true } } },
           { batch_size: 1 inputs { key: 'x' value { data_type: TYPE_INT8 input_data_file: 'a/b.raw' } } }
         ]",
    );
    let got: Vec<_> = config
        .unwrap()
        .warmup
        .into_iter()
        .map(|sample| {
            let input = sample.inputs["x"].clone();
            (sample.batch_size, sample.count, input.datatype, input.data)
        })
        .collect();
    let want = [
        (0, 1, Datatype::Fp32, WarmupData::Zero),
        (8, 2, Datatype::Bytes, WarmupData::Zero),
        (1, 1, Datatype::Fp16, WarmupData::Random),
        (1, 1, Datatype::Int8, WarmupData::File("a/b.raw".to_owned())),
    ];
    assert_eq!(got, want);
}

#[test]
fn a_reshape_keeps_every_variable_dimension() {
    let cases = [
        ("[2, 4, -1, 6]", "[8, -1, 1, 6]", true),
        ("[1]", "[]", true),
        ("[2]", "[]", false),
        ("[6]", "[2, 3]", true),
        ("[6]", "[2, 2]", false),
        ("[-1, 6]", "[6]", false),
        ("[-1, 6]", "[6, -1]", false),
        ("[4611686018427387904, 4]", "[1]", false),
    ];
    for (dims, shape, want) in cases {
        let text = format!(
            "output {{ name: 'z' data_type: TYPE_FP32 dims: {dims} reshape {{ shape: {shape} }} }}"
        );
        assert_eq!(normalise(&text).is_ok(), want, "{dims} {shape}");
    }
}
