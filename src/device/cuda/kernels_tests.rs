//! The house's kernels through the pretend driver, which emulates them by their plain forms: that they
//! are launched on what they should be. That their sources compute what the plain forms do is shown by
//! `tests/kernels`.

#[path = "kernels_agreement.rs"]
mod agreement;

use std::sync::Arc;

use half::f16;

use crate::{
    device::{
        DevicePool, PinnedPool,
        cuda::{Context, DeviceSpan, Kernels, Piece, Place, Priority, Scores, Stream, Work, probe},
        kernels::{Conversion, ImageDatatype, plain},
        on_fake::on_fake,
    },
    tensor::top_k,
};

macro_rules! name {
    ($test:ident) => {{
        let _: fn() = $test;
        concat!("device::cuda::kernels::tests::", stringify!($test))
    }};
}

/// A device with its kernels, and memory to try them on.
struct Bench {
    kernels: Arc<Kernels>,
    stream: Arc<Stream>,
    device: Arc<DevicePool>,
    pinned: Arc<PinnedPool>,
    context: Arc<Context>,
}

impl Bench {
    fn new(ordinal: u32) -> Self {
        probe().unwrap();
        let context = Context::open(ordinal).unwrap();
        Self {
            kernels: Kernels::load(&context).unwrap(),
            stream: Stream::new(&context, Priority::Normal).unwrap(),
            device: DevicePool::new(&context, 8 << 20).unwrap(),
            pinned: PinnedPool::new(&context, 8 << 20, None).unwrap(),
            context,
        }
    }

    fn span(&self, byte_size: usize) -> DeviceSpan {
        self.device.take(byte_size).unwrap()
    }

    /// A span that holds these bytes.
    fn with(&self, work: &mut Work, bytes: &[u8]) -> DeviceSpan {
        let span = self.span(bytes.len());
        let mut slab = self.pinned.take(bytes.len());
        slab.copy_from_slice(bytes);
        work.upload(&self.stream, &span, slab.freeze()).unwrap();
        span
    }

    /// Ends the work, and reads what is in the span then.
    fn read(&self, mut work: Work, span: &DeviceSpan, byte_size: usize) -> Vec<u8> {
        work.download(&self.stream, span, self.pinned.take(byte_size))
            .unwrap();
        work.finish().unwrap().wait().unwrap()[0].to_vec()
    }
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks();
    elements
        .iter()
        .map(|&element| f32::from_le_bytes(element))
        .collect()
}

#[test]
fn every_entry_is_loaded_and_launched_on_its_spans() {
    let test = name!(every_entry_is_loaded_and_launched_on_its_spans);
    on_fake(test, &[("FAKE_CUDA_KERNEL_US", "2000")], || {
        let bench = Bench::new(1);
        casts(&bench);
        images(&bench);
        scores(&bench);
        assert_eq!(bench.pinned.usage().used_byte_size, 0);
    });
}

fn casts(bench: &Bench) {
    let values = [1.5f32, -0.0, 65_520.0, 3.1];
    let mut work = Work::new(&bench.context).unwrap();
    let from = bench.with(&mut work, &bytes(&values));
    let to = bench.span(8);
    let (kernels, stream) = (&bench.kernels, &bench.stream);
    kernels
        .cast(&mut work, stream, Conversion::Fp32ToFp16, &from, &to)
        .unwrap();
    let want = values
        .map(|value| f16::from_f32(value).to_le_bytes())
        .concat();
    assert_eq!(bench.read(work, &to, 8), want);

    let mut work = Work::new(&bench.context).unwrap();
    let from = bench.with(&mut work, &[0, 128, 255]);
    let to = bench.span(12);
    let conversion = Conversion::Uint8ToFp32 {
        scale: 0.5,
        offset: -1.0,
    };
    kernels
        .cast(&mut work, stream, conversion, &from, &to)
        .unwrap();
    assert_eq!(floats(&bench.read(work, &to, 12)), [-1.0, 63.0, 126.5]);
}

fn images(bench: &Bench) {
    let image = plain::Image::new(2, [2, 3], [4, 2], &[(0.5, 1.0), (2.0, -1.0)]).unwrap();
    let from: Vec<u8> = (0..24).map(|index| index * 10).collect();
    let mut want = vec![0.0f32; 32];
    plain::preprocess(&image, &from, &mut want).unwrap();
    let mut work = Work::new(&bench.context).unwrap();
    let source = bench.with(&mut work, &from);
    let to = bench.span(128);
    bench
        .kernels
        .preprocess(
            &mut work,
            &bench.stream,
            (ImageDatatype::Fp32, image),
            &source,
            &to,
        )
        .unwrap();
    assert_eq!(floats(&bench.read(work, &to, 128)), want);
}

