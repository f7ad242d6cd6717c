//! One thread's event loop.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use super::{
    super::wire::{Answer, Out, Outcome, Ticket, Wire},
    LOOK, Orders, Place, Report, Totals,
    chooser::{Chooser, Chosen},
    events::Readiness,
    pacer::{Due, Pacer},
    pool::{Link, Pool},
    recorder::Recorder,
    report, share,
};

/// What is read at once.
const BUFFER: usize = 256 << 10;
/// How long answers are waited for once no more requests are sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Drives load until it is told to stop, and reports.
pub(in crate::perf) fn drive<W: Wire, F: Fn(&mut Out) -> W>(place: Place, link: &Link<F>) {
    let reports = place.reports.clone();
    let totals = match Worker::new(place, link) {
        Ok(mut worker) => {
            let broken = worker.run().err().map(|error| error.to_string());
            Totals {
                broken,
                ..worker.finish()
            }
        }
        Err(error) => Totals {
            broken: Some(error.to_string()),
            ..Totals::default()
        },
    };
    report(&reports, Report::End(totals));
}

struct Worker<'a, W, F> {
    place: Place,
    pool: Pool<'a, W, F>,
    /// Requests under way, by ticket.
    flights: Vec<Option<Flight>>,
    free: Vec<Ticket>,
    in_flight: usize,
    pacer: Pacer,
    chooser: Chooser,
    recorder: Recorder,
    totals: Totals,
    buffer: Vec<u8>,
    answers: Vec<Answer>,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    /// When it was due.
    due: u64,
    model: usize,
    sample: usize,
    connection: usize,
    /// Of its sequence, if it is of one.
    slot: Option<usize>,
    /// Whether it is measured: what only ends a sequence is not.
    counts: bool,
}

