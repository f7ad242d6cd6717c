//! The kernels' sources on the CPU against the plain forms.

use despina::{
    device::kernels::{
        Cast, Conversion, Direction, ImageDatatype, Preprocess, Softmax, Span, SpanCopy, TopK,
        plain,
    },
    tensor::top_k,
};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::host::launch;

fn address<T>(memory: &[T]) -> u64 {
    memory.as_ptr().addr() as u64
}

fn address_mut<T>(memory: &mut [T]) -> u64 {
    memory.as_mut_ptr().expose_provenance() as u64
}

/// A block is 256 threads, which takes a while.
fn few() -> ProptestConfig {
    ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Floats of every kind: any bits, or a few small numbers, so that many are equal.
fn floats(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let any_bits = any::<u32>().prop_map(f32::from_bits);
    let small = (-4i8..4).prop_map(|value| f32::from(value) / 2.0);
    prop_oneof![
        prop::collection::vec(any_bits, count),
        prop::collection::vec(small, count)
    ]
}

/// Bits, but for NaN, of which there are many.
fn bits(values: &[f32]) -> Vec<Option<u32>> {
    let bits = |value: &f32| (!value.is_nan()).then(|| value.to_bits());
    values.iter().map(bits).collect()
}

fn half_bits(values: &[f16]) -> Vec<Option<u16>> {
    let bits = |value: &f16| (!value.is_nan()).then(|| value.to_bits());
    values.iter().map(bits).collect()
}

fn bf16_bits(values: &[bf16]) -> Vec<Option<u16>> {
    let bits = |value: &bf16| (!value.is_nan()).then(|| value.to_bits());
    values.iter().map(bits).collect()
}

fn cast<From, To: Clone>(conversion: Conversion, from: &[From], zero: To) -> Vec<To> {
    let mut to = vec![zero; from.len()];
    let kernel = Cast {
        conversion,
        from: address(from),
        to: address_mut(&mut to),
        count: from.len() as u64,
    };
    // SAFETY: both have as many elements as the kernel is told.
    unsafe { launch(&kernel) };
    to
}

fn plain_cast<From: Copy + Into<f32>, To: Clone + plain::FromF32>(
    from: &[From],
    zero: To,
    (scale, offset): (f32, f32),
) -> Vec<To> {
    let mut to = vec![zero; from.len()];
    plain::cast(from, &mut to, scale, offset);
    to
}

const AS_IT_IS: (f32, f32) = (1.0, -0.0);

proptest! {
    #![proptest_config(few())]

    #[test]
    fn gathers_and_scatters_move_the_same_bytes(
        pieces in prop::collection::vec((0usize..70, 0usize..9, any::<bool>()), 1..6),
        shift in 0usize..17,
    ) {
        // Spans lie anywhere in a pool, so that every alignment comes up, and after each other in
        // the slab, with gaps.
        let pool: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let mut offset = shift;
        let mut spans = Vec::new();
        let mut plain_pieces = Vec::new();
        for (index, &(byte_size, gap, zeros)) in pieces.iter().enumerate() {
            let start = index * 100 + gap * 4;
            let bytes = &pool[start..start + byte_size];
            let (address, piece) = match zeros {
                true => (0, plain::Piece::Zeros(byte_size)),
                false => (address(bytes), plain::Piece::Bytes(bytes)),
            };
            spans.push(Span { address, offset: offset as u64, byte_size: byte_size as u64 });
            plain_pieces.push((offset, piece));
            offset += byte_size + gap;
        }
        let mut want = vec![0xee; offset];
        plain::gather(&mut want, plain_pieces).unwrap();
        let mut slab = vec![0xee; offset];
        let mut kernel = SpanCopy {
            direction: Direction::Gather,
            spans: address(&spans),
            span_count: u32::try_from(spans.len()).unwrap(),
            slab: address_mut(&mut slab),
            longest_byte_size: 70,
        };
        // SAFETY: the spans lie in `pool` and, by their offsets, in `slab`.
        unsafe { launch(&kernel) };
        prop_assert_eq!(&slab, &want);

        let mut back = vec![0x11; 1024];
        let mut want = back.clone();
        let base = address_mut(&mut back);
        for span in spans.iter_mut().filter(|span| span.address != 0) {
            let at = span.address - address(&pool);
            span.address = base + at;
            let (at, size) = (usize::try_from(at).unwrap(), usize::try_from(span.byte_size).unwrap());
            let offset = usize::try_from(span.offset).unwrap();
            plain::scatter(&slab, [(offset, &mut want[at..at + size])]).unwrap();
        }
        kernel.direction = Direction::Scatter;
        kernel.spans = address(&spans);
        // SAFETY: as above, with `back` in the place of `pool`.
        unsafe { launch(&kernel) };
        prop_assert_eq!(back, want);
    }

    #[test]
    fn casts_between_floats_give_the_same_bits(values in floats(1500)) {
        let halves = cast(Conversion::Fp32ToFp16, &values, f16::ZERO);
        prop_assert_eq!(half_bits(&halves), half_bits(&plain_cast(&values, f16::ZERO, AS_IT_IS)));
        let brains = cast(Conversion::Fp32ToBf16, &values, bf16::ZERO);
        prop_assert_eq!(bf16_bits(&brains), bf16_bits(&plain_cast(&values, bf16::ZERO, AS_IT_IS)));
        let back = cast(Conversion::Fp16ToFp32, &halves, 0.0f32);
        prop_assert_eq!(bits(&back), bits(&plain_cast(&halves, 0.0f32, AS_IT_IS)));
        let back = cast(Conversion::Bf16ToFp32, &brains, 0.0f32);
        prop_assert_eq!(bits(&back), bits(&plain_cast(&brains, 0.0f32, AS_IT_IS)));
    }

    #[test]
    fn casts_from_bytes_are_scaled_and_shifted(
        scale in -2.0f32..2.0, offset in -300.0f32..300.0,
    ) {
        let values: Vec<u8> = (0..=255).collect();
        let scaled = (scale, offset);
        let got = cast(Conversion::Uint8ToFp32 { scale, offset }, &values, 0.0f32);
        prop_assert_eq!(bits(&got), bits(&plain_cast(&values, 0.0f32, scaled)));
        let got = cast(Conversion::Uint8ToFp16 { scale, offset }, &values, f16::ZERO);
        prop_assert_eq!(half_bits(&got), half_bits(&plain_cast(&values, f16::ZERO, scaled)));
        let got = cast(Conversion::Uint8ToBf16 { scale, offset }, &values, bf16::ZERO);
        prop_assert_eq!(bf16_bits(&got), bf16_bits(&plain_cast(&values, bf16::ZERO, scaled)));
    }

    #[test]
    fn images_are_resized_and_normalised_alike(
        count in 1u32..3,
        size in prop::array::uniform2(1u16..12),
        out_size in prop::array::uniform2(1u16..12),
        channels in prop::collection::vec((-2.0f32..2.0, -3.0f32..3.0), 1..5),
        seed in any::<u64>(),
    ) {
        let image = plain::Image::new(count, size, out_size, &channels).unwrap();
        let mut state = seed;
        let from: Vec<u8> = (0..image.byte_size())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()[7]
            })
            .collect();
        let element_count = usize::try_from(image.element_count()).unwrap();
        let (mut floats, mut halves) = (vec![0.0f32; element_count], vec![f16::ZERO; element_count]);
        for (datatype, to) in [
            (ImageDatatype::Fp32, address_mut(&mut floats)),
            (ImageDatatype::Fp16, address_mut(&mut halves)),
        ] {
            let kernel = Preprocess { datatype, image, from: address(&from), to };
            // SAFETY: images and planes are as large as `image` says.
            unsafe { launch(&kernel) };
        }
        let (mut want, mut want_halves) = (floats.clone(), halves.clone());
        plain::preprocess(&image, &from, &mut want).unwrap();
        plain::preprocess(&image, &from, &mut want_halves).unwrap();
        prop_assert_eq!(bits(&floats), bits(&want));
        prop_assert_eq!(half_bits(&halves), half_bits(&want_halves));
    }

    #[test]
    fn probabilities_are_close(rows in 1u32..4, row in prop::collection::vec(-30.0f32..30.0, 1..600)) {
        let columns = row.len();
        let mut scores = row.repeat(usize::try_from(rows).unwrap());
        // The second row and those after it differ from the first.
        scores[columns..].iter_mut().for_each(|score| *score *= 0.5);
        let mut want = scores.clone();
        want.chunks_mut(columns).for_each(plain::softmax);
        let address = address_mut(&mut scores);
        let columns = u32::try_from(columns).unwrap();
        let kernel = Softmax { from: address, to: address, rows, columns };
        // SAFETY: there are so many rows and columns.
        unsafe { launch(&kernel) };
        for (got, want) in scores.iter().zip(&want) {
            prop_assert!((got - want).abs() <= 1e-5 * want + 1e-30, "{got} {want}");
        }
    }

    #[test]
    fn the_largest_are_the_same_ones(
        rows in 1u32..4, columns in 1usize..600, count in 0u32..8, values in floats(1800),
    ) {
        let row_count = usize::try_from(rows).unwrap();
        let scores = &values[..columns * row_count];
        for softmax in [false, true] {
            let mut kernel = TopK {
                softmax,
                from: address(scores),
                values: 0,
                indices: 0,
                rows,
                columns: u32::try_from(columns).unwrap(),
                count,
            };
            let kept = usize::try_from(kernel.kept()).unwrap();
            let (mut best, mut indices) = (vec![0.0f32; kept * row_count], vec![0u32; kept * row_count]);
            kernel.values = address_mut(&mut best);
            kernel.indices = address_mut(&mut indices);
            // SAFETY: there are so many rows and columns, and room for what is kept of each row.
            unsafe { launch(&kernel) };
            let want: Vec<_> = scores
                .chunks(columns)
                .flat_map(|row| match softmax {
                    true => plain::softmax_top_k(row, kept),
                    false => top_k(row.iter().copied(), kept),
                })
                .collect();
            let indices = indices.iter().map(|&index| usize::try_from(index).unwrap());
            prop_assert!(indices.eq(want.iter().map(|&(index, _)| index)));
            for (got, &(_, want)) in best.iter().zip(&want) {
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                let close = softmax && (got - want).abs() <= 1e-5 * want + 1e-30;
                prop_assert!(same || close, "{got} {want}");
            }
        }
    }
}
