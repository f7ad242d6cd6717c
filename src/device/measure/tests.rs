//! On the pretend driver: that everything is tried, and that what is wrong would be found. Its times mean
//! nothing.

use super::*;
use crate::device::on_fake::on_fake;

macro_rules! name {
    ($test:ident) => {{
        let _: fn() = $test;
        concat!("device::measure::tests::", stringify!($test))
    }};
}

#[test]
fn every_device_is_tried_with_every_kind_of_work() {
    let settings = [("FAKE_CUDA_DEVICES", "2")];
    on_fake(
        name!(every_device_is_tried_with_every_kind_of_work),
        &settings,
        || {
            let measured = measure(&Inventory::probe(), Extent::SHORT);
            assert_eq!(measured.len(), 2);
            for (ordinal, measured) in measured.into_iter().enumerate() {
                let measured = measured.unwrap();
                assert_eq!(usize::try_from(measured.ordinal), Ok(ordinal));
                let sizes: Vec<_> = measured.copies.iter().map(|copy| copy.byte_size).collect();
                assert_eq!(sizes, [4 << 10, 16 << 10, 64 << 10, 256 << 10]);
                assert!(
                    measured
                        .copies
                        .iter()
                        .all(|copy| copy.pageable_to_host_us > 0.0)
                );
                assert_eq!(measured.gathers.len(), 9);
                assert_eq!(measured.graphs.len(), 4);
            }
        },
    );
}

#[test]
fn a_device_that_cannot_be_used_is_told_and_the_others_are_tried() {
    let settings = [
        ("FAKE_CUDA_DEVICES", "2"),
        ("FAKE_CUDA_FAULTS", "0:dies-after=3"),
    ];
    on_fake(
        name!(a_device_that_cannot_be_used_is_told_and_the_others_are_tried),
        &settings,
        || {
            let measured = measure(&Inventory::probe(), Extent::SHORT);
            assert!(matches!(measured[0], Err(MeasureError::Device(_))));
            assert!(measured[1].is_ok());
        },
    );
}

#[test]
fn patterns_of_rows_differ() {
    let of = |seed| pattern(1 << 10, seed).collect::<Vec<_>>();
    assert_ne!(of(1), of(2));
    assert_ne!(of(1)[..512], of(1)[512..]);
}

#[test]
fn what_comes_out_wrong_is_named() {
    let error = MeasureError::Wrong {
        what: "a graph",
        device: Device::Cuda(3),
    };
    assert_eq!(error.to_string(), "a graph came out wrong on cuda:3");
}
