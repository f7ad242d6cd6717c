use super::{
    validate::{BASE, normalise, normalise_on},
    *,
};

fn group(name: &str, kind: InstanceKind, count: usize) -> InstanceGroup {
    InstanceGroup {
        name: name.to_owned(),
        kind,
        gpus: Vec::new(),
        count,
        passive: false,
        host_policy: None,
        fallback: Fallback::Engine,
    }
}

fn auto(name: &str, kind: InstanceKind, gpus: &[u32], count: usize) -> InstanceGroup {
    InstanceGroup {
        gpus: gpus.to_vec(),
        fallback: Fallback::Any,
        ..group(name, kind, count)
    }
}

#[test]
fn instances_get_names_kinds_and_counts() {
    let config = normalise(
        "instance_group [ {}, { kind: KIND_CPU count: 3 name: 'own' }, { kind: KIND_MODEL },
         { passive: true host_policy: 'here' count: 1 } ]",
    )
    .unwrap();
    assert_eq!(
        config.instance_groups,
        [
            auto("m_0", InstanceKind::Cpu, &[], 2),
            group("own", InstanceKind::Cpu, 3),
            group("m_2", InstanceKind::Model, 1),
            InstanceGroup {
                passive: true,
                host_policy: Some("here".to_owned()),
                ..auto("m_3", InstanceKind::Cpu, &[], 1)
            },
        ]
    );
    let mut identity = pbtxt(BASE);
    identity.backend = "identity".to_owned();
    identity.platform.clear();
    let config = ModelConfig::from_proto(identity, &Environment::default()).unwrap();
    assert_eq!(
        config.instance_groups,
        [auto("m", InstanceKind::Cpu, &[], 1)]
    );
}

#[test]
fn groups_without_a_kind_are_on_every_gpu_and_those_that_name_gpus_on_these() {
    let cases: [(&str, &[u32], InstanceGroup); 6] = [
        ("", &[0, 1], auto("m", InstanceKind::Gpu, &[0, 1], 1)),
        (
            "instance_group { kind: KIND_GPU count: 2 }",
            &[0, 1],
            InstanceGroup {
                gpus: vec![0, 1],
                ..group("m_0", InstanceKind::Gpu, 2)
            },
        ),
        (
            "instance_group { gpus: [1] count: 3 }",
            &[0, 1],
            auto("m_0", InstanceKind::Gpu, &[1], 3),
        ),
        (
            "instance_group { kind: KIND_CPU }",
            &[0, 1],
            group("m_0", InstanceKind::Cpu, 2),
        ),
        // What is missing is sorted out by placement, unless no GPU is there at all.
        (
            "instance_group { gpus: [0, 7] }",
            &[0],
            auto("m_0", InstanceKind::Gpu, &[0, 7], 1),
        ),
        (
            "instance_group { gpus: [0, 7] }",
            &[],
            auto("m_0", InstanceKind::Cpu, &[], 2),
        ),
    ];
    for (extra, gpus, want) in cases {
        let config = normalise_on(extra, gpus).unwrap();
        assert_eq!(config.instance_groups, [want], "{extra}");
        let shown = &config.proto.instance_group[0];
        let ordinals: Vec<_> = shown
            .gpus
            .iter()
            .map(|&gpu| u32::try_from(gpu).unwrap())
            .collect();
        assert_eq!(ordinals, config.instance_groups[0].gpus, "{extra}");
    }
}

#[test]
fn packing_leaves_the_choice_of_gpus_open() {
    let environment = Environment {
        gpus: vec![0, 1],
        auto_placement: AutoPlacement::Pack,
        ..Environment::default()
    };
    let groups = "instance_group [ { count: 3 }, { gpus: 1 }, { kind: KIND_GPU } ]";
    let config =
        ModelConfig::from_proto(pbtxt(&format!("{BASE}\n{groups}")), &environment).unwrap();
    let gpus = |index: usize| config.instance_groups[index].gpus.as_slice();
    assert_eq!(
        (gpus(0), gpus(1), gpus(2)),
        (&[][..], &[1][..], &[0, 1][..])
    );
    assert_eq!(config.instance_groups[0].kind, InstanceKind::Gpu);
    assert_eq!(config.instance_groups[0].count, 3);
}

#[test]
fn an_engine_that_cannot_use_gpus_keeps_groups_without_a_kind_on_the_cpu() {
    let environment = Environment {
        gpus: vec![0, 1],
        auto_on_gpu: false,
        ..Environment::default()
    };
    let groups = "instance_group [ {}, { gpus: 1 }, { kind: KIND_GPU } ]";
    let config =
        ModelConfig::from_proto(pbtxt(&format!("{BASE}\n{groups}")), &environment).unwrap();
    let [first, second, third] = config.instance_groups.as_slice() else {
        panic!("not three");
    };
    assert_eq!(first, &auto("m_0", InstanceKind::Cpu, &[], 2));
    assert_eq!(second, &auto("m_1", InstanceKind::Cpu, &[], 2));
    assert_eq!((third.kind, third.gpus.len()), (InstanceKind::Gpu, 2));
}

#[test]
fn the_fallback_is_said_by_a_parameter() {
    let with = |value: &str| {
        format!(
            "parameters {{ key: 'device_fallback' value {{ string_value: '{value}' }} }}
             instance_group {{ kind: KIND_GPU gpus: 5 }}"
        )
    };
    for (value, want) in [("gpu", Fallback::Gpu), ("any", Fallback::Any)] {
        let config = normalise_on(&with(value), &[0]).unwrap();
        assert_eq!(config.instance_groups[0].fallback, want);
        assert_eq!(config.instance_groups[0].gpus, [5]);
    }
    for value in ["none", "engine"] {
        let error = normalise_on(&with(value), &[0]).unwrap_err();
        assert!(error.contains("unsupported gpu id 5"), "{error}");
    }
    assert_eq!(
        normalise_on(&with("nany"), &[0]).unwrap_err(),
        "parameter 'device_fallback' of model m must be one of none, engine, gpu, any, not 'nany', \
         did you mean 'any'?"
    );
}

#[test]
fn wrong_groups_are_refused_in_tritons_words() {
    let cases: [(&str, &[u32], &str); 6] = [
        (
            "instance_group { kind: KIND_GPU }",
            &[],
            "instance group m_0 of model m has kind KIND_GPU but no GPUs are available",
        ),
        (
            "instance_group { kind: KIND_GPU gpus: [0, 5] }",
            &[0, 1],
            "instance group m_0 of model m specifies invalid or unsupported gpu id 5. GPUs with at \
             least the minimum required CUDA compute compatibility of 0.000000 are: 0, 1",
        ),
        (
            "instance_group { gpus: -1 }",
            &[0],
            "instance group m_0 of model m specifies invalid or unsupported gpu id -1",
        ),
        (
            "instance_group { kind: KIND_MODEL gpus: 0 }",
            &[0],
            "instance group m_0 of model m has kind KIND_MODEL but specifies one or more GPUs",
        ),
        (
            "instance_group { secondary_devices { device_id: 1 } }",
            &[0],
            "instance group m_0 of model m specifies 'secondary_devices', which are not supported \
             by this version of Despina",
        ),
        (
            "instance_group { kind: KIND_GPU count: 600 }",
            &[0, 1],
            "model m asks for 1200 instances, the limit is 1024",
        ),
    ];
    for (extra, gpus, want) in cases {
        assert_eq!(normalise_on(extra, gpus).unwrap_err(), want);
    }
}
