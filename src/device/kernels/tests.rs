use half::{bf16, f16};
use proptest::prelude::*;

use super::{plain::*, *};

#[test]
fn a_gather_and_a_scatter_of_the_same_spans_are_inverse() {
    let mut slab = [0xff; 10];
    let pieces = [
        (6, Piece::Bytes(&[1, 2, 3])),
        (0, Piece::Bytes(&[4, 5])),
        (2, Piece::Zeros(4)),
    ];
    gather(&mut slab, pieces).unwrap();
    assert_eq!(slab, [4, 5, 0, 0, 0, 0, 1, 2, 3, 0xff]);
    let (mut first, mut second) = ([0; 3], [0; 2]);
    scatter(&slab, [(6, &mut first[..]), (0, &mut second[..])]).unwrap();
    assert_eq!((first, second), ([1, 2, 3], [4, 5]));
}

#[test]
fn spans_outside_the_slab_are_refused() {
    let mut slab = [0; 4];
    for (offset, piece) in [
        (3, Piece::Bytes(&[1, 2])),
        (0, Piece::Zeros(5)),
        (5, Piece::Zeros(0)),
        (usize::MAX, Piece::Zeros(1)),
    ] {
        assert_eq!(gather(&mut slab, [(offset, piece)]), None);
    }
    assert_eq!(scatter(&slab, [(2, &mut [0; 3][..])]), None);
}

#[test]
fn casts_round_to_the_nearest_even_and_overflow_to_infinity() {
    let from = [1.0f32, 65504.0, 65520.0, 1.000_488_3, -0.0, f32::NAN];
    let mut halves = [f16::ZERO; 6];
    cast(&from, &mut halves, 1.0, -0.0);
    let bits = halves.map(f16::to_bits);
    // 65520 lies half way to 65536, which is too large; 1 + 2^-11 lies half way and goes to 1.
    assert_eq!(bits[..5], [0x3c00, 0x7bff, 0x7c00, 0x3c00, 0x8000]);
    assert!(halves[5].is_nan());
    let mut brain = [bf16::ZERO];
    cast(&[1.0 + 1.0 / 256.0f32], &mut brain, 1.0, -0.0);
    assert_eq!(brain[0].to_bits(), 0x3f80);
    let mut floats = [0.0f32; 3];
    cast(&[0u8, 128, 255], &mut floats, 1.0 / 128.0, -1.0);
    assert_eq!(floats, [-1.0, 0.0, 0.992_187_5]);
}

fn planes(size: [u16; 2], out: [u16; 2], channels: &[(f32, f32)], from: &[u8]) -> Vec<f32> {
    let image = Image::new(1, size, out, channels).unwrap();
    let mut to = vec![0.0; usize::try_from(image.element_count()).unwrap()];
    preprocess(&image, from, &mut to).unwrap();
    to
}

#[test]
fn an_image_of_the_same_size_only_changes_its_layout() {
    let from = [1, 2, 3, 4, 5, 6];
    let got = planes(
        [1, 2],
        [1, 2],
        &[(1.0, 0.0), (2.0, 1.0), (1.0, -3.0)],
        &from,
    );
    assert_eq!(got, [1.0, 4.0, 5.0, 11.0, 0.0, 3.0]);
}

#[test]
fn resizing_takes_pixels_as_areas_and_repeats_the_edges() {
    // The values that PyTorch's interpolate(mode="bilinear", align_corners=False) gives.
    let plain = [(1.0, 0.0)];
    assert_eq!(
        planes([1, 2], [1, 4], &plain, &[0, 100]),
        [0.0, 25.0, 75.0, 100.0]
    );
    assert_eq!(
        planes([1, 4], [1, 2], &plain, &[0, 10, 20, 30]),
        [5.0, 25.0]
    );
    let doubled = planes([2, 2], [4, 4], &plain, &[0, 40, 80, 120]);
    assert_eq!(doubled[..4], [0.0, 10.0, 30.0, 40.0]);
    assert_eq!(doubled[4..8], [20.0, 30.0, 50.0, 60.0]);
    assert_eq!(planes([1, 1], [2, 2], &plain, &[7]), [7.0; 4]);
}

#[test]
fn impossible_images_are_refused() {
    let one = [(1.0, 0.0)];
    assert!(Image::new(1, [0, 2], [1, 1], &one).is_none());
    assert!(Image::new(1, [2, 2], [1, 0], &one).is_none());
    assert!(Image::new(1, [2, 2], [1, 1], &[]).is_none());
    assert!(Image::new(1, [2, 2], [1, 1], &[(1.0, 0.0); 5]).is_none());
    let image = Image::new(2, [2, 2], [1, 1], &one).unwrap();
    assert_eq!((image.byte_size(), image.element_count()), (8, 2));
    assert_eq!(preprocess(&image, &[0; 7], &mut [0.0f32; 2]), None);
    assert_eq!(preprocess(&image, &[0; 8], &mut [0.0f32; 3]), None);
}

