use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    device::Gpu,
    model_config::{self, Environment, Fallback},
};

const GIB: u64 = 1 << 30;

fn space(ordinal: u32, limit_byte_size: u64) -> Space {
    Space {
        ordinal,
        limit_byte_size,
        is_limited: false,
        taken_byte_size: 0,
    }
}

fn wish(model: &str, target: Target, fallback: Fallback, byte_size: u64) -> Wish {
    Wish {
        model: model.into(),
        target,
        fallback,
        byte_size,
        engine_fault: None,
    }
}

fn devices(answers: &[Result<Seat, Refusal>]) -> Vec<Option<Device>> {
    answers
        .iter()
        .map(|answer| answer.as_ref().ok().map(|seat| seat.device))
        .collect()
}

#[test]
fn what_is_configured_is_obeyed_even_if_another_gpu_is_emptier() {
    let wishes = [
        wish("a/1", Target::Gpu(0), Fallback::Engine, 4),
        wish("b/1", Target::Gpu(0), Fallback::None, 4),
        wish("c/1", Target::Host, Fallback::None, 4),
    ];
    let answers = plan(&[space(0, 8), space(1, 80)], &wishes);
    let on_first = Some(Device::Cuda(0));
    assert_eq!(devices(&answers), [on_first, on_first, Some(Device::Host)]);
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().why == Why::Configured)
    );
}

#[test]
fn replicas_are_spread_and_the_larger_choose_first() {
    let any = |model, byte_size| wish(model, Target::AnyGpu, Fallback::Any, byte_size);
    let wishes = [
        any("small/1", 1),
        any("small/1", 1),
        any("large/1", 8),
        any("large/1", 8),
    ];
    let answers = plan(&[space(0, 10), space(1, 9)], &wishes);
    let (first, second) = (Some(Device::Cuda(0)), Some(Device::Cuda(1)));
    assert_eq!(devices(&answers), [first, second, first, second]);
}

#[test]
fn who_may_goes_to_another_gpu_then_to_the_cpu_and_is_told_why() {
    let cases = [
        (Fallback::Any, 4, Ok(Device::Cuda(0)), "GPU 7 is not there"),
        (Fallback::Gpu, 4, Ok(Device::Cuda(0)), "GPU 7 is not there"),
        (Fallback::Any, 9, Ok(Device::Host), "GPU 7 is not there"),
        (
            Fallback::Gpu,
            9,
            Err(()),
            "no GPU has 9 bytes left, the most is 8",
        ),
        (Fallback::Engine, 4, Err(()), "GPU 7 is not there"),
        (Fallback::None, 4, Err(()), "GPU 7 is not there"),
    ];
    for (fallback, byte_size, want, reason) in cases {
        let wishes = [wish("a/1", Target::Gpu(7), fallback, byte_size)];
        let answer = plan(&[space(0, 8)], &wishes).remove(0);
        let said = match &answer {
            Ok(seat) => seat.why.to_string(),
            Err(refusal) => refusal.to_string(),
        };
        let device = answer.map(|seat| seat.device).map_err(drop);
        assert_eq!((device, said.as_str()), (want, reason), "{fallback:?}");
    }
}

#[test]
fn an_engine_without_gpus_falls_to_the_cpu_unless_that_is_forbidden() {
    for (fallback, want) in [
        (Fallback::None, None),
        (Fallback::Gpu, None),
        (Fallback::Engine, Some(Device::Host)),
        (Fallback::Any, Some(Device::Host)),
    ] {
        let wishes = [Wish {
            engine_fault: Some("no CUDA".into()),
            ..wish("a/1", Target::Gpu(0), fallback, 1)
        }];
        let answers = plan(&[space(0, 8)], &wishes);
        assert_eq!(devices(&answers), [want], "{fallback:?}");
    }
}

fn any_fallback() -> impl Strategy<Value = Fallback> {
    prop_oneof![
        Just(Fallback::None),
        Just(Fallback::Engine),
        Just(Fallback::Gpu),
        Just(Fallback::Any)
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        1 => Just(Target::Host),
        4 => (0_u32..5).prop_map(Target::Gpu),
        4 => Just(Target::AnyGpu)
    ]
}

