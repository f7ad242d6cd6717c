//! What one instance has of a device for itself: a stream for each direction and one to compute on,
//! memory, and the number of batches that are under way. All of it goes with the instance.

use std::{
    num::NonZero,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    Account, DevicePool, OpenDevice,
    cuda::{DeviceError, Kernels, Landed, Priority, Stream, Work},
};

/// An instance's lane.
#[derive(Debug)]
pub struct Lane {
    device: Arc<OpenDevice>,
    upload: Arc<Stream>,
    compute: Arc<Stream>,
    download: Arc<Stream>,
    pool: Arc<DevicePool>,
    account: Arc<Account>,
    gather_threshold: Option<NonZero<u32>>,
    flights: Arc<Flights>,
}

/// What a lane is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct LaneConfig {
    /// Bytes of the device's memory for inputs and outputs.
    pub byte_size: usize,
    /// How urgent its streams are.
    pub priority: Priority,
    /// From how many pieces on a tensor is gathered or scattered by a kernel, and not by a copy for
    /// each; never if `None`.
    pub gather_threshold: Option<NonZero<u32>>,
}

/// Batches under way.
#[derive(Debug, Default)]
struct Flights {
    count: Mutex<usize>,
    landed: Condvar,
}

impl Lane {
    /// Batches under way at most: one is copied in or out while another is computed.
    pub const DEPTH: usize = 2;

    /// A lane as configured.
    ///
    /// # Errors
    /// If the device has not so much left, or is lost.
    pub fn new(device: &Arc<OpenDevice>, config: LaneConfig) -> Result<Arc<Self>, DeviceError> {
        let context = device.context();
        let pool = DevicePool::new(context, config.byte_size)?;
        Ok(Arc::new(Self {
            upload: Stream::new(context, config.priority)?,
            compute: Stream::new(context, config.priority)?,
            download: Stream::new(context, config.priority)?,
            account: Account::new(device, &pool),
            pool,
            device: Arc::clone(device),
            gather_threshold: config.gather_threshold,
            flights: Arc::default(),
        }))
    }

    /// The device.
    pub fn device(&self) -> &Arc<OpenDevice> {
        &self.device
    }

    /// The error after which the device can no longer be used, if there was one.
    pub fn lost(&self) -> Option<&DeviceError> {
        self.device.lost()
    }

    /// The stream for copies to the device.
    pub fn upload(&self) -> &Arc<Stream> {
        &self.upload
    }

    /// The stream to compute on.
    pub fn compute(&self) -> &Arc<Stream> {
        &self.compute
    }

    /// The stream for copies to the host.
    pub fn download(&self) -> &Arc<Stream> {
        &self.download
    }

    /// The lane's own memory.
    pub fn pool(&self) -> &Arc<DevicePool> {
        &self.pool
    }

    /// What it takes of the device.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The kernels, if a tensor in so many pieces is to be gathered or scattered by one.
    pub fn kernels_for(&self, piece_count: usize) -> Option<&Arc<Kernels>> {
        let threshold = usize::try_from(self.gather_threshold?.get()).ok()?;
        let kernels = self.device.kernels();
        kernels.filter(|_| piece_count >= threshold)
    }

    /// Waits until fewer batches are under way than may be. For the only thread that launches.
    pub fn wait_for_room(&self) {
        self.flights.wait_for_fewer_than(Self::DEPTH);
    }

    /// Waits until no batch is under way.
    pub fn drain(&self) {
        self.flights.wait_for_fewer_than(1);
    }

    /// Ends the giving of `work`, and calls `then`, on another thread, when it is done.
    pub fn launch(
        &self,
        work: Work,
        then: impl FnOnce(Result<Landed, DeviceError>) + Send + 'static,
    ) {
        let flight = Flight::begin(&self.flights);
        match work.finish() {
            Ok(pending) => self.device.poller().watch(pending, move |landed| {
                then(landed);
                drop(flight);
            }),
            Err(error) => then(Err(error)),
        }
    }
}

impl Flights {
    fn wait_for_fewer_than(&self, limit: usize) {
        drop(
            self.landed
                .wait_while(self.count(), |count| *count >= limit)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn count(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch under way, until it is dropped.
struct Flight(Arc<Flights>);

impl Flight {
    fn begin(flights: &Arc<Flights>) -> Self {
        *flights.count() += 1;
        Self(Arc::clone(flights))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.landed.notify_all();
    }
}