#[test]
fn an_images_fields_can_be_read_back() {
    let channels = [(0.5, -1.0), (0.25, 2.0), (f32::MAX, 0.0)];
    let image = Image::new(3, [480, 640], [224, 225], &channels).unwrap();
    assert_eq!(Image::from_fields(&image.fields()), Some(image));
    let mut fields = image.fields();
    fields[3] = u32::MAX;
    assert_eq!(Image::from_fields(&fields), None);
}

#[test]
fn a_softmax_does_not_overflow_and_is_nan_for_nan() {
    let mut row = [1000.0, 1000.0];
    softmax(&mut row);
    assert_eq!(row, [0.5, 0.5]);
    let mut row = [f32::NEG_INFINITY, 0.0];
    softmax(&mut row);
    assert_eq!(row, [0.0, 1.0]);
    let mut row = [f32::NAN, 0.0];
    softmax(&mut row);
    assert!(row.iter().all(|value| value.is_nan()));
}

#[test]
fn arguments_lie_where_the_driver_reads_them() {
    let arguments = Arguments::default()
        .u64(7)
        .f32(1.5)
        .structure(&[1, 2, 3])
        .u32(9);
    let pointers: Vec<_> = arguments.pointers().collect();
    assert_eq!(pointers.len(), 4);
    assert_eq!(arguments.words[..], [7, 0x3fc0_0000, 1 | 2 << 32, 3, 9]);
    let start = arguments.words.as_ptr();
    let places = [0, 1, 2, 4].map(|word| start.wrapping_add(word));
    assert_eq!(pointers, places);
}

#[test]
fn grids_are_never_empty_and_stay_within_what_devices_take() {
    let copy = |span_count, longest_byte_size| SpanCopy {
        direction: Direction::Gather,
        spans: 0,
        span_count,
        slab: 0,
        longest_byte_size,
    };
    assert_eq!(copy(0, 0).geometry().grid, [1, 1, 1]);
    assert_eq!(copy(3, 4097).geometry().grid, [2, 3, 1]);
    assert_eq!(copy(u32::MAX, u64::MAX).geometry().grid, [64, 65_535, 1]);
    assert_eq!(Geometry::of(u64::MAX, u64::MAX, 9).grid, [1, 1, 1]);
}

#[test]
fn the_kernels_threads_of_a_block_are_these() {
    let source = include_str!("../../../kernels/top_k.cu");
    assert!(source.contains(&format!("#define THREADS {THREADS}\n")));
}

proptest! {
    #[test]
    fn probabilities_sum_to_one_and_keep_the_order(
        row in prop::collection::vec(-50.0f32..50.0, 1..200),
        count in 0usize..20,
    ) {
        let mut probabilities = row.clone();
        softmax(&mut probabilities);
        let sum: f32 = probabilities.iter().sum();
        prop_assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        let best = softmax_top_k(&row, count);
        prop_assert_eq!(best.len(), count.min(row.len()));
        for pair in best.windows(2) {
            prop_assert!(row[pair[0].0] >= row[pair[1].0]);
        }
        for (index, probability) in best {
            prop_assert_eq!(probability, probabilities[index]);
        }
    }

    #[test]
    fn a_cast_to_half_and_back_is_the_nearest_half(value in -70_000.0f32..70_000.0) {
        let mut half = [f16::ZERO];
        cast(&[value], &mut half, 1.0, -0.0);
        let bits = half[0].to_bits();
        let distance = |bits: u16| (f64::from(f16::from_bits(bits)) - f64::from(value)).abs();
        if half[0].is_finite() {
            for other in [bits.wrapping_sub(1), bits + 1] {
                prop_assert!(!f16::from_bits(other).is_finite() || distance(bits) <= distance(other));
            }
        } else {
            prop_assert!(value.abs() >= 65_520.0);
        }
    }

    #[test]
    fn resized_pixels_lie_between_those_of_the_image(
        height in 1u16..7, width in 1u16..7, out_height in 1u16..9, out_width in 1u16..9,
        seed in any::<u64>(),
    ) {
        let count = usize::from(height) * usize::from(width);
        let from: Vec<u8> = (0..count).map(|i| seed.rotate_left(u32::try_from(i % 13).unwrap() * 5).to_le_bytes()[0]).collect();
        let got = planes([height, width], [out_height, out_width], &[(1.0, 0.0)], &from);
        let (low, high) = (from.iter().min().unwrap(), from.iter().max().unwrap());
        for value in got {
            prop_assert!((f32::from(*low)..=f32::from(*high)).contains(&value));
        }
    }
}
