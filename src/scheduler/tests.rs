use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;
use smallvec::smallvec;

use super::{
    Config, DropReason, Scheduler,
    lending::Lending,
    policy::{Candidate, Decision, Limits, decide},
    queue::{Dropped, Full, Queue},
    timer::{Agenda, Timer},
};
use crate::{
    backend::{BackendError, Batch, Executor},
    device::{Affinity, allowed_cores},
    error::ErrorKind,
    inference::{Infer, Input, Request, Response, ResponseReceiver, Statistics, response_channel},
    instance::{BatchSource, Instance, Seat, Signature, Starting},
    model_config::{
        DynamicBatching, ModelConfig, QueuePolicy, Scheduling, TimeoutAction, VersionPolicy,
    },
    tensor::{Buffer, Datatype, Shape, Tensor},
};

const MS: Duration = Duration::from_millis(1);

/// Answers nothing, and tells which thread it is run by.
struct Tell(mpsc::Sender<thread::ThreadId>);

impl Executor for Tell {
    fn execute(&mut self, _: &mut Batch) -> Result<(), BackendError> {
        self.0
            .send(thread::current().id())
            .map_err(|error| BackendError::Failed(error.to_string()))
    }
}

fn signature() -> Arc<Signature> {
    Arc::new(Signature {
        inputs: Vec::new(),
        outputs: Vec::new(),
        has_batch_dimension: true,
        decoupled: false,
    })
}

/// Takes the next batch, as an instance would that is never asked for its seat.
fn next(scheduler: &Scheduler) -> Option<Vec<Request>> {
    let executor = Box::new(Tell(mpsc::channel().0));
    let seat = Seat::new(executor, signature(), Arc::default());
    scheduler.next(seat).map(|(batch, _)| batch)
}

fn limits(max: usize, preferred: &[usize], delay: Duration) -> Limits {
    Limits {
        max_batch_size: max,
        preferred: if preferred.is_empty() {
            vec![max]
        } else {
            preferred.to_vec()
        },
        max_queue_delay: delay,
    }
}

/// Candidates that were all queued at `start` and fit each other.
fn waiting(start: Instant, sizes: &[usize]) -> Vec<Candidate> {
    sizes
        .iter()
        .map(|&batch_size| Candidate {
            batch_size,
            fits_first: true,
            queued: start,
            expires: None,
        })
        .collect()
}

#[test]
fn an_empty_queue_is_idle() {
    assert_eq!(
        decide([], &limits(4, &[], Duration::ZERO), Instant::now()),
        Decision::Idle
    );
}

#[test]
fn without_delay_runs_what_is_there_up_to_the_maximum() {
    let now = Instant::now();
    let limits = limits(4, &[], Duration::ZERO);
    for (sizes, run) in [
        (&[1][..], 1),
        (&[1, 1, 1], 3),
        (&[1, 1, 1, 1, 1], 4),
        (&[3, 2], 1),
        (&[4, 1], 1),
        (&[2, 1, 3], 2),
    ] {
        assert_eq!(
            decide(waiting(now, sizes), &limits, now),
            Decision::Run(run),
            "{sizes:?}"
        );
    }
}

#[test]
fn a_request_of_any_size_runs_alone_without_batching() {
    let now = Instant::now();
    assert_eq!(
        decide(waiting(now, &[7, 1]), &Limits::unbatched(), now),
        Decision::Run(1)
    );
}

#[test]
fn waits_for_a_preferred_size_until_the_delay_of_the_oldest() {
    let start = Instant::now();
    let limits = limits(8, &[4, 8], 10 * MS);
    assert_eq!(
        decide(waiting(start, &[1, 1]), &limits, start + 3 * MS),
        Decision::WaitUntil(start + 10 * MS)
    );
    assert_eq!(
        decide(waiting(start, &[1, 1]), &limits, start + 10 * MS),
        Decision::Run(2)
    );
    assert_eq!(
        decide(waiting(start, &[1; 4]), &limits, start),
        Decision::Run(4)
    );
}

