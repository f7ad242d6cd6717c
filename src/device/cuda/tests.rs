#![expect(unsafe_code, reason = "kernels are launched by contract")]

use std::{
    collections::BTreeSet,
    env, fs, iter,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use bytes::Bytes;

use super::*;
use crate::{
    device::{
        Config, DevicePool, Devices, HostSlab, Inventory, Lane, LaneConfig, PinnedPool,
        on_fake::{is_inside, on_fake, with_libraries},
    },
    tensor::Memory,
};

/// The whole name of a test of this file.
macro_rules! name {
    ($test:ident) => {{
        let _: fn() = $test;
        concat!("device::cuda::tests::", stringify!($test))
    }};
}

fn open(ordinal: u32) -> Arc<Context> {
    probe().unwrap();
    Context::open(ordinal).unwrap()
}

fn stream(context: &Arc<Context>) -> Arc<Stream> {
    Stream::new(context, Priority::Normal).unwrap()
}

fn slab(pool: &Arc<PinnedPool>, bytes: &[u8]) -> HostSlab {
    let mut slab = pool.take(bytes.len());
    slab.copy_from_slice(bytes);
    slab
}

/// What a span holds.
fn read(span: &DeviceSpan) -> Vec<u8> {
    let pool = PinnedPool::new(span.context(), 1 << 16, None).unwrap();
    let mut work = Work::new(span.context()).unwrap();
    let stream = stream(span.context());
    work.download(&stream, span, pool.take(span.byte_size()))
        .unwrap();
    let landed = work.finish().unwrap().wait().unwrap();
    landed[0].to_vec()
}

/// What the fake counts for device 0 in the file that its settings named.
fn counted(counter: fake_cuda::counters::Counter) -> u64 {
    let file = env::var_os("FAKE_CUDA_COUNTERS").unwrap();
    fake_cuda::counters::read(Path::new(&file), 0, counter).unwrap()
}

#[test]
fn finds_devices_and_what_they_are() {
    let settings = [
        ("FAKE_CUDA_DEVICES", "2"),
        ("FAKE_CUDA_NUMA_NODES", "2"),
        ("FAKE_CUDA_MIG", "1"),
    ];
    on_fake(name!(finds_devices_and_what_they_are), &settings, || {
        let [whole, part] = <[_; 2]>::try_from(probe().unwrap()).unwrap();
        assert_eq!(whole.name, "Fake GPU 0");
        assert_eq!(whole.uuid, "GPU-46414b45-4355-4441-0000-000000000000");
        assert_eq!((whole.ordinal, whole.compute_capability), (0, (9, 0)));
        assert_eq!(whole.memory_byte_size, 1 << 30);
        assert_eq!((whole.numa_node, part.numa_node), (Some(0), Some(1)));
        assert_eq!(part.uuid, "MIG-46414b45-4355-4441-0100-000000000001");
    });
}

#[test]
fn without_devices_the_reason_is_said() {
    for (setting, reason) in [
        (
            ("FAKE_CUDA_DEVICES", "0"),
            "cuInit with CUDA_ERROR_NO_DEVICE",
        ),
        (
            ("FAKE_CUDA_INIT_ERROR", "999"),
            "cuInit with CUDA_ERROR_UNKNOWN",
        ),
    ] {
        on_fake(
            name!(without_devices_the_reason_is_said),
            &[setting, ("REASON", reason)],
            || {
                let reason = env::var("REASON").unwrap();
                assert_eq!(probe(), Err(format!("the CUDA driver answers {reason}")));
            },
        );
        if is_inside() {
            return;
        }
    }
}

#[test]
fn a_library_that_is_no_driver_is_named_and_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    // Any library that every process has does.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let other = maps
        .split_whitespace()
        .find(|word| word.contains("libgcc_s"))
        .unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        symlink(other, folder.path().join(name)).unwrap();
    }
    let test = name!(a_library_that_is_no_driver_is_named_and_does_no_harm);
    with_libraries(test, folder.path(), || {
        let reason = probe().unwrap_err();
        assert!(reason.contains("has no function cu"), "{reason}");
    });
}