prop_compose! {
    fn any_wish()(
        model in 0..4, target in any_target(), fallback in any_fallback(),
        byte_size in 0_u64..40, engine in 0..8,
    ) -> Wish {
        Wish {
            engine_fault: (engine == 0).then(|| "no CUDA".into()),
            ..wish(&format!("{model}/1"), target, fallback, byte_size)
        }
    }
}

fn any_spaces() -> impl Strategy<Value = Vec<Space>> {
    prop::collection::vec((0_u64..100, 0_u64..50), 0..4).prop_map(|sizes| {
        (0..)
            .zip(sizes)
            .map(|(ordinal, (limit, taken))| Space {
                taken_byte_size: taken.min(limit),
                ..space(ordinal, limit)
            })
            .collect()
    })
}

/// The GPUs after the plan.
fn after(spaces: &[Space], wishes: &[Wish], answers: &[Result<Seat, Refusal>]) -> Vec<Space> {
    let mut spaces = spaces.to_vec();
    for (wish, answer) in wishes.iter().zip(answers) {
        if let Ok(Seat {
            device: Device::Cuda(ordinal),
            ..
        }) = answer
        {
            spaces[*ordinal as usize].taken_byte_size += wish.byte_size;
        }
    }
    spaces
}

proptest! {
    #[test]
    fn nothing_goes_beyond_a_limit_and_everything_has_a_device_or_a_reason(
        spaces in any_spaces(), wishes in prop::collection::vec(any_wish(), 0..12),
    ) {
        let answers = plan(&spaces, &wishes);
        prop_assert_eq!(answers.len(), wishes.len());
        let after = after(&spaces, &wishes, &answers);
        for space in &after {
            prop_assert!(space.taken_byte_size <= space.limit_byte_size);
        }
        for (wish, answer) in wishes.iter().zip(&answers) {
            match answer {
                Ok(seat) => match (wish.target, wish.fallback) {
                    (Target::Host, _) => prop_assert_eq!(seat.device, Device::Host),
                    (Target::Gpu(gpu), Fallback::None) => {
                        prop_assert_eq!(seat.device, Device::Cuda(gpu));
                    }
                    _ => {}
                },
                // A refusal is true at the end as well: nobody who was refused would still fit.
                Err(Refusal::Full { ordinal, needed, .. }) => {
                    prop_assert!(after[*ordinal as usize].left() < *needed);
                }
                Err(Refusal::NoRoom { needed, .. }) => {
                    prop_assert!(after.iter().all(|space| space.left() < *needed));
                }
                Err(Refusal::Absent(ordinal)) => {
                    prop_assert!(spaces.iter().all(|space| space.ordinal != *ordinal));
                }
                Err(Refusal::Engine(_)) => prop_assert!(wish.engine_fault.is_some()),
                Err(Refusal::Lost(_)) => prop_assert!(false, "a plan knows of no loss"),
            }
        }
    }

    #[test]
    fn the_answer_is_the_same_again_and_whatever_runs_on_the_cpu_or_nowhere(
        spaces in any_spaces(),
        wishes in prop::collection::vec(any_wish(), 0..8),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let answers = plan(&spaces, &wishes);
        prop_assert_eq!(&answers, &plan(&spaces, &wishes));
        let mut with_others: Vec<_> = wishes.iter().cloned().map(|wish| (true, wish)).collect();
        for (number, place) in places.iter().enumerate() {
            let other = match number % 2 {
                0 => wish("other/1", Target::Host, Fallback::None, 50),
                _ => wish("other/2", Target::Gpu(9), Fallback::Engine, 50),
            };
            with_others.insert(place.index(with_others.len() + 1), (false, other));
        }
        let asked: Vec<_> = with_others.iter().map(|(_, wish)| wish.clone()).collect();
        let answered = plan(&spaces, &asked);
        let same = with_others.iter().zip(answered).filter(|((same, _), _)| *same);
        prop_assert_eq!(same.map(|(_, answer)| answer).collect::<Vec<_>>(), answers);
    }

    #[test]
    fn what_is_placed_stays_when_others_come_and_go(
        wishes in prop::collection::vec((any_wish(), any::<bool>()), 1..12),
    ) {
        // Each wish is a model of its own that loads in turn; some are unloaded again.
        let placer = Placer::new(&inventory(&[60, 40]), &Config::default()).unwrap();
        let mut kept = Vec::new();
        for (wish, stays) in wishes {
            let mut model = config(&[0, 1], "instance_group { count: 1 }");
            let group = &mut model.instance_groups[0];
            group.gpus = match wish.target {
                Target::Gpu(ordinal) => vec![ordinal],
                Target::Host | Target::AnyGpu => Vec::new(),
            };
            group.fallback = wish.fallback;
            let footprint = Footprint::Declared(wish.byte_size);
            if let Ok(reservation) = placer.place(&mut model, 1, footprint, None)
                && stays
            {
                kept.push((running(&model), wish.byte_size, reservation));
            }
            let mut sums = BTreeMap::from([("0", 0), ("1", 0)]);
            for (devices, byte_size, _) in &kept {
                for device in devices {
                    if let Some((_, ordinal)) = device.split_once("cuda:") {
                        *sums.get_mut(ordinal).unwrap() += byte_size;
                    }
                }
            }
            let taken = lock(&placer.taken);
            let account = |ordinal: u32| taken.get(&ordinal).copied().unwrap_or(0);
            prop_assert_eq!((account(0), account(1)), (sums["0"], sums["1"]));
            prop_assert!(account(0) <= 60 && account(1) <= 40);
        }
    }

    #[test]
    fn replicas_are_spread_evenly_where_there_is_room(
        gpus in 1_usize..6, count in 1_usize..20, byte_size in 1_u64..10,
    ) {
        let spaces: Vec<_> = (0..).take(gpus).map(|ordinal| space(ordinal, 1000)).collect();
        let wishes = vec![wish("a/1", Target::AnyGpu, Fallback::Any, byte_size); count];
        let after = after(&spaces, &wishes, &plan(&spaces, &wishes));
        let counts = after.iter().map(|space| space.taken_byte_size / byte_size);
        let (least, most) = (counts.clone().min().unwrap(), counts.max().unwrap());
        prop_assert!(most - least <= 1, "{} {}", least, most);
    }
}