fn scores(bench: &Bench) {
    let rows = [[0.5f32, 2.0, 2.0], [-1.0, f32::NAN, 4.0]];
    let mut work = Work::new(&bench.context).unwrap();
    let scores = Scores {
        span: bench.with(&mut work, &bytes(rows.as_flattened())),
        rows: 2,
        columns: 3,
    };
    let (values, indices) = (bench.span(16), bench.span(16));
    bench
        .kernels
        .top_k(
            &mut work,
            &bench.stream,
            (&scores, 2, false),
            &values,
            &indices,
        )
        .unwrap();
    let want: Vec<_> = rows
        .iter()
        .flat_map(|row| top_k(row.iter().copied(), 2))
        .collect();
    let got = bench.read(work, &indices, 16);
    let got_values = floats(&bench.read(Work::new(&bench.context).unwrap(), &values, 16));
    let (got, _) = got.as_chunks();
    for ((index, value), want) in got.iter().zip(got_values).zip(want) {
        assert_eq!(
            (u32::from_le_bytes(*index), value),
            (want.0.try_into().unwrap(), want.1)
        );
    }

    let mut work = Work::new(&bench.context).unwrap();
    let (kernels, stream) = (&bench.kernels, &bench.stream);
    kernels
        .top_k(&mut work, stream, (&scores, 1, true), &values, &indices)
        .unwrap();
    kernels
        .softmax(&mut work, stream, &scores, &scores.span)
        .unwrap();
    let mut want = rows[0];
    plain::softmax(&mut want);
    assert_eq!(floats(&bench.read(work, &scores.span, 12)), want);
    let best = floats(&bench.read(Work::new(&bench.context).unwrap(), &values, 4));
    assert_eq!(best, [want[1]]);
}

#[test]
fn batches_are_gathered_from_anywhere_and_scattered_to_pinned_memory() {
    let test = name!(batches_are_gathered_from_anywhere_and_scattered_to_pinned_memory);
    on_fake(test, &[("FAKE_CUDA_KERNEL_US", "5000")], || {
        let bench = Bench::new(0);
        let mut work = Work::new(&bench.context).unwrap();
        let mut pinned = bench.pinned.take(3);
        pinned.copy_from_slice(&[1, 2, 3]);
        let pieces = vec![
            (0, Piece::Pinned(pinned.freeze().slice(1..))),
            (2, Piece::Device(bench.with(&mut work, &[4; 5]))),
            (7, Piece::Zeros(3)),
        ];
        let slab = bench.with(&mut work, &[9; 12]);
        let (kernels, stream, pool) = (&bench.kernels, &bench.stream, &bench.pinned);
        kernels
            .gather(&mut work, stream, pool, &slab, pieces)
            .unwrap();
        let other = bench.with(&mut work, &[8; 3]);
        let places = vec![
            (6, Place::Pinned(pool.take(4))),
            (3, Place::Device(other.part(1, 2).unwrap())),
            (1, Place::Pinned(pool.take(2))),
        ];
        kernels
            .scatter(&mut work, stream, pool, &slab, places)
            .unwrap();
        let pending = work.finish().unwrap();
        assert!(!pending.is_done().unwrap(), "nothing was waited for");
        let landed = pending.wait().unwrap();
        assert_eq!((&*landed[0], &*landed[1]), (&[4, 0, 0, 0][..], &[3, 4][..]));
        drop(landed);
        let other = bench.read(Work::new(&bench.context).unwrap(), &other, 3);
        assert_eq!(other, [8, 4, 4]);
        let whole = bench.read(Work::new(&bench.context).unwrap(), &slab, 12);
        assert_eq!(whole, [2, 3, 4, 4, 4, 4, 4, 0, 0, 0, 9, 9]);
        assert_eq!(bench.pinned.usage().used_byte_size, 0);
    });
}

#[test]
fn what_would_leave_its_span_is_not_launched() {
    let test = name!(what_would_leave_its_span_is_not_launched);
    on_fake(test, &[], || {
        let bench = Bench::new(0);
        let (kernels, stream, pool) = (&bench.kernels, &bench.stream, &bench.pinned);
        let mut work = Work::new(&bench.context).unwrap();
        let small = bench.span(8);
        let large = bench.span(64);
        let image = plain::Image::new(1, [4, 4], [2, 2], &[(1.0, 0.0)]).unwrap();
        let scores = Scores {
            span: small.clone(),
            rows: u32::MAX,
            columns: u32::MAX,
        };
        let other = Bench::new(1).span(8);
        let pageable = bytes::Bytes::from_static(&[1]);
        let failures = [
            kernels.cast(&mut work, stream, Conversion::Fp16ToFp32, &large, &small),
            kernels.preprocess(
                &mut work,
                stream,
                (ImageDatatype::Fp32, image),
                &large,
                &small,
            ),
            kernels.softmax(&mut work, stream, &scores, &large),
            kernels.top_k(&mut work, stream, (&scores, 1, true), &large, &large),
            kernels.gather(&mut work, stream, pool, &small, vec![(8, Piece::Zeros(1))]),
            kernels.gather(
                &mut work,
                stream,
                pool,
                &small,
                vec![(usize::MAX, Piece::Zeros(1))],
            ),
            kernels.gather(
                &mut work,
                stream,
                pool,
                &small,
                vec![(0, Piece::Pinned(pageable))],
            ),
            kernels.gather(
                &mut work,
                stream,
                pool,
                &small,
                vec![(0, Piece::Device(other))],
            ),
            kernels.scatter(
                &mut work,
                stream,
                pool,
                &small,
                vec![(5, Place::Pinned(pool.take(4)))],
            ),
        ];
        for (index, failure) in failures.into_iter().enumerate() {
            let error = failure.unwrap_err().to_string();
            assert!(error.contains("despina_"), "{index}: {error}");
        }
        work.finish().unwrap().wait().unwrap();
    });
}