#[test]
fn takes_the_longest_prefix_of_a_preferred_size_and_leaves_the_rest() {
    let now = Instant::now();
    let limits = limits(8, &[2, 4], 10 * MS);
    assert_eq!(
        decide(waiting(now, &[1; 3]), &limits, now),
        Decision::Run(2)
    );
    assert_eq!(
        decide(waiting(now, &[1; 5]), &limits, now),
        Decision::Run(4)
    );
}

#[test]
fn once_the_delay_has_passed_everything_pending_goes() {
    let start = Instant::now();
    let limits = limits(8, &[2, 4], 10 * MS);
    assert_eq!(
        decide(waiting(start, &[1; 3]), &limits, start + 10 * MS),
        Decision::Run(3)
    );
}

#[test]
fn growing_past_the_largest_preferred_size_sends_what_is_before_it() {
    let now = Instant::now();
    let limits = limits(8, &[4], 10 * MS);
    assert_eq!(
        decide(waiting(now, &[3, 3]), &limits, now),
        Decision::Run(1)
    );
}

#[test]
fn a_request_of_another_shape_ends_the_batch_and_is_not_overtaken() {
    let now = Instant::now();
    let mut candidates = waiting(now, &[1, 1, 1]);
    candidates[1].fits_first = false;
    assert_eq!(
        decide(candidates, &limits(8, &[], 10 * MS), now),
        Decision::Run(1)
    );
}

#[test]
fn wakes_early_for_a_request_that_expires_before_the_delay() {
    let start = Instant::now();
    let mut candidates = waiting(start, &[1, 1]);
    candidates[1].expires = Some(start + 2 * MS);
    assert_eq!(
        decide(candidates, &limits(8, &[], 10 * MS), start),
        Decision::WaitUntil(start + 2 * MS)
    );
}

proptest! {
    #[test]
    fn a_batch_is_a_prefix_that_fits(
        queue in prop::collection::vec((1_usize..9, any::<bool>()), 0..40),
        max in 1_usize..17,
        preferred in prop::collection::btree_set(1_usize..17, 0..4),
        delay in 0_u64..3,
        age in 0_u64..5,
    ) {
        let start = Instant::now();
        let preferred: Vec<_> = preferred.into_iter().filter(|&size| size <= max).collect();
        let limits = limits(max, &preferred, MS * u32::try_from(delay).unwrap());
        let candidates: Vec<_> = queue
            .iter()
            .enumerate()
            .map(|(i, &(batch_size, fits))| Candidate {
                batch_size: batch_size.min(max),
                fits_first: i == 0 || fits,
                queued: start,
                expires: None,
            })
            .collect();
        match decide(candidates.clone(), &limits, start + MS * u32::try_from(age).unwrap()) {
            Decision::Idle => prop_assert!(candidates.is_empty()),
            Decision::Run(count) => {
                prop_assert!(count >= 1 && count <= candidates.len());
                let batch = &candidates[..count];
                prop_assert!(batch.iter().all(|candidate| candidate.fits_first));
                prop_assert!(batch.iter().map(|candidate| candidate.batch_size).sum::<usize>() <= max);
            }
            Decision::WaitUntil(until) => {
                prop_assert!(age < delay, "nobody waits longer than the delay");
                prop_assert!(until <= start + limits.max_queue_delay);
            }
        }
    }

    #[test]
    fn no_request_is_lost_or_taken_twice_and_a_level_keeps_its_order(
        pushes in prop::collection::vec((0_u64..4, 1_usize..5), 1..60),
        takes in prop::collection::vec(1_usize..7, 1..60),
    ) {
        let mut queue = Queue::new(&Config::default(), &levels(3, QueuePolicy::default()));
        let mut receivers = Vec::new();
        for (i, &(priority, rows)) in pushes.iter().enumerate() {
            let (mut request, receiver) = request(rows);
            request.id = i.to_string();
            request.priority = priority;
            queue.push(request).map_err(|_| ()).unwrap();
            receivers.push(receiver);
        }
        let mut taken = Vec::new();
        for count in takes {
            taken.extend(queue.take(count));
        }
        taken.extend(queue.take(usize::MAX));
        prop_assert_eq!(taken.len(), pushes.len());
        prop_assert_eq!(queue.len(), 0);
        let mut by_level = BTreeMap::<u64, Vec<usize>>::new();
        for request in &taken {
            // 0 asks for the default, which is level 2.
            let level = if request.priority == 0 { 2 } else { request.priority };
            by_level.entry(level).or_default().push(request.id.parse().unwrap());
        }
        for ids in by_level.values() {
            prop_assert!(ids.is_sorted());
        }
        let levels: Vec<_> = taken.iter().map(|r| if r.priority == 0 { 2 } else { r.priority }).collect();
        prop_assert!(levels.is_sorted(), "{levels:?}");
    }
}