fn inventory(memory: &[u64]) -> Inventory {
    let gpus = (0..).zip(memory).map(|(ordinal, &memory_byte_size)| Gpu {
        ordinal,
        uuid: format!("GPU-{ordinal}"),
        name: "made by hand".to_owned(),
        compute_capability: (8, ordinal),
        memory_byte_size,
        numa_node: None,
        parent_uuid: None,
    });
    Inventory {
        cpu_count: 1,
        gpus: gpus.collect(),
        mig_devices: Vec::new(),
        driver: None,
        no_gpu_reason: None,
    }
}

fn config(gpus: &[u32], extra: &str) -> ModelConfig {
    let text = format!("name: 'm' backend: 'identity' {extra}");
    let environment = Environment {
        gpus: gpus.to_vec(),
        ..Environment::default()
    };
    let proto = model_config::from_pbtxt(&text, "config.pbtxt").unwrap();
    ModelConfig::from_proto(proto, &environment).unwrap()
}

fn running(config: &ModelConfig) -> Vec<String> {
    instances(&config.instance_groups)
        .map(|(name, _, device)| format!("{name} {device}"))
        .collect()
}

#[test]
fn instances_are_numbered_by_round_and_have_one_name_on_all_gpus_of_it() {
    let config = config(
        &[0, 1],
        "instance_group [ { kind: KIND_GPU count: 2 }, { kind: KIND_CPU } ]",
    );
    assert_eq!(
        running(&config),
        [
            "m_0_0 cuda:0",
            "m_0_0 cuda:1",
            "m_0_1 cuda:0",
            "m_0_1 cuda:1",
            "m_1_0 cpu"
        ]
    );
}

#[test]
fn room_is_taken_and_given_back() {
    let placer = Placer::new(&inventory(&[GIB]), &Config::default()).unwrap();
    let place = || {
        let mut config = config(&[0], "instance_group { kind: KIND_GPU count: 2 }");
        placer.place(&mut config, 1, Footprint::Declared(GIB / 2), None)
    };
    let reservation = place().unwrap();
    let refused = place().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "can not create model 'm_0_0': GPU 0 has 0 of 536870912 bytes left; set the parameter \
         'device_fallback' to 'any' to let it run elsewhere"
    );
    drop(reservation);
    place().unwrap();
}