#[test]
fn every_function_that_is_called_is_looked_for_first() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/device/cuda");
    let mut called = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for (at, _) in text.match_indices("sys::cu") {
            let rest = &text[at + "sys::".len()..];
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap();
            called.insert(rest[..end].to_owned());
        }
    }
    called.remove("culib"); // the library itself
    called.remove("cu"); // the words above
    let looked_for: BTreeSet<_> = probe::SYMBOLS
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(called, looked_for);
}

#[test]
fn a_round_trip_over_three_streams_keeps_its_order() {
    let settings = [("FAKE_CUDA_COPY_US", "3000")];
    on_fake(
        name!(a_round_trip_over_three_streams_keeps_its_order),
        &settings,
        || {
            let context = open(0);
            let pinned = PinnedPool::new(&context, 1 << 16, None).unwrap();
            let device = DevicePool::new(&context, 1 << 16).unwrap();
            let [up, compute, down] = [(); 3].map(|()| stream(&context));
            let (input, output) = (device.take(4).unwrap(), device.take(8).unwrap());
            let mut work = Work::new(&context).unwrap();
            work.upload(&up, &input, slab(&pinned, &[1, 2, 3, 4]).freeze())
                .unwrap();
            work.order(&up, &compute).unwrap();
            work.copy(&compute, &output, &input).unwrap();
            work.fill(&compute, &output.part(4, 4).unwrap(), 9).unwrap();
            work.order(&compute, &down).unwrap();
            work.download(&down, &output, pinned.take(8)).unwrap();
            let pending = work.finish().unwrap();
            assert!(!pending.is_done().unwrap(), "nothing was waited for");
            assert_eq!(*pending.wait().unwrap()[0], [1, 2, 3, 4, 9, 9, 9, 9]);
            assert_eq!(pinned.usage().used_byte_size, 0);
        },
    );
}

#[test]
fn a_lane_has_two_batches_under_way_and_says_when_each_has_landed() {
    let settings = [("FAKE_CUDA_COPY_US", "200000")];
    let test = name!(a_lane_has_two_batches_under_way_and_says_when_each_has_landed);
    on_fake(test, &settings, || {
        let devices = Devices::new(&Inventory::probe(), &Config::default());
        let lane = Lane::new(
            &devices.open(3).unwrap(),
            LaneConfig {
                byte_size: 4096,
                priority: Priority::High,
                gather_threshold: None,
            },
        )
        .unwrap();
        let (sender, landed) = mpsc::channel();
        for flight in [1, 2] {
            lane.wait_for_room();
            assert!(landed.try_recv().is_err(), "the first has not landed");
            let span = lane.pool().take(1).unwrap();
            let mut work = Work::new(lane.device().context()).unwrap();
            work.upload(lane.upload(), &span, Bytes::from(vec![flight]))
                .unwrap();
            work.order(lane.upload(), lane.download()).unwrap();
            let slab = lane.device().pinned().take(1);
            work.download(lane.download(), &span, slab).unwrap();
            let sender = sender.clone();
            lane.launch(work, move |landed| {
                sender.send(landed.unwrap().slabs[0][0]).unwrap()
            });
        }
        lane.wait_for_room();
        assert_eq!(landed.try_recv(), Ok(1), "there was no room before");
        lane.drain();
        assert_eq!(landed.try_recv(), Ok(2));
        let open: Vec<_> = devices
            .opened()
            .iter()
            .map(|device| device.context().ordinal())
            .collect();
        assert_eq!(open, [3]);
    });
}