fn levels(count: u64, policy: QueuePolicy) -> Scheduling {
    Scheduling::Dynamic(DynamicBatching {
        preferred_batch_sizes: vec![8],
        priority_levels: count,
        default_priority_level: 2.min(count),
        default_queue_policy: Some(policy),
        ..DynamicBatching::default()
    })
}

pub(super) fn request(rows: usize) -> (Request, ResponseReceiver) {
    let (sender, receiver) = response_channel();
    let tensor = Tensor {
        datatype: Datatype::Uint8,
        shape: Shape::new([i64::try_from(rows).unwrap(), 1]),
        data: Buffer::Host(Bytes::from(vec![0; rows])),
    };
    let mut request = Request::new(smallvec![Input::new("IN", tensor)], sender);
    request.batch_size = rows;
    (request, receiver)
}

fn sweep(queue: &mut Queue, now: Instant) -> Vec<DropReason> {
    let mut dropped: Vec<Dropped> = Vec::new();
    queue.sweep(now, usize::MAX, &mut dropped);
    dropped.iter().map(|dropped| dropped.reason).collect()
}

#[test]
fn cancelled_requests_leave_the_queue_before_they_are_batched() {
    let mut queue = Queue::new(&Config::default(), &Scheduling::Default);
    let (first, cancelled) = request(1);
    let (second, _kept) = request(1);
    queue.push(first).map_err(|_| ()).unwrap();
    queue.push(second).map_err(|_| ()).unwrap();
    drop(cancelled);
    assert_eq!(sweep(&mut queue, Instant::now()), [DropReason::Cancelled]);
    assert_eq!(queue.len(), 1);
}

#[test]
fn a_timeout_rejects_or_delays_as_the_policy_says() {
    for (action, expected) in [(TimeoutAction::Reject, 1), (TimeoutAction::Delay, 0)] {
        let policy = QueuePolicy {
            timeout_action: action,
            default_timeout: Some(5 * MS),
            ..QueuePolicy::default()
        };
        let mut queue = Queue::new(&Config::default(), &levels(0, policy));
        let (late, _a) = request(1);
        let start = late.queued;
        let (mut fresh, _b) = request(1);
        fresh.queued = start + 5 * MS;
        fresh.id = "fresh".to_owned();
        queue.push(late).map_err(|_| ()).unwrap();
        queue.push(fresh).map_err(|_| ()).unwrap();
        assert_eq!(sweep(&mut queue, start + 6 * MS).len(), expected);
        assert_eq!(
            queue.take(1)[0].id,
            "fresh",
            "expired ones come last: {action:?}"
        );
    }
}

#[test]
fn a_requests_own_timeout_counts_only_as_the_policy_allows() {
    // (policy: default, override allowed) and asked → whether 20 ms in the queue are too long
    let cases = [
        (None, Some(10), false),
        (None, None, false),
        (Some((None, true)), Some(10), false),
        (Some((Some(50), true)), Some(10), true),
        (Some((Some(50), false)), Some(10), false),
        (Some((Some(10), true)), Some(50), true),
    ];
    for (policy, asked, expires) in cases {
        let scheduling = match policy {
            None => Scheduling::Default,
            Some((default, allow)) => levels(
                0,
                QueuePolicy {
                    default_timeout: default.map(|ms| MS * ms),
                    allow_timeout_override: allow,
                    ..QueuePolicy::default()
                },
            ),
        };
        let mut queue = Queue::new(&Config::default(), &scheduling);
        let (mut request, _receiver) = request(1);
        request.timeout = asked.map(|ms| MS * ms);
        let start = request.queued;
        queue.push(request).map_err(|_| ()).unwrap();
        assert_eq!(
            sweep(&mut queue, start + 20 * MS).len() == 1,
            expires,
            "{policy:?} {asked:?}"
        );
    }
}