#[test]
fn beyond_a_limit_the_refusal_is_tritons() {
    let limited = Config {
        gpu_limits: BTreeMap::from([(0, 0.5)]),
        ..Config::default()
    };
    let placer = Placer::new(&inventory(&[GIB]), &limited).unwrap();
    let mut config = config(&[0], "instance_group { kind: KIND_GPU count: 1 }");
    placer
        .place(&mut config, 1, Footprint::Declared(GIB / 2), None)
        .unwrap();
    let refused = placer
        .place(&mut config, 1, Footprint::Declared(GIB / 2 + 1), None)
        .unwrap_err();
    assert!(
        refused.to_string().starts_with(
            "can not create model 'm_0_0': memory limit set for GPU 0 has exceeded, model loading \
             is rejected."
        ),
        "{refused}"
    );
}

#[test]
fn the_configuration_shows_where_instances_went() {
    let placer = Placer::new(&inventory(&[3 * GIB, 3 * GIB]), &Config::default()).unwrap();
    let mut moved = config(&[0, 1], "instance_group { gpus: [ 0, 1, 7 ] count: 2 }");
    placer
        .place(&mut moved, 1, Footprint::Declared(GIB), None)
        .unwrap();
    assert_eq!(
        running(&moved),
        [
            "m_0_0 cuda:0",
            "m_0_0 cuda:1",
            "m_0_1 cuda:0",
            "m_0_1 cuda:1",
            "m_0_2 cuda:0",
            "m_0_2 cuda:1"
        ]
    );
    let mut on_cpu = config(&[0, 1], "");
    let fault = Some("no CUDA here");
    placer
        .place(&mut on_cpu, 1, Footprint::Declared(GIB), fault)
        .unwrap();
    assert_eq!(running(&on_cpu), ["m_0 cpu", "m_1 cpu"]);
    let shown = model_config::to_json(&on_cpu.proto);
    assert!(
        shown.contains(r#""kind":"KIND_CPU","count":2,"gpus":[]"#),
        "{shown}"
    );
}

#[test]
fn weak_gpus_are_not_used() {
    let settings = Config {
        min_compute_capability: 8.1,
        ..Config::default()
    };
    let inventory = inventory(&[1, 2, 3]);
    assert_eq!(settings.usable_gpus(&inventory), [1, 2]);
    let spaces = spaces(&inventory, &settings).unwrap();
    assert_eq!(spaces, [space(1, 2), space(2, 3)]);
}

#[test]
fn host_policies_are_found_by_name_and_checked_at_start() {
    let policy = |cores: &str| HostPolicy {
        cpu_cores: Some(cores.to_owned()),
        numa_node: None,
    };
    let settings = |name: &str, cores: &str| Config {
        host_policies: BTreeMap::from([(name.to_owned(), policy(cores))]),
        ..Config::default()
    };
    let machine = Inventory::probe();
    for (cores, want) in [
        ("many", "host policy 'cpu': 'many' is neither a core"),
        ("0-1023", "host policy 'cpu': core "),
    ] {
        let error = Placer::new(&machine, &settings("cpu", cores)).unwrap_err();
        assert!(error.starts_with(want), "{error}");
    }
    let first = crate::device::allowed_cores().unwrap();
    let first = first.first().unwrap().to_string();
    let kinds = config(
        &[0],
        "instance_group [ { kind: KIND_CPU }, { kind: KIND_MODEL }, { kind: KIND_GPU }, { kind: KIND_CPU host_policy: 'gpu_0' } ]",
    );
    for (name, want) in [
        ("cpu", [true, false, false, false]),
        ("model", [false, true, false, false]),
        ("gpu_0", [false, false, true, true]),
    ] {
        let placer = Placer::new(&machine, &settings(name, &first)).unwrap();
        let bound: Vec<_> = instances(&kinds.instance_groups)
            .map(|(_, group, device)| placer.affinity(group, device).is_some())
            .collect();
        assert_eq!(bound, want, "{name}");
    }
}

#[test]
fn limits_are_fractions() {
    for fraction in [-0.1, 1.1, f64::NAN] {
        let settings = Config {
            gpu_limits: BTreeMap::from([(3, fraction)]),
            ..Config::default()
        };
        let error = Placer::new(&inventory(&[]), &settings).unwrap_err();
        assert!(error.starts_with("the limit of GPU 3 must be"), "{error}");
    }
}

#[test]
fn a_footprint_is_declared_or_the_size_of_all_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("model.onnx"), [0; 10]).unwrap();
    std::fs::write(folder.path().join("data/weights"), [0; 32]).unwrap();
    let files = Footprint::of(&config(&[], ""), folder.path());
    assert_eq!(files, Ok(Footprint::Estimated(42)));
    let none = Footprint::of(&config(&[], ""), Path::new("/nowhere"));
    assert_eq!(none, Ok(Footprint::Estimated(0)));
    let declaring = |text: &str| {
        config(
            &[],
            &format!(
                "parameters {{ key: '{FOOTPRINT_PARAMETER}' value {{ string_value: '{text}' }} }}"
            ),
        )
    };
    let declared = Footprint::of(&declaring("7"), folder.path());
    assert_eq!(declared, Ok(Footprint::Declared(7)));
    let wrong = Footprint::of(&declaring("7 GB"), folder.path()).unwrap_err();
    assert!(wrong.to_string().contains("not '7 GB'"), "{wrong}");
}