#[test]
fn work_that_is_dropped_holds_on_to_its_memory_until_it_is_done() {
    let settings = [("FAKE_CUDA_COPY_US", "20000")];
    let test = name!(work_that_is_dropped_holds_on_to_its_memory_until_it_is_done);
    on_fake(test, &settings, || {
        let context = open(0);
        let pinned = PinnedPool::new(&context, 1 << 16, None).unwrap();
        let device = DevicePool::new(&context, 4096).unwrap();
        let (stream, span) = (stream(&context), device.take(4).unwrap());
        for finished in [false, true] {
            let mut work = Work::new(&context).unwrap();
            work.upload(&stream, &span, slab(&pinned, &[7; 4]).freeze())
                .unwrap();
            assert_eq!(pinned.usage().used_byte_size, 512);
            if finished {
                drop(work.finish().unwrap());
            } else {
                drop(work);
            }
            assert_eq!(pinned.usage().used_byte_size, 0);
            assert_eq!(read(&span), [7; 4]);
        }
    });
}

#[test]
fn memory_that_is_used_up_is_replaced_on_the_host_and_refused_on_the_device() {
    let settings = [("FAKE_CUDA_MEMORY_MB", "1")];
    let test = name!(memory_that_is_used_up_is_replaced_on_the_host_and_refused_on_the_device);
    on_fake(test, &settings, || {
        let context = open(0);
        let pinned = PinnedPool::new(&context, 1024, None).unwrap();
        let (first, second) = (pinned.take(1024), pinned.take(1));
        assert_eq!((first.is_pinned(), second.is_pinned()), (true, false));
        assert_eq!(pinned.usage().overflow_count, 1);
        let slice = first.freeze().slice(3..4);
        assert!(!pinned.take(1).is_pinned(), "a slice holds the slab");
        drop(slice);
        assert!(pinned.take(1).is_pinned());

        let device = DevicePool::new(&context, 1 << 19).unwrap();
        let held = device.take(1 << 19).unwrap();
        let more = device.take(1 << 18).unwrap();
        assert_eq!(device.usage().overflow_count, 1);
        let error = device.take((1 << 18) + 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cuda:0 is out of memory: 524288 bytes were asked for, and 262144 are free"
        );
        drop((held, more));
        assert_eq!(device.usage().used_byte_size, 0);
        drop(device);
        assert_eq!(context.memory().unwrap(), (1 << 20, 1 << 20));
    });
}

#[test]
fn a_pageable_slab_can_be_copied_to_and_from() {
    on_fake(
        name!(a_pageable_slab_can_be_copied_to_and_from),
        &[],
        || {
            let context = open(0);
            let pinned = PinnedPool::new(&context, 512, None).unwrap();
            let _all = pinned.take(512);
            let device = DevicePool::new(&context, 4096).unwrap();
            let (stream, span) = (stream(&context), device.take(4).unwrap());
            let mut work = Work::new(&context).unwrap();
            work.upload(&stream, &span, slab(&pinned, &[5; 4]).freeze())
                .unwrap();
            work.download(&stream, &span, pinned.take(4)).unwrap();
            assert_eq!(*work.finish().unwrap().wait().unwrap()[0], [5; 4]);
        },
    );
}

#[test]
fn a_graph_is_captured_once_and_replayed() {
    on_fake(name!(a_graph_is_captured_once_and_replayed), &[], || {
        let context = open(0);
        let device = DevicePool::new(&context, 4096).unwrap();
        let (stream, span) = (stream(&context), device.take(8).unwrap());
        let [low, high] = [0, 4].map(|offset| span.part(offset, 4).unwrap());
        let graph = Graph::capture(&stream, |work| {
            work.fill(&stream, &low, 3)?;
            work.copy(&stream, &high, &low)
        })
        .unwrap();
        assert_eq!(read(&span), [0; 8]);
        let mut work = Work::new(&context).unwrap();
        work.replay(&stream, &graph).unwrap();
        work.finish().unwrap().wait().unwrap();
        assert_eq!(read(&span), [3; 8]);

        let pinned = PinnedPool::new(&context, 4096, None).unwrap();
        let refused = Graph::capture(&stream, |work| {
            work.download(&stream, &span, pinned.take(8))
        });
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("a download in a graph")
        );
        stream.synchronize().unwrap();
    });
}