#[test]
fn a_full_queue_gives_the_request_back() {
    let config = Config {
        max_requests: 2,
        max_byte_size: 10,
        ..Config::default()
    };
    let mut queue = Queue::new(&config, &Scheduling::Default);
    let push = |queue: &mut Queue, rows| match queue.push(request(rows).0) {
        Ok(_) => Ok(()),
        Err(refused) => Err(refused.full),
    };
    // Larger than the bound by itself, but alone.
    assert_eq!(push(&mut queue, 11), Ok(()));
    assert_eq!(
        push(&mut queue, 1),
        Err(Full::Bytes {
            wanted: 12,
            limit: 10
        })
    );
    queue.take(1);
    assert_eq!(push(&mut queue, 1), Ok(()));
    assert_eq!(push(&mut queue, 1), Ok(()));
    assert_eq!(push(&mut queue, 1), Err(Full::Requests(2)));
}

fn model(scheduling: Scheduling) -> ModelConfig {
    ModelConfig {
        proto: crate::proto::inference::ModelConfig::default(),
        name: "m".to_owned(),
        backend: "identity".to_owned(),
        platform: String::new(),
        version_policy: VersionPolicy::All,
        max_batch_size: 8,
        inputs: Vec::new(),
        outputs: Vec::new(),
        scheduling,
        instance_groups: Vec::new(),
        parameters: BTreeMap::new(),
        warmup: Vec::new(),
        decoupled: false,
    }
}

/// Its timer does not run: what expires does so when a test or an instance says so.
fn scheduler(config: &Config, policy: QueuePolicy) -> Arc<Scheduler> {
    Scheduler::new(
        config,
        &model(levels(0, policy)),
        Arc::new(Statistics::default()),
        &Timer::default(),
    )
}

/// Requests may ask for less than this.
const LONGEST: Duration = Duration::from_hours(1);

/// Each request says how long it waits.
fn own_timeouts_honoured() -> Scheduling {
    levels(
        0,
        QueuePolicy {
            default_timeout: Some(LONGEST),
            allow_timeout_override: true,
            ..QueuePolicy::default()
        },
    )
}

/// A scheduler that honours what each request says.
pub(super) fn own_timeouts(timer: &Timer) -> Arc<Scheduler> {
    Scheduler::new(
        &Config::default(),
        &model(own_timeouts_honoured()),
        Arc::new(Statistics::default()),
        timer,
    )
}

#[test]
fn rejects_when_the_queue_is_full_but_first_drops_what_nobody_waits_for() {
    let policy = QueuePolicy {
        max_queue_size: Some(1),
        ..QueuePolicy::default()
    };
    let scheduler = scheduler(&Config::default(), policy);
    let (first, first_receiver) = request(1);
    scheduler.submit(first).unwrap();
    let rejected = scheduler.submit(request(1).0).unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::ResourceExhausted);
    assert!(
        rejected
            .error
            .message()
            .starts_with("Exceeds maximum queue size")
    );
    drop(first_receiver);
    let (second, _receiver) = request(1);
    scheduler.submit(second).unwrap();
    let snapshot = scheduler.statistics.snapshot();
    assert_eq!((snapshot.pending, snapshot.failures), (1, [1, 1, 0, 0]));
}

#[test]
fn an_expired_request_is_answered_and_never_handed_out() {
    let scheduler = scheduler(
        &Config::default(),
        QueuePolicy {
            default_timeout: Some(Duration::ZERO),
            ..QueuePolicy::default()
        },
    );
    let (request, receiver) = request(1);
    scheduler.submit(request).unwrap();
    scheduler.close();
    assert!(next(&scheduler).is_none());
    let error = receiver.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().starts_with("Request timeout expired"));
}