impl<'a, W: Wire, F: Fn(&mut Out) -> W> Worker<'a, W, F> {
    fn new(place: Place, link: &'a Link<F>) -> io::Result<Self> {
        let Orders {
            threads,
            ref pacing,
            slice,
            ref requests,
            ..
        } = *place.orders;
        let most = share(link.connections, threads, place.thread).max(1);
        let opened = share(link.opened, threads, place.thread);
        Ok(Self {
            pool: Pool::new(link, most, opened)?,
            flights: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            pacer: Pacer::new(pacing, threads, place.thread),
            chooser: Chooser::new(&place),
            recorder: Recorder::new(slice, requests.len(), place.reports.clone()),
            totals: Totals::default(),
            buffer: vec![0; BUFFER],
            answers: Vec::new(),
            place,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let start = self.place.orders.start;
        thread::sleep(start.saturating_duration_since(Instant::now()));
        let mut ready: Vec<Readiness> = Vec::new();
        let mut give_up = None;
        loop {
            let now = self.place.orders.now();
            self.recorder.turn(now);
            self.pool.mend(now);
            let over = !self.start_due(now);
            if over {
                self.end_sequences(now);
            }
            self.flush(now);
            if over {
                let give_up = *give_up.get_or_insert(Instant::now() + PATIENCE);
                if self.in_flight == 0 || self.place.orders.gives_up(give_up) {
                    return Ok(());
                }
            }
            let deadline = self.deadline(now);
            self.pool.wait(deadline, &mut ready)?;
            for readiness in &ready {
                self.handle(*readiness);
            }
        }
    }

    /// Sends what is due and for which there is room; false if nothing will be any more.
    fn start_due(&mut self, now: u64) -> bool {
        loop {
            if self.place.orders.is_stopped() {
                return false;
            }
            let Due::Now(due) = self.pacer.due(now, self.in_flight) else {
                return true;
            };
            if !self.chooser.has_next() {
                return true;
            }
            let Some(connection) = self.pool.room(now) else {
                return true;
            };
            if !self.place.orders.take() {
                return false;
            }
            let Some(chosen) = self.chooser.next(&self.place.orders) else {
                return true;
            };
            self.pacer.sent();
            self.recorder.sent(now.saturating_sub(due));
            self.totals.sent += 1;
            self.start(due, connection, chosen, true);
        }
    }

    /// Tells the server of the end of sequences that are open, once nothing else is sent.
    fn end_sequences(&mut self, now: u64) {
        while let Some(connection) = self.pool.room(now)
            && let Some(chosen) = self.chooser.end_one(&self.place.orders)
        {
            self.start(now, connection, chosen, false);
        }
    }

    fn start(&mut self, due: u64, connection: usize, chosen: Chosen, counts: bool) {
        let Chosen {
            model,
            sample,
            keep,
            step,
            slot,
        } = chosen;
        let ticket = self.free.pop().unwrap_or_else(|| {
            self.flights.push(None);
            Ticket::try_from(self.flights.len() - 1).unwrap_or(Ticket::MAX)
        });
        if let Some(flight) = self.flights.get_mut(ticket as usize) {
            *flight = Some(Flight {
                due,
                model,
                sample,
                connection,
                slot,
                counts,
            });
        }
        self.in_flight += 1;
        let messages = self.place.orders.requests.get(model);
        let Some(message) = messages.and_then(|messages| messages.get(sample)) else {
            return;
        };
        match message.marks.zip(step) {
            Some((marks, step)) => {
                let marked = marks.mark(message, step);
                self.pool.send(connection, ticket, &marked, keep);
            }
            None => self.pool.send(connection, ticket, message, keep),
        }
    }

    fn flush(&mut self, now: u64) {
        while let Some((connection, reason)) = self.pool.flush() {
            self.lose(connection, &reason, now);
        }
    }

    fn handle(&mut self, ready: Readiness) {
        let mut answers = std::mem::take(&mut self.answers);
        let received = self.pool.receive(ready, &mut self.buffer, &mut answers);
        let now = self.place.orders.now();
        self.recorder.turn(now);
        for answer in answers.drain(..) {
            self.complete(answer, now);
        }
        self.answers = answers;
        if let Err(reason) = received {
            self.lose(ready.connection, &reason, now);
        }
        if !self.start_due(now) {
            self.end_sequences(now);
        }
        self.flush(now);
    }

    fn complete(&mut self, answer: Answer, now: u64) {
        let slot = self.flights.get_mut(answer.ticket as usize);
        let Some(flight) = slot.and_then(Option::take) else {
            return;
        };
        self.free.push(answer.ticket);
        self.in_flight -= 1;
        let failure = match answer.outcome {
            Outcome::Done(None) => None,
            Outcome::Done(Some(kept)) => {
                let verifier = &self.place.orders.verifier;
                verifier.check(flight.model, flight.sample, &kept).err()
            }
            Outcome::Failed(reason) => Some(reason),
        };
        let orders = &self.place.orders;
        self.chooser
            .answered(orders, flight.slot, failure.is_none());
        if let Some(reason) = failure {
            self.totals.fail(&reason);
            self.recorder.failed(flight.model);
        } else if flight.counts {
            self.totals.done += 1;
            let latency = now.saturating_sub(flight.due);
            self.recorder.done(flight.model, latency);
        }
    }

    /// A connection broke: its requests have failed.
    fn lose(&mut self, connection: usize, reason: &str, now: u64) {
        for ticket in self.pool.lose(connection, now) {
            let outcome = Outcome::Failed(reason.to_owned());
            self.complete(Answer { ticket, outcome }, now);
        }
    }

    /// When the loop must come round again, whatever happens.
    fn deadline(&mut self, now: u64) -> Instant {
        let mut time = self.recorder.end().min(now + LOOK);
        if let Due::At(due) = self.pacer.due(now, self.in_flight) {
            time = time.min(due);
        }
        if let Some(retry) = self.pool.retry() {
            time = time.min(retry);
        }
        self.place.orders.start + Duration::from_nanos(time)
    }

    /// Counts what has no answer as failed.
    fn finish(mut self) -> Totals {
        let now = self.place.orders.now();
        let flights = self.flights.iter().flatten();
        let connections: Vec<usize> = flights.map(|flight| flight.connection).collect();
        for connection in connections {
            let reason = format!("no answer came within {} s of the end", PATIENCE.as_secs());
            self.lose(connection, &reason, now);
        }
        self.recorder.turn(now);
        self.recorder.report();
        self.totals
    }
}