#[test]
fn a_kernel_takes_its_arguments() {
    on_fake(name!(a_kernel_takes_its_arguments), &[], || {
        let context = open(0);
        let device = DevicePool::new(&context, 4096).unwrap();
        let (stream, span) = (stream(&context), device.take(8).unwrap());
        // SAFETY: the fake reads the first bytes only, and takes this for PTX.
        let module = unsafe { Module::load(&context, b".version 9.0\0") }.unwrap();
        let error = module.kernel("nothing").unwrap_err();
        assert!(error.to_string().contains("no kernel 'nothing'"), "{error}");
        let kernel = module.kernel("fill_u32").unwrap();
        let mut work = Work::new(&context).unwrap();
        let arguments = [
            Argument::Span(span.clone()),
            Argument::U32(0x0102_0304),
            Argument::U32(2),
        ];
        // SAFETY: the fake's `fill_u32` takes an address, a value and a count.
        unsafe { work.launch(&stream, &kernel, [[1; 3], [32, 1, 1]], &arguments) }.unwrap();
        work.finish().unwrap().wait().unwrap();
        assert_eq!(read(&span), [4, 3, 2, 1, 4, 3, 2, 1]);
    });
}

#[test]
fn memory_goes_from_device_to_device() {
    on_fake(name!(memory_goes_from_device_to_device), &[], || {
        let (first, second) = (open(0), open(1));
        let spans = [&first, &second].map(|context| {
            let pool = DevicePool::new(context, 4096).unwrap();
            pool.take(4).unwrap()
        });
        let stream = stream(&first);
        let mut work = Work::new(&first).unwrap();
        work.fill(&stream, &spans[0], 6).unwrap();
        work.copy(&stream, &spans[1], &spans[0]).unwrap();
        work.finish().unwrap().wait().unwrap();
        assert_eq!(read(&spans[1]), [6; 4]);
    });
}

#[test]
fn a_copy_that_does_not_fit_is_refused() {
    on_fake(name!(a_copy_that_does_not_fit_is_refused), &[], || {
        let context = open(0);
        let device = DevicePool::new(&context, 4096).unwrap();
        let (stream, span) = (stream(&context), device.take(4).unwrap());
        let mut work = Work::new(&context).unwrap();
        let error = work.upload(&stream, &span, vec![0; 5].into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cuMemcpyHtoDAsync failed on cuda:0 with 5 bytes for a span of 4"
        );
        assert!(span.part(1, 4).is_none() && span.part(usize::MAX, 2).is_none());
        assert!(context.lost().is_none());
    });
}

#[test]
fn a_dead_device_is_lost_for_good_and_its_memory_comes_back() {
    let settings = [("FAKE_CUDA_FAULTS", "0:dies-after=1")];
    on_fake(
        name!(a_dead_device_is_lost_for_good_and_its_memory_comes_back),
        &settings,
        || {
            let (context, other) = (open(0), open(1));
            let pinned = PinnedPool::new(&context, 4096, None).unwrap();
            let device = DevicePool::new(&context, 4096).unwrap();
            let (stream, span) = (stream(&context), device.take(4).unwrap());
            let mut work = Work::new(&context).unwrap();
            for _ in 0..2 {
                let _ = work.upload(&stream, &span, slab(&pinned, &[1; 4]).freeze());
            }
            let error = work.finish().and_then(Pending::wait).unwrap_err();
            assert!(matches!(error, DeviceError::Lost { .. }), "{error}");
            assert!(
                error.to_string().contains("CUDA_ERROR_ECC_UNCORRECTABLE"),
                "{error}"
            );
            assert_eq!(context.lost().unwrap(), &error);
            assert!(
                DevicePool::new(&context, 1).is_err()
                    && Work::new(&context)
                        .unwrap()
                        .fill(&stream, &span, 0)
                        .is_err()
            );
            assert_eq!(pinned.usage().used_byte_size, 0);
            assert!(other.memory().is_ok() && other.lost().is_none());
        },
    );
}

#[test]
fn a_device_without_a_context_says_so() {
    let settings = [("FAKE_CUDA_FAULTS", "1:no-context")];
    on_fake(name!(a_device_without_a_context_says_so), &settings, || {
        drop(open(0));
        let error = Context::open(1).unwrap_err().to_string();
        assert_eq!(
            error,
            "cuDevicePrimaryCtxRetain failed on cuda:1 with CUDA_ERROR_UNKNOWN"
        );
        assert!(
            Context::open(99)
                .unwrap_err()
                .to_string()
                .contains("INVALID_DEVICE")
        );
    });
}