#[test]
fn what_is_queued_at_close_is_still_handed_out() {
    let scheduler = scheduler(&Config::default(), QueuePolicy::default());
    let (request, _receiver) = request(1);
    scheduler.submit(request).unwrap();
    scheduler.close();
    assert_eq!(next(&scheduler).map(|batch| batch.len()), Some(1));
    assert!(next(&scheduler).is_none());
    assert_eq!(
        scheduler
            .submit(self::request(1).0)
            .unwrap_err()
            .error
            .kind(),
        ErrorKind::Unavailable
    );
}

#[test]
fn a_held_queue_hands_out_one_full_batch_first() {
    let config = Config {
        delay_until_requests: 3,
        ..Config::default()
    };
    let scheduler = scheduler(&config, QueuePolicy::default());
    let (report, batches) = mpsc::channel();
    let instance = {
        let scheduler = Arc::clone(&scheduler);
        thread::spawn(move || {
            while let Some(batch) = next(&scheduler) {
                report.send(batch.len()).unwrap();
            }
        })
    };
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let (request, receiver) = request(1);
        scheduler.submit(request).unwrap();
        receivers.push(receiver);
    }
    assert_eq!(batches.recv().unwrap(), 3);
    scheduler.close();
    instance.join().unwrap();
}

#[test]
fn who_waits_for_others_keeps_an_order_or_is_decoupled_is_never_lent() {
    let lending = |batching| Lending::new(&model(Scheduling::Dynamic(batching)));
    let plain = DynamicBatching::default();
    assert_eq!(lending(plain.clone()), Lending::IfIdle);
    let delayed = DynamicBatching {
        max_queue_delay: MS,
        ..plain.clone()
    };
    assert_eq!(lending(delayed), Lending::Never);
    let ordered = DynamicBatching {
        preserve_ordering: true,
        ..plain
    };
    assert_eq!(lending(ordered), Lending::Never);
    let mut model = model(Scheduling::Default);
    assert_eq!(Lending::new(&model), Lending::IfQuick);
    model.decoupled = true;
    assert_eq!(Lending::new(&model), Lending::Never);
}

#[test]
fn an_idle_instance_that_is_quick_is_run_by_whoever_brings_the_request() {
    let scheduler = scheduler(&Config::default(), QueuePolicy::default());
    let (tell, told) = mpsc::channel();
    let instance = Instance::start(
        "quick_0",
        None,
        move || Ok(Box::new(Tell(tell)) as Box<dyn Executor>),
        Arc::clone(&scheduler) as Arc<dyn BatchSource>,
        Arc::default(),
        signature(),
        Arc::default(),
    )
    .and_then(Starting::wait)
    .unwrap();
    let run_by = || {
        let (request, receiver) = request(1);
        scheduler.submit(request).unwrap();
        receiver.wait().unwrap();
        told.recv().unwrap()
    };
    let me = thread::current().id();
    assert_ne!(run_by(), me, "nothing is known of its pace yet");
    assert!(
        (0..100_000).any(|_| run_by() == me),
        "it is idle in between and takes no time"
    );
    scheduler.close();
    instance.join();
}

