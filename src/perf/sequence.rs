//! Requests that belong together: for models that keep state between the requests of a sequence, each of
//! which carries its number, and whether it is the first or the last.

use std::{
    collections::HashSet,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use bytes::Bytes;

use super::{model::Model, random::Random, wire::Message};

/// The largest number of a sequence: it travels as a positive integer of 64 bits.
pub(super) const MOST_ID: u64 = i64::MAX as u64;

/// How requests form sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceSettings {
    /// Sequences under way at the same time, in an open loop; in a closed one each request that is under
    /// way belongs to another one.
    pub count: usize,
    /// Requests of a sequence, on average.
    pub length: u64,
    /// By how many per cent lengths differ from that, at most.
    pub length_variation: f64,
    /// Their numbers, taken in turn.
    pub ids: RangeInclusive<u64>,
}

impl Default for SequenceSettings {
    fn default() -> Self {
        Self {
            count: 4,
            length: 20,
            length_variation: 20.0,
            ids: 1..=MOST_ID,
        }
    }
}

/// What all threads have in common.
#[derive(Debug)]
pub(super) struct SequenceSource {
    settings: SequenceSettings,
    /// By model: whether its requests form sequences.
    is_sequential: Vec<bool>,
    ids: Mutex<Ids>,
}

#[derive(Debug, Default)]
struct Ids {
    /// Taken so far.
    count: u64,
    under_way: HashSet<u64>,
}

impl SequenceSource {
    /// For these models; `None` if none of them has sequences.
    ///
    /// # Errors
    /// If it was said how they are formed all the same.
    pub(super) fn of(
        settings: Option<&SequenceSettings>,
        models: &[Model],
    ) -> Result<Option<Arc<Self>>> {
        let is_sequential: Vec<bool> = models.iter().map(|model| model.is_sequential).collect();
        if is_sequential.contains(&true) {
            let settings = settings.cloned().unwrap_or_default();
            return Ok(Some(Arc::new(Self::new(settings, is_sequential))));
        }
        ensure!(
            settings.is_none(),
            "none of the models has sequence_batching, so that --sequence-* have no effect"
        );
        Ok(None)
    }

    pub(super) fn new(settings: SequenceSettings, is_sequential: Vec<bool>) -> Self {
        Self {
            settings,
            is_sequential,
            ids: Mutex::default(),
        }
    }

    /// Sequences under way at the same time, in an open loop.
    pub(super) fn count(&self) -> usize {
        self.settings.count
    }

    pub(super) fn is_sequential(&self, model: usize) -> bool {
        self.is_sequential.get(model).copied().unwrap_or(false)
    }

    /// A new sequence: its number, and how many requests it has.
    pub(super) fn begin(&self, random: &mut Random) -> (u64, u64) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        // There are as many as can be under way.
        let id = loop {
            let id = self.settings.ids.start() + ids.count % self.id_count();
            ids.count += 1;
            if ids.under_way.insert(id) {
                break id;
            }
        };
        let length = self.settings.length as f64;
        let off = self.settings.length_variation / 100.0 * (2.0 * random.unit() - 1.0);
        let length = super::number::whole((length * (1.0 + off)).round());
        (id, length.max(1))
    }

    /// A sequence is over; another may have its number.
    pub(super) fn end(&self, id: u64) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.under_way.remove(&id);
    }

    /// How many numbers there are.
    pub(super) fn id_count(&self) -> u64 {
        let ids = &self.settings.ids;
        ids.end().saturating_sub(*ids.start()) + 1
    }
}

/// Where one request stands in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) id: u64,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

/// Where a message has the three parameters of a sequence, all of which have a fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marks {
    /// In JSON, where white space makes up the width.
    Json {
        id: usize,
        first: usize,
        last: usize,
    },
    /// In protobuf, where a number may have more bytes than it needs.
    Protobuf {
        id: usize,
        first: usize,
        last: usize,
    },
}

/// Characters of the number in JSON.
pub(super) const ID_WIDTH: usize = 20;
/// Characters of `true` and `false`.
pub(super) const SWITCH_WIDTH: usize = 5;
/// Bytes of the number in protobuf: those of the placeholder.
const VARINT_WIDTH: usize = 9;
/// What stands in protobuf where numbers will be: one that nothing else is.
pub(super) const PLACEHOLDER: i64 = 0x4a5b_6c7d_1e2f_3041;

impl Marks {
    /// Where a gRPC message has them, which must have the placeholder, and both switches on.
    pub(super) fn of_protobuf(bytes: &[u8]) -> Option<Self> {
        let mut number = [0; VARINT_WIDTH];
        varint(PLACEHOLDER.unsigned_abs(), &mut number);
        let switch = |name: &str| {
            // The end of the key, and a value with one field, which is true.
            let pattern = [name.as_bytes(), &[0x12, 2, 8, 1]].concat();
            Some(find(bytes, &pattern)? + pattern.len() - 1)
        };
        Some(Self::Protobuf {
            id: find(bytes, &number)?,
            first: switch("sequence_start")?,
            last: switch("sequence_end")?,
        })
    }

