//! Every kernel against its plain form. On the pretend driver, which computes the plain forms, that holds
//! by construction and shows that the comparison is sound; on a GPU it is the proof.

use half::f16;

use super::{Bench, bytes, floats};
use crate::{
    device::{
        cuda::{DeviceError, DeviceSpan, Piece, Place, Scores, Work},
        kernels::{Conversion, ImageDatatype, plain},
        on_fake::on_fake,
    },
    tensor::top_k,
};

/// Numbers of every size, from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// Any bits, or small numbers of which many are equal.
    fn floats(&mut self, count: usize) -> Vec<f32> {
        let small = self.next().is_multiple_of(2);
        (0..count)
            .map(|_| match (self.next(), small) {
                (bits, false) => f32::from_bits(bits),
                (bits, true) => f32::from(i8::try_from(bits % 100).unwrap()) / 4.0,
            })
            .collect()
    }
}

/// On sizes around those of blocks and grids, on whatever driver there is.
fn agree_with_the_plain_forms(bench: &Bench) {
    let mut numbers = Numbers(20_261_124);
    for count in [1, 3, 255, 256, 257, 1023, 4096, 70_001] {
        agree_on_casts(bench, &mut numbers, count);
        agree_on_copies(bench, &mut numbers, count);
    }
    for (size, out) in [
        ([1, 1], [7, 5]),
        ([480, 640], [224, 224]),
        ([9, 300], [33, 31]),
    ] {
        agree_on_images(bench, &mut numbers, size, out);
    }
    for (rows, columns) in [(1, 1), (3, 255), (700, 10), (2, 1000), (5, 21_841)] {
        agree_on_scores(bench, &mut numbers, rows, columns);
    }
}

/// Runs one kernel from `from` into a span of `byte_size`, and gives back what is there.
fn ran(
    bench: &Bench,
    from: &[u8],
    byte_size: usize,
    run: impl FnOnce(&mut Work, &DeviceSpan, &DeviceSpan) -> Result<(), DeviceError>,
) -> Vec<u8> {
    let mut work = Work::new(&bench.context).unwrap();
    let (source, to) = (bench.with(&mut work, from), bench.span(byte_size));
    run(&mut work, &source, &to).unwrap();
    bench.read(work, &to, byte_size)
}

fn agree_on_casts(bench: &Bench, numbers: &mut Numbers, count: usize) {
    let values = numbers.floats(count);
    let halves = ran(bench, &bytes(&values), count * 2, |work, from, to| {
        let conversion = Conversion::Fp32ToFp16;
        bench
            .kernels
            .cast(work, &bench.stream, conversion, from, to)
    });
    let mut want = vec![f16::ZERO; count];
    plain::cast(&values, &mut want, 1.0, -0.0);
    let (got, _) = halves.as_chunks();
    for (index, (&got, want)) in got.iter().zip(&want).enumerate() {
        let got = f16::from_le_bytes(got);
        let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(same, "{}: {got} {want}", values[index]);
    }
    let pixels = numbers.bytes(count);
    let (scale, offset) = (1.0 / 58.395, -2.117_904);
    let got = ran(bench, &pixels, count * 4, |work, from, to| {
        let conversion = Conversion::Uint8ToFp32 { scale, offset };
        bench
            .kernels
            .cast(work, &bench.stream, conversion, from, to)
    });
    let mut want = vec![0.0f32; count];
    plain::cast(&pixels, &mut want, scale, offset);
    assert_eq!(floats(&got), want);
}

