//! A trace as Triton's trace files have it: some JSON objects that share an id.

use std::{
    fmt::Display,
    io::{self, Write},
    time::{Instant, SystemTime},
};

use half::{bf16, f16};
use serde_json::{Value, json};

use super::record::{Record, TracedTensor};
use crate::tensor::{BytesTensor, Datatype};

/// Instants as nanoseconds since the Unix epoch, by a clock that is never set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    instant: Instant,
    nanoseconds: u64,
}

impl Clock {
    pub(super) fn now() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanoseconds = now.unwrap_or_default().as_nanos();
        Self {
            instant: Instant::now(),
            nanoseconds: u64::try_from(nanoseconds).unwrap_or(u64::MAX),
        }
    }

    fn read(&self, when: Instant) -> u64 {
        let nanoseconds =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        match when.checked_duration_since(self.instant) {
            Some(after) => self.nanoseconds.saturating_add(nanoseconds(after)),
            None => self
                .nanoseconds
                .saturating_sub(nanoseconds(self.instant - when)),
        }
    }
}

/// Writes the objects, with commas between them.
pub(super) fn write(record: &mut Record, clock: &Clock, out: &mut Vec<u8>) -> io::Result<()> {
    let id = record.id;
    let mut identity = json!({
        "id": id,
        "model_name": record.model,
        "model_version": record.version,
    });
    if !record.request_id.is_empty() {
        identity["request_id"] = Value::from(&*record.request_id);
    }
    write!(out, "{identity}")?;
    // They were noted by whoever had the request, on any thread.
    record.times.sort_by_key(|&(_, when)| when);
    for &(name, when) in &record.times {
        let ns = clock.read(when);
        write!(
            out,
            ",{{\"id\":{id},\"timestamps\":[{{\"name\":\"{name}\",\"ns\":{ns}}}]}}"
        )?;
    }
    for tensor in &record.tensors {
        let mut object = json!({
            "name": tensor.name,
            "data": elements(tensor),
            "shape": joined(tensor.shape.iter()),
            "dtype": tensor.datatype.name(),
        });
        if tensor.is_cut {
            object["truncated"] = Value::from(true);
        }
        let activity = json!({"id": id, "activity": tensor.activity, "tensor": object});
        write!(out, ",{activity}")?;
    }
    Ok(())
}

/// The elements that are whole, with commas between them.
fn elements(tensor: &TracedTensor) -> String {
    let data = &*tensor.data;
    match tensor.datatype {
        Datatype::Bool => numbers(data, |[byte]: [u8; 1]| u8::from(byte != 0)),
        Datatype::Uint8 => numbers(data, u8::from_le_bytes),
        Datatype::Uint16 => numbers(data, u16::from_le_bytes),
        Datatype::Uint32 => numbers(data, u32::from_le_bytes),
        Datatype::Uint64 => numbers(data, u64::from_le_bytes),
        Datatype::Int8 => numbers(data, i8::from_le_bytes),
        Datatype::Int16 => numbers(data, i16::from_le_bytes),
        Datatype::Int32 => numbers(data, i32::from_le_bytes),
        Datatype::Int64 => numbers(data, i64::from_le_bytes),
        Datatype::Fp16 => numbers(data, f16::from_le_bytes),
        Datatype::Bf16 => numbers(data, bf16::from_le_bytes),
        Datatype::Fp32 => numbers(data, f32::from_le_bytes),
        Datatype::Fp64 => numbers(data, f64::from_le_bytes),
        Datatype::Bytes => {
            let whole = BytesTensor::new(data).map_while(Result::ok);
            joined(whole.map(|text| format!("\"{}\"", String::from_utf8_lossy(text))))
        }
    }
}

fn numbers<const SIZE: usize, N: Display>(data: &[u8], read: fn([u8; SIZE]) -> N) -> String {
    let (whole, _) = data.as_chunks::<SIZE>();
    joined(whole.iter().map(|bytes| read(*bytes)))
}

fn joined(parts: impl Iterator<Item = impl Display>) -> String {
    let parts: Vec<_> = parts.map(|part| part.to_string()).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(record: &mut Record, clock: &Clock) -> Value {
        let mut out = b"[".to_vec();
        write(record, clock, &mut out).unwrap();
        out.push(b']');
        serde_json::from_slice(&out).unwrap()
    }

    fn tensor(datatype: Datatype, data: &[u8], is_cut: bool) -> TracedTensor {
        TracedTensor {
            activity: "TENSOR_QUEUE_INPUT",
            name: "IN \"0\"".to_owned(),
            datatype,
            shape: vec![1, 2],
            data: data.to_vec().into(),
            is_cut,
        }
    }

    #[test]
    fn a_trace_is_objects_in_the_order_of_time() {
        let clock = Clock {
            instant: Instant::now(),
            nanoseconds: 1_000_000,
        };
        let later = clock.instant + Duration::from_nanos(7);
        let earlier = clock.instant.checked_sub(Duration::from_nanos(3)).unwrap();
        let mut record = Record {
            id: 9,
            model: "m\"".to_owned(),
            version: 3,
            request_id: "r".to_owned(),
            times: vec![("REQUEST_END", later), ("REQUEST_START", earlier)],
            tensors: vec![tensor(
                Datatype::Fp32,
                &[0, 0, 0, 63, 0, 0, 128, 191],
                false,
            )],
            ..Record::default()
        };
        let expected = json!([
            {"id": 9, "model_name": "m\"", "model_version": 3, "request_id": "r"},
            {"id": 9, "timestamps": [{"name": "REQUEST_START", "ns": 999_997}]},
            {"id": 9, "timestamps": [{"name": "REQUEST_END", "ns": 1_000_007}]},
            {"id": 9, "activity": "TENSOR_QUEUE_INPUT", "tensor":
                {"name": "IN \"0\"", "data": "0.5,-1", "shape": "1,2", "dtype": "FP32"}},
        ]);
        assert_eq!(text(&mut record, &clock), expected);
    }

    #[test]
    fn every_datatype_is_written_as_far_as_it_goes() {
        let table: [(Datatype, &[u8], &str); 7] = [
            (Datatype::Bool, &[0, 1, 2], "0,1,1"),
            (Datatype::Int8, &[255, 3], "-1,3"),
            (Datatype::Uint16, &[1, 1, 9], "257"),
            (Datatype::Fp16, &[0, 60], "1"),
            (Datatype::Bf16, &[128, 63], "1"),
            (
                Datatype::Int64,
                &[254, 255, 255, 255, 255, 255, 255, 255],
                "-2",
            ),
            (
                Datatype::Bytes,
                b"\x02\0\0\0hi\x00\0\0\0\x05\0\0\0cut",
                "\"hi\",\"\"",
            ),
        ];
        for (datatype, data, expected) in table {
            assert_eq!(
                elements(&tensor(datatype, data, false)),
                expected,
                "{datatype}"
            );
        }
        let mut record = Record {
            tensors: vec![tensor(Datatype::Uint8, &[1], true)],
            ..Record::default()
        };
        let objects = text(&mut record, &Clock::now());
        assert_eq!(objects[1]["tensor"]["truncated"], true);
    }
}