    /// The message for one step.
    pub(super) fn mark(&self, message: &Message, step: Step) -> Message {
        let mut bytes = message.bytes.to_vec();
        let mut put = |at: usize, new: &[u8]| {
            if let Some(old) = bytes.get_mut(at..at + new.len()) {
                old.copy_from_slice(new);
            }
        };
        match *self {
            Self::Json { id, first, last } => {
                let switch = |on: bool| format!("{on:>SWITCH_WIDTH$}");
                put(id, format!("{:>ID_WIDTH$}", step.id).as_bytes());
                put(first, switch(step.is_first).as_bytes());
                put(last, switch(step.is_last).as_bytes());
            }
            Self::Protobuf { id, first, last } => {
                let mut number = [0; VARINT_WIDTH];
                varint(step.id, &mut number);
                put(id, &number);
                put(first, &[u8::from(step.is_first)]);
                put(last, &[u8::from(step.is_last)]);
            }
        }
        Message {
            bytes: Bytes::from(bytes),
            ..message.clone()
        }
    }
}

/// A number of at most 63 bits in all of these bytes, seven bits in each.
fn varint(mut number: u64, bytes: &mut [u8; VARINT_WIDTH]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        let more = if index + 1 < VARINT_WIDTH { 0x80 } else { 0 };
        *byte = number.to_le_bytes()[0] & 0x7f | more;
        number >>= 7;
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn numbers_are_taken_in_turn_and_lengths_lie_around_the_mean() {
        let settings = SequenceSettings {
            ids: 7..=9,
            ..SequenceSettings::default()
        };
        let source = SequenceSource::new(settings, vec![true]);
        let mut random = Random::new(1);
        let ids: Vec<_> = (0..3).map(|_| source.begin(&mut random).0).collect();
        assert_eq!(ids, [7, 8, 9]);
        source.end(8);
        let mut lengths = Vec::new();
        for _ in 0..200 {
            let (id, length) = source.begin(&mut random);
            // The others are under way.
            assert_eq!(id, 8);
            lengths.push(length);
            source.end(id);
        }
        assert!(lengths.iter().all(|length| (16..=24).contains(length)));
        assert!(
            lengths.contains(&17) && lengths.contains(&23),
            "{lengths:?}"
        );
    }

    #[test]
    fn the_shortest_sequence_has_one_request() {
        let settings = SequenceSettings {
            length: 1,
            length_variation: 100.0,
            ..SequenceSettings::default()
        };
        let source = SequenceSource::new(settings, vec![true]);
        let mut random = Random::new(1);
        for _ in 0..50 {
            assert!((1..=2).contains(&source.begin(&mut random).1));
        }
    }

    #[test]
    fn a_marked_message_says_what_the_step_says() {
        use crate::proto::inference::{
            InferParameter, ModelInferRequest, infer_parameter::ParameterChoice,
        };
        use prost::Message as _;
        let parameter = |choice| InferParameter {
            parameter_choice: Some(choice),
        };
        let request = ModelInferRequest {
            model_name: "m".to_owned(),
            parameters: HashMap::from([
                (
                    "sequence_id".to_owned(),
                    parameter(ParameterChoice::Int64Param(PLACEHOLDER)),
                ),
                (
                    "sequence_start".to_owned(),
                    parameter(ParameterChoice::BoolParam(true)),
                ),
                (
                    "sequence_end".to_owned(),
                    parameter(ParameterChoice::BoolParam(true)),
                ),
            ]),
            raw_input_contents: vec![Bytes::from_static(b"sequence_start\x12\x02\x08\x01")],
            ..ModelInferRequest::default()
        };
        let message = Message {
            bytes: request.encode_to_vec().into(),
            decoupled: false,
            marks: None,
        };
        let marks = Marks::of_protobuf(&message.bytes).unwrap();
        for (id, is_first, is_last) in [
            (1, true, false),
            (MOST_ID, false, true),
            (0x1234_5678_9abc, false, false),
        ] {
            let step = Step {
                id,
                is_first,
                is_last,
            };
            let marked = marks.mark(&message, step);
            let read = ModelInferRequest::decode(&marked.bytes[..]).unwrap();
            let value = |name: &str| read.parameters[name].parameter_choice.clone().unwrap();
            let number = i64::try_from(id).unwrap();
            assert_eq!(value("sequence_id"), ParameterChoice::Int64Param(number));
            assert_eq!(
                value("sequence_start"),
                ParameterChoice::BoolParam(is_first)
            );
            assert_eq!(value("sequence_end"), ParameterChoice::BoolParam(is_last));
            assert_eq!(read.raw_input_contents, request.raw_input_contents);
        }
    }
}