fn agree_on_copies(bench: &Bench, numbers: &mut Numbers, count: usize) {
    let mut work = Work::new(&bench.context).unwrap();
    let rows = [count, count / 2 + 1, 16, 1].map(|count| numbers.bytes(count));
    let mut pieces = Vec::new();
    let (mut want, mut offset) = (Vec::new(), 0);
    for (index, row) in rows.iter().enumerate() {
        let piece = if index % 2 == 0 {
            let mut slab = bench.pinned.take(row.len());
            slab.copy_from_slice(row);
            Piece::Pinned(slab.freeze())
        } else {
            Piece::Device(bench.with(&mut work, row))
        };
        pieces.push((offset, piece));
        pieces.push((offset + row.len(), Piece::Zeros(index)));
        want.extend_from_slice(row);
        want.extend(vec![0; index]);
        offset = want.len();
    }
    let slab = bench.span(want.len());
    let (kernels, stream, pool) = (&bench.kernels, &bench.stream, &bench.pinned);
    kernels
        .gather(&mut work, stream, pool, &slab, pieces)
        .unwrap();
    let parts = vec![
        (0, Place::Pinned(pool.take(count))),
        (count, Place::Pinned(pool.take(want.len() - count))),
    ];
    kernels
        .scatter(&mut work, stream, pool, &slab, parts)
        .unwrap();
    let landed = work.finish().unwrap().wait().unwrap();
    assert_eq!([&landed[0][..], &landed[1][..]].concat(), want);
}

fn agree_on_images(bench: &Bench, numbers: &mut Numbers, size: [u16; 2], out: [u16; 2]) {
    let channels = [
        (1.0 / 58.395, -2.1),
        (1.0 / 57.12, -2.0),
        (1.0 / 57.375, -1.8),
    ];
    let image = plain::Image::new(1, size, out, &channels).unwrap();
    let from = numbers.bytes(usize::try_from(image.byte_size()).unwrap());
    let mut want = vec![0.0f32; usize::try_from(image.element_count()).unwrap()];
    plain::preprocess(&image, &from, &mut want).unwrap();
    let got = ran(bench, &from, want.len() * 4, |work, from, to| {
        let wanted = (ImageDatatype::Fp32, image);
        bench
            .kernels
            .preprocess(work, &bench.stream, wanted, from, to)
    });
    assert_eq!(floats(&got), want);
}

fn agree_on_scores(bench: &Bench, numbers: &mut Numbers, rows: u32, columns: u32) {
    let width = usize::try_from(columns).unwrap();
    let mut values = numbers.floats(width * usize::try_from(rows).unwrap());
    let count = 5.min(width);
    let mut work = Work::new(&bench.context).unwrap();
    let scores = Scores {
        span: bench.with(&mut work, &bytes(&values)),
        rows,
        columns,
    };
    let wanted = values
        .chunks(width)
        .flat_map(|row| top_k(row.iter().copied(), count));
    let wanted: Vec<_> = wanted
        .map(|(index, _)| u32::try_from(index).unwrap())
        .collect();
    let byte_size = wanted.len() * 4;
    let (best, indices) = (bench.span(byte_size), bench.span(byte_size));
    let (kernels, stream) = (&bench.kernels, &bench.stream);
    kernels
        .top_k(&mut work, stream, (&scores, 5, false), &best, &indices)
        .unwrap();
    kernels
        .softmax(&mut work, stream, &scores, &scores.span)
        .unwrap();
    let probabilities = floats(&bench.read(work, &scores.span, values.len() * 4));
    let got = bench.read(Work::new(&bench.context).unwrap(), &indices, byte_size);
    let (got, _) = got.as_chunks();
    assert!(
        got.iter()
            .map(|&index| u32::from_le_bytes(index))
            .eq(wanted)
    );
    values.chunks_mut(width).for_each(plain::softmax);
    for (got, want) in probabilities.iter().zip(&values) {
        let close = (got - want).abs() <= 1e-4 * want + 1e-30;
        assert!(close || (got.is_nan() && want.is_nan()), "{got} {want}");
    }
}

#[test]
fn on_the_pretend_driver_by_construction() {
    let test = "device::cuda::kernels::tests::agreement::on_the_pretend_driver_by_construction";
    on_fake(test, &[], || agree_with_the_plain_forms(&Bench::new(0)));
}

#[test]
#[ignore = "needs an NVIDIA GPU: cargo test --lib -- --ignored on_a_gpu"]
fn on_a_gpu() {
    agree_with_the_plain_forms(&Bench::new(0));
}