#[test]
fn nothing_is_left_after_five_hundred_cycles() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counters");
    let settings = [
        ("FAKE_CUDA_COUNTERS", file.to_str().unwrap()),
        ("FAKE_CUDA_MEMORY_MB", "1"),
    ];
    on_fake(
        name!(nothing_is_left_after_five_hundred_cycles),
        &settings,
        || {
            use fake_cuda::counters::Counter;
            let _present = open(0);
            for cycle in 0..500 {
                let context = open(0);
                let pinned = PinnedPool::new(&context, 4096, None).unwrap();
                let device = DevicePool::new(&context, 1 << 19).unwrap();
                let streams = [(); 3].map(|()| stream(&context));
                let span = device.take(512).unwrap();
                let mut work = Work::new(&context).unwrap();
                work.upload(&streams[0], &span, slab(&pinned, &[1; 512]).freeze())
                    .unwrap();
                work.order(&streams[0], &streams[1]).unwrap();
                work.order(&streams[1], &streams[2]).unwrap();
                work.download(&streams[2], &span, pinned.take(512)).unwrap();
                if cycle % 2 == 0 {
                    assert_eq!(*work.finish().unwrap().wait().unwrap()[0], [1; 512]);
                }
                assert!(
                    DevicePool::new(&context, 1 << 20).is_err(),
                    "a load that fails"
                );
            }
            for counter in [
                Counter::UsedBytes,
                Counter::Streams,
                Counter::Events,
                Counter::PinnedBytes,
            ] {
                assert_eq!(counted(counter), 0, "{counter:?}");
            }
            assert_eq!(counted(Counter::Contexts), 1);
            assert_eq!(counted(Counter::PageableCopies), 0);
        },
    );
}

/// The other process of the test below: shares four bytes, and lives until its input ends.
#[test]
fn share_memory_with_another_process() {
    let Ok(file) = env::var("DESPINA_TEST_SHARE") else {
        return;
    };
    let context = open(0);
    let memory = DeviceMemory::new(&context, 4096).unwrap();
    let span = memory.span(0, 4).unwrap();
    let stream = stream(&context);
    let mut work = Work::new(&context).unwrap();
    work.fill(&stream, &span, 0x5a).unwrap();
    work.finish().unwrap().wait().unwrap();
    fs::write(file, memory.share().unwrap()).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert_eq!(read(&span), [0xa5; 4]);
}

#[test]
fn memory_of_another_process_is_read_and_written_within_its_bounds() {
    let test = name!(memory_of_another_process_is_read_and_written_within_its_bounds);
    on_fake(test, &[], || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("handle");
        let mut other = Command::new(env::current_exe().unwrap())
            .args([name!(share_memory_with_another_process), "--exact"])
            .env("DESPINA_TEST_SHARE", &file)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let handle = iter::repeat_with(|| {
            assert!(other.try_wait().unwrap().is_none(), "it ended early");
            thread::yield_now();
            fs::read(&file)
        })
        .find_map(|bytes| <[u8; 64]>::try_from(bytes.ok()?).ok())
        .unwrap();
        let context = open(0);
        let memory = ImportedMemory::open(&context, handle).unwrap();
        assert_eq!(memory.byte_size(), 4096);
        assert!(memory.span(4093, 4).is_none() && memory.span(usize::MAX, 2).is_none());
        let span = memory.span(0, 4).unwrap();
        assert_eq!(read(&span), [0x5a; 4]);
        let mut work = Work::new(&context).unwrap();
        work.fill(&stream(&context), &span, 0xa5).unwrap();
        work.finish().unwrap().wait().unwrap();
        drop(other.stdin.take());
        assert!(other.wait().unwrap().success());
        assert!(ImportedMemory::open(&context, [0; 64]).is_err());
    });
}
