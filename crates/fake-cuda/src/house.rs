//! The server's own kernels, emulated by the plain forms of `src/device/kernels/plain`, which are
//! compiled here again. So what passes on the fake shows that kernels are launched when they should
//! be, on what they should be; that their sources compute what the plain forms do is shown by
//! `tests/kernels`.

use half::{bf16, f16};

use crate::{
    code::Code,
    kernels::{Kernel, Launch},
    plain::{self, FromF32, Image},
    tensor::top_k,
};

/// All of them, with the parameters that `kernels/*.cu` declare.
pub(crate) const KERNELS: &[Kernel] = &[
    kernel("despina_gather", &[8, 4, 8], gather),
    kernel("despina_scatter", &[8, 4, 8], scatter),
    kernel("despina_cast_fp32_fp16", CAST, |launch| {
        cast(launch, f32::from_le_bytes, f16::to_le_bytes, AS_IT_IS)
    }),
    kernel("despina_cast_fp16_fp32", CAST, |launch| {
        cast(launch, f16::from_le_bytes, f32::to_le_bytes, AS_IT_IS)
    }),
    kernel("despina_cast_fp32_bf16", CAST, |launch| {
        cast(launch, f32::from_le_bytes, bf16::to_le_bytes, AS_IT_IS)
    }),
    kernel("despina_cast_bf16_fp32", CAST, |launch| {
        cast(launch, bf16::from_le_bytes, f32::to_le_bytes, AS_IT_IS)
    }),
    kernel("despina_cast_uint8_fp32", SCALED_CAST, |launch| {
        cast(launch, u8::from_le_bytes, f32::to_le_bytes, scaled(launch))
    }),
    kernel("despina_cast_uint8_fp16", SCALED_CAST, |launch| {
        cast(launch, u8::from_le_bytes, f16::to_le_bytes, scaled(launch))
    }),
    kernel("despina_cast_uint8_bf16", SCALED_CAST, |launch| {
        cast(launch, u8::from_le_bytes, bf16::to_le_bytes, scaled(launch))
    }),
    kernel("despina_image_fp32", &[8, 8, 64], |launch| {
        image(launch, f32::to_le_bytes)
    }),
    kernel("despina_image_fp16", &[8, 8, 64], |launch| {
        image(launch, f16::to_le_bytes)
    }),
    kernel("despina_softmax_fp32", &[8, 8, 4, 4], softmax),
    kernel("despina_top_k_fp32", TOP_K, |launch| {
        best(launch, |row, count| top_k(row.iter().copied(), count))
    }),
    kernel("despina_softmax_top_k_fp32", TOP_K, |launch| {
        best(launch, plain::softmax_top_k)
    }),
];

const CAST: &[usize] = &[8, 8, 8];
const SCALED_CAST: &[usize] = &[8, 8, 8, 4, 4];
const TOP_K: &[usize] = &[8, 8, 8, 4, 4, 4];
const AS_IT_IS: (f32, f32) = (1.0, -0.0);

const fn kernel(
    name: &'static str,
    parameters: &'static [usize],
    run: fn(&Launch) -> Result<(), Code>,
) -> Kernel {
    Kernel {
        name,
        parameters,
        run,
    }
}

/// A row of the table of a gather or scatter.
struct Span {
    address: u64,
    offset: u64,
    byte_size: usize,
}

fn spans(launch: &Launch) -> Result<Vec<Span>, Code> {
    let table = launch.read(launch.u64(0), launch.u32(1) as usize * 24)?;
    let words: Vec<u64> = elements(&table, u64::from_le_bytes);
    let (rows, _) = words.as_chunks::<3>();
    let span = |&[address, offset, byte_size]: &[u64; 3]| Span {
        address,
        offset,
        byte_size: byte_size as usize,
    };
    Ok(rows.iter().map(span).collect())
}

fn gather(launch: &Launch) -> Result<(), Code> {
    for span in spans(launch)? {
        let bytes = match span.address {
            0 => vec![0; span.byte_size],
            address => launch.read(address, span.byte_size)?,
        };
        launch.write(launch.u64(2) + span.offset, &bytes)?;
    }
    Ok(())
}

fn scatter(launch: &Launch) -> Result<(), Code> {
    for span in spans(launch)? {
        if span.address != 0 {
            let bytes = launch.read(launch.u64(2) + span.offset, span.byte_size)?;
            launch.write(span.address, &bytes)?;
        }
    }
    Ok(())
}

fn scaled(launch: &Launch) -> (f32, f32) {
    (launch.f32(3), launch.f32(4))
}

fn cast<From: Copy + Into<f32>, To: FromF32, const FROM: usize, const TO: usize>(
    launch: &Launch,
    read: fn([u8; FROM]) -> From,
    write: fn(To) -> [u8; TO],
    (scale, offset): (f32, f32),
) -> Result<(), Code> {
    let count = launch.u64(2) as usize;
    let from = elements(&launch.read(launch.u64(0), count * FROM)?, read);
    let mut to: Vec<To> = from.iter().map(|_| To::from_f32(0.0)).collect();
    plain::cast(&from, &mut to, scale, offset);
    launch.write(launch.u64(1), &bytes(to, write))
}

fn image<To: FromF32, const N: usize>(
    launch: &Launch,
    write: fn(To) -> [u8; N],
) -> Result<(), Code> {
    let fields = elements(launch.bytes(2), u32::from_le_bytes);
    let image = fields
        .try_into()
        .ok()
        .and_then(|fields| Image::from_fields(&fields));
    let image = image.ok_or(Code::INVALID_VALUE)?;
    let from = launch.read(launch.u64(0), image.byte_size() as usize)?;
    let mut to: Vec<To> = (0..image.element_count())
        .map(|_| To::from_f32(0.0))
        .collect();
    plain::preprocess(&image, &from, &mut to).ok_or(Code::INVALID_VALUE)?;
    launch.write(launch.u64(1), &bytes(to, write))
}

fn softmax(launch: &Launch) -> Result<(), Code> {
    let (rows, columns) = (launch.u32(2) as usize, launch.u32(3) as usize);
    let scores = launch.read(launch.u64(0), rows * columns * 4)?;
    let mut scores = elements(&scores, f32::from_le_bytes);
    scores.chunks_mut(columns.max(1)).for_each(plain::softmax);
    launch.write(launch.u64(1), &bytes(scores, f32::to_le_bytes))
}

fn best(launch: &Launch, of_row: impl Fn(&[f32], usize) -> Vec<(usize, f32)>) -> Result<(), Code> {
    let [rows, columns, count] = [3, 4, 5].map(|index| launch.u32(index) as usize);
    let scores = launch.read(launch.u64(0), rows * columns * 4)?;
    let scores = elements(&scores, f32::from_le_bytes);
    let (indices, values): (Vec<u32>, Vec<f32>) = scores
        .chunks(columns.max(1))
        .flat_map(|row| of_row(row, count))
        .map(|(index, value)| (index as u32, value))
        .unzip();
    launch.write(launch.u64(1), &bytes(values, f32::to_le_bytes))?;
    launch.write(launch.u64(2), &bytes(indices, u32::to_le_bytes))
}

fn elements<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|&element| read(element)).collect()
}

fn bytes<T, const N: usize>(elements: Vec<T>, write: fn(T) -> [u8; N]) -> Vec<u8> {
    elements.into_iter().flat_map(write).collect()
}
