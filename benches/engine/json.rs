//! How fast tensors are read from JSON, on one thread, as the HTTP door does it; beside it a loop that reads the
//! same text number by number with a JSON library.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use despina::{admission::Limits, api::http::parse_infer_request};
use jiter::Jiter;

use super::{process, report};

/// Numbers of a tensor.
const COUNT: usize = 1 << 20;

/// How numbers are written.
type Write = fn(f32) -> String;

const FORMS: [(&str, Write); 4] = [
    ("singles as doubles (Python's json)", |number| {
        f64::from(number).to_string()
    }),
    ("singles, shortest", |number| number.to_string()),
    ("four places", |number| format!("{number:.4}")),
    ("0 to 255, whole", |number| format!("{:.0}", number * 255.0)),
];

/// Prints a table.
pub fn measure(rounds: usize) -> Result<()> {
    report::print_json_header();
    for (name, write) in FORMS {
        for datatype in ["FP32", "FP16", "BF16", "FP64"] {
            let request = request(datatype, write);
            let mut rates = Vec::new();
            let mut library = Vec::new();
            for _ in 0..rounds {
                rates.push(rate(|| read(&request))?);
                library.push(rate(|| read_one_by_one(&request))?);
            }
            report::print_json(name, datatype, request.len(), &rates, &library);
        }
    }
    Ok(())
}

fn request(datatype: &str, write: Write) -> String {
    // A fixed sequence without a pattern.
    let mut state = 1_u32;
    let numbers: Vec<_> = (0..COUNT)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            write((state >> 8) as f32 / (1 << 24) as f32)
        })
        .collect();
    format!(
        "{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":[{COUNT}],\"data\":[{}]}}]}}",
        numbers.join(",")
    )
}

/// Numbers for each second of processor time.
fn rate(read: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = process::cpu_time(None)?;
    read()?;
    let took: Duration = process::cpu_time(None)? - before;
    Ok(COUNT as f64 / took.as_secs_f64())
}

fn read(request: &str) -> Result<()> {
    let limits = Limits {
        json_byte_size: usize::MAX,
        ..Limits::default()
    };
    let document = parse_infer_request(request.as_bytes(), &limits);
    document.map(drop).map_err(|error| anyhow!("{error}"))
}

fn read_one_by_one(request: &str) -> Result<()> {
    let begin = request.rfind('[').context("no array")?;
    let mut reader = Jiter::new(&request.as_bytes()[begin..]);
    let mut bytes: Vec<u8> = Vec::with_capacity(4 * COUNT);
    let fault = |error| anyhow!("{error}");
    let mut next = reader.next_array().map_err(fault)?;
    while let Some(peek) = next {
        let number = reader.known_float(peek).map_err(fault)?;
        #[allow(clippy::cast_possible_truncation)] // rounds
        let single = number as f32;
        bytes.extend_from_slice(&single.to_le_bytes());
        next = reader.array_step().map_err(fault)?;
    }
    ensure!(bytes.len() == 4 * COUNT, "numbers are missing");
    Ok(())
}
