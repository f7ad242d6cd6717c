//! What a decoupled model's responses took, by their place in the answer: the `response_stats` of
//! the statistics extension.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::DurationSnapshot;

/// Responses beyond this many of one request are not counted one by one: clients decide how many
/// there are.
const MOST_COUNTED: usize = 1000;

/// What a response was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// It had outputs.
    Success,
    /// It was an error.
    Fail,
    /// It only ended the answer.
    Empty,
    /// Nobody waited for it any more.
    Cancelled,
}

/// One response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseRecord {
    /// What it was.
    pub kind: ResponseKind,
    /// Computing it.
    pub compute_infer: Duration,
    /// Taking its outputs over.
    pub compute_output: Duration,
}

/// The responses at one place of the answers, in the extension's own parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ResponseSnapshot {
    pub compute_infer: DurationSnapshot,
    pub compute_output: DurationSnapshot,
    pub success: DurationSnapshot,
    pub fail: DurationSnapshot,
    pub empty_response: DurationSnapshot,
    pub cancel: DurationSnapshot,
}

/// The responses of one model version.
#[derive(Debug, Default)]
pub struct ResponseStatistics(Mutex<Vec<ResponseSnapshot>>);

impl ResponseStatistics {
    /// The response at `index` (from 0) of an answer is being sent.
    pub fn count(&self, index: usize, record: &ResponseRecord) {
        if index >= MOST_COUNTED {
            return;
        }
        let mut places = self.lock();
        if places.len() <= index {
            places.resize(index + 1, ResponseSnapshot::default());
        }
        if let Some(place) = places.get_mut(index) {
            place.count(record);
        }
    }

    /// The numbers now, by place.
    pub fn snapshot(&self) -> Vec<ResponseSnapshot> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ResponseSnapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResponseSnapshot {
    fn count(&mut self, record: &ResponseRecord) {
        let total = record.compute_infer + record.compute_output;
        match record.kind {
            ResponseKind::Success | ResponseKind::Fail => {
                self.compute_infer.add(record.compute_infer);
                self.compute_output.add(record.compute_output);
            }
            ResponseKind::Empty => self.compute_infer.add(record.compute_infer),
            ResponseKind::Cancelled => {}
        }
        match record.kind {
            ResponseKind::Success => self.success.add(total),
            ResponseKind::Fail => self.fail.add(total),
            ResponseKind::Empty => self.empty_response.add(total),
            ResponseKind::Cancelled => self.cancel.add(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_place_and_kind_as_far_as_places_are_counted() {
        let statistics = ResponseStatistics::default();
        let record = |kind| ResponseRecord {
            kind,
            compute_infer: Duration::from_nanos(5),
            compute_output: Duration::from_nanos(2),
        };
        statistics.count(0, &record(ResponseKind::Success));
        statistics.count(0, &record(ResponseKind::Fail));
        statistics.count(1, &record(ResponseKind::Empty));
        statistics.count(1, &record(ResponseKind::Cancelled));
        statistics.count(MOST_COUNTED, &record(ResponseKind::Success));
        let duration = |count, nanoseconds| DurationSnapshot { count, nanoseconds };
        assert_eq!(
            statistics.snapshot(),
            [
                ResponseSnapshot {
                    compute_infer: duration(2, 10),
                    compute_output: duration(2, 4),
                    success: duration(1, 7),
                    fail: duration(1, 7),
                    ..Default::default()
                },
                ResponseSnapshot {
                    compute_infer: duration(1, 5),
                    empty_response: duration(1, 7),
                    cancel: duration(1, 7),
                    ..Default::default()
                },
            ]
        );
    }
}