#[test]
fn pretended_devices_are_counted_or_described() {
    let sizes = |text: &str| {
        let gpus = pretend(text).unwrap().gpus;
        gpus.iter()
            .map(|gpu| (gpu.ordinal, gpu.memory_byte_size))
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes("2x80GiB"), [(0, 80 * GIB), (1, 80 * GIB)]);
    assert_eq!(sizes("1x24G, 1x512MiB"), [(0, 24 * GIB), (1, GIB / 2)]);
    assert_eq!(sizes("1x1000"), [(0, 1000)]);
    assert_eq!(sizes("0"), []);
    let file = "- memory_byte_size: 5\n  compute_capability: [7, 0]\n- memory_byte_size: 6\n";
    assert_eq!(sizes(file), [(0, 5), (1, 6)]);
    assert_eq!(pretend(file).unwrap().gpus[0].compute_capability, (7, 0));
    for (text, want) in [
        ("8x80TB", "'8x80TB' is not <count>x<bytes>, such as 8x80GiB"),
        ("8", "'8' is not <count>x<bytes>, such as 8x80GiB"),
        ("9999x1", "'9999x1' are 9999 GPUs, the limit is 1024"),
    ] {
        assert_eq!(pretend(text).unwrap_err(), want);
    }
    assert!(pretend("- memory: 5\n").is_err());
}

#[test]
fn what_was_measured_replaces_an_estimate_and_plans_the_next_load() {
    let placer = Placer::new(&inventory(&[GIB]), &Config::default()).unwrap();
    let place = |version, footprint| {
        let mut config = config(&[0], "instance_group { kind: KIND_GPU gpus: [ 0 ] }");
        placer.place(&mut config, version, footprint, None)
    };
    let most = GIB / 4 * 3;
    let mut first = place(1, Footprint::Estimated(1)).unwrap();
    first.measure(vec![(0, most)]);
    let refused = place(1, Footprint::Estimated(1)).unwrap_err().refusal;
    assert!(
        matches!(refused, Refusal::Full { needed, left, .. } if (needed, left) == (most, GIB - most))
    );
    // Other files, another version, or a size that the configuration says.
    for (version, footprint) in [
        (1, Footprint::Estimated(2)),
        (2, Footprint::Estimated(1)),
        (1, Footprint::Declared(1)),
    ] {
        drop(place(version, footprint).unwrap());
    }
    drop(first);
    let mut again = place(1, Footprint::Estimated(1)).unwrap();
    // What is not known of every instance is not taken for the truth.
    again.measure(Vec::new());
    again.measure(vec![(0, 1), (0, 1)]);
    assert!(place(1, Footprint::Estimated(1)).is_err());
}