#[test]
fn every_request_of_many_threads_reaches_exactly_one_of_many_instances() {
    let scheduler = scheduler(&Config::default(), QueuePolicy::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let instances: Vec<_> = (0..3)
        .map(|_| {
            let (scheduler, seen) = (Arc::clone(&scheduler), Arc::clone(&seen));
            thread::spawn(move || {
                while let Some(batch) = next(&scheduler) {
                    assert!(batch.len() <= 8);
                    seen.lock()
                        .unwrap()
                        .extend(batch.into_iter().map(|request| request.id.clone()));
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let scheduler = Arc::clone(&scheduler);
            thread::spawn(move || {
                (0..500)
                    .map(|i| {
                        let (mut request, receiver) = request(1);
                        request.id = format!("{client}/{i}");
                        scheduler.submit(request).unwrap();
                        receiver
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let receivers: Vec<_> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    scheduler.close();
    for instance in instances {
        instance.join().unwrap();
    }
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), receivers.len());
}

#[test]
fn the_agenda_gives_out_what_is_due_earliest_first_and_once_for_each() {
    let start = Instant::now();
    let mut agenda = Agenda::default();
    assert!(agenda.set(1, start + 30 * MS, &"a"));
    assert!(agenda.set(2, start + 20 * MS, &"b"));
    assert!(!agenda.set(3, start + 40 * MS, &"c"), "not the next");
    assert!(!agenda.set(2, start + 50 * MS, &"b"), "earlier already");
    assert!(agenda.set(3, start + 10 * MS, &"c"));
    assert!(!agenda.set(4, start + 15 * MS, &"d"));
    agenda.forget(4);
    agenda.forget(5);
    assert_eq!(agenda.next(), Some(start + 10 * MS));
    assert_eq!(agenda.pop_due(start + 9 * MS), None);
    assert_eq!(agenda.pop_due(start + 20 * MS), Some("c"));
    assert_eq!(agenda.pop_due(start + 20 * MS), Some("b"));
    assert_eq!(agenda.pop_due(start + 20 * MS), None);
    assert_eq!(agenda.pop_due(start + 60 * MS), Some("a"));
    assert_eq!(agenda.pop_due(start + 60 * MS), None);
    assert_eq!(agenda.next(), None);
}

#[test]
fn the_queue_asks_to_be_woken_only_for_what_expires_earlier() {
    let mut queue = Queue::new(&Config::default(), &own_timeouts_honoured());
    let start = Instant::now();
    let mut receivers = Vec::new();
    let mut push = |queue: &mut Queue, timeout: Option<Duration>| {
        let (mut request, receiver) = request(1);
        (request.queued, request.timeout) = (start, timeout);
        receivers.push(receiver);
        queue.push(request).map_err(|_| ()).unwrap()
    };
    assert_eq!(push(&mut queue, None), Some(start + LONGEST));
    assert_eq!(push(&mut queue, Some(50 * MS)), Some(start + 50 * MS));
    assert_eq!(push(&mut queue, Some(60 * MS)), None);
    assert_eq!(push(&mut queue, Some(20 * MS)), Some(start + 20 * MS));
    // Not at once: whoever sends such requests must not have the queue read for each of them.
    assert_eq!(push(&mut queue, Some(Duration::ZERO)), Some(start + MS));
    assert_eq!(sweep(&mut queue, start + 20 * MS).len(), 2);
    assert_eq!(queue.next_wake(start + 20 * MS), Some(start + 50 * MS));
    assert_eq!(push(&mut queue, Some(55 * MS)), None);
    assert_eq!(sweep(&mut queue, start + 60 * MS).len(), 3);
    assert_eq!(queue.next_wake(start + 60 * MS), Some(start + LONGEST));
    assert_eq!(queue.len(), 1);
}

#[test]
fn an_expired_request_is_answered_though_no_instance_ever_asks() {
    let timer = Timer::default();
    timer.start().unwrap();
    let scheduler = own_timeouts(&timer);
    let submit = |timeout: Option<Duration>| {
        let (mut request, receiver) = request(1);
        request.timeout = timeout;
        scheduler.submit(request).unwrap();
        receiver
    };
    let _patient = submit(None);
    let _late = submit(Some(Duration::from_hours(1)));
    // Earlier than what is set already, and a second time after it was set again.
    for _ in 0..2 {
        let error = submit(Some(MS)).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().starts_with("Request timeout expired"));
    }
    let together: Vec<_> = (1..20).map(|ms| submit(Some(MS * ms))).collect();
    scheduler.close();
    for receiver in together {
        assert!(receiver.wait().is_err(), "closed or not");
    }
    let snapshot = scheduler.statistics.snapshot();
    assert_eq!((snapshot.pending, snapshot.failures), (2, [21, 0, 0, 0]));
}

#[test]
fn an_expired_request_under_delay_is_moved_and_not_answered() {
    let scheduler = scheduler(
        &Config::default(),
        QueuePolicy {
            timeout_action: TimeoutAction::Delay,
            default_timeout: Some(Duration::from_hours(1)),
            ..QueuePolicy::default()
        },
    );
    let submit = |id: &str| {
        let (mut request, receiver) = request(1);
        request.id = id.to_owned();
        scheduler.submit(request).unwrap();
        receiver
    };
    let _receivers = [submit("late"), submit("later")];
    scheduler.expire(Instant::now() + Duration::from_hours(2));
    let _receiver = submit("fresh");
    let snapshot = scheduler.statistics.snapshot();
    assert_eq!((snapshot.pending, snapshot.failures), (3, [0; 4]));
    let batch = next(&scheduler).unwrap();
    let ids: Vec<_> = batch.iter().map(|request| request.id.as_str()).collect();
    assert_eq!(ids, ["fresh", "late", "later"]);
}

#[test]
fn an_expired_request_waits_for_the_answers_before_it_if_answers_keep_their_order() {
    let policy = QueuePolicy {
        default_timeout: Some(Duration::from_hours(1)),
        ..QueuePolicy::default()
    };
    let scheduler = Scheduler::new(
        &Config::default(),
        &model(Scheduling::Dynamic(DynamicBatching {
            preferred_batch_sizes: vec![8],
            preserve_ordering: true,
            default_queue_policy: Some(policy),
            ..DynamicBatching::default()
        })),
        Arc::new(Statistics::default()),
        &Timer::default(),
    );
    let (first, first_receiver) = request(1);
    scheduler.submit(first).unwrap();
    let running = next(&scheduler).unwrap();
    let (second, mut receiver) = request(1);
    scheduler.submit(second).unwrap();
    scheduler.expire(Instant::now() + Duration::from_hours(2));
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut receiver).poll(&mut context).is_pending());
    for request in running {
        request.respond.send(Ok(Response::default()));
    }
    assert!(first_receiver.wait().is_ok());
    let Poll::Ready(Err(error)) = Pin::new(&mut receiver).poll(&mut context) else {
        panic!("not answered");
    };
    assert!(error.message().starts_with("Request timeout expired"));
}

#[test]
fn what_stays_keeps_its_order_wherever_something_expires() {
    let mut queue = Queue::new(&Config::default(), &own_timeouts_honoured());
    let start = Instant::now();
    let mut receivers = Vec::new();
    for (id, timeout) in [5, 50, 5, 5, 60, 70, 5, 80].into_iter().enumerate() {
        let (mut request, receiver) = request(1);
        request.id = id.to_string();
        (request.queued, request.timeout) = (start, Some(MS * timeout));
        queue.push(request).map_err(|_| ()).unwrap();
        receivers.push(receiver);
    }
    assert_eq!(sweep(&mut queue, start + 10 * MS).len(), 4);
    let ids: Vec<_> = queue.take(8).into_iter().map(|it| it.id.clone()).collect();
    assert_eq!(ids, ["1", "4", "5", "7"]);
}

#[test]
fn a_bound_instance_runs_everything_itself_at_its_own_seat() {
    let scheduler = scheduler(&Config::default(), QueuePolicy::default());
    let (tell, told) = mpsc::channel();
    let cores = allowed_cores().unwrap();
    let starting = ["bound_0", "bound_1"].map(|name| {
        let tell = tell.clone();
        let load = move || Ok(Box::new(Own(thread::current().id(), tell)) as Box<dyn Executor>);
        let affinity = Affinity {
            cores: cores.clone(),
            numa_node: None,
        };
        Instance::start(
            name,
            Some(affinity),
            load,
            Arc::clone(&scheduler) as Arc<dyn BatchSource>,
            Arc::default(),
            signature(),
            Arc::default(),
        )
    });
    let instances = starting.map(|starting| starting.and_then(Starting::wait).unwrap());
    for _ in 0..2000 {
        let (request, receiver) = request(1);
        scheduler.submit(request).unwrap();
        receiver.wait().unwrap();
        let (loaded_by, run_by) = told.recv().unwrap();
        assert_eq!(loaded_by, run_by);
    }
    scheduler.close();
    instances.into_iter().for_each(Instance::join);
}

/// Tells which thread loaded it, and which one runs it.
struct Own(
    thread::ThreadId,
    mpsc::Sender<(thread::ThreadId, thread::ThreadId)>,
);

impl Executor for Own {
    fn execute(&mut self, _batch: &mut Batch) -> Result<(), BackendError> {
        let threads = (self.0, thread::current().id());
        let sent = self.1.send(threads);
        sent.map_err(|error| BackendError::Failed(error.to_string()))
    }
}
