//! What one instance has of a device for itself: a stream for each direction and one to compute on,
//! memory, and the number of batches that are under way. All of it goes with the instance.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{
    Account, DevicePool, OpenDevice,
    cuda::{DeviceError, Landed, Priority, Stream, Work},
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
    flights: Arc<Flights>,
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

    /// A lane with `byte_size` bytes of the device's memory.
    ///
    /// # Errors
    /// If the device has not so much left, or is lost.
    pub fn new(
        device: &Arc<OpenDevice>,
        byte_size: usize,
        priority: Priority,
    ) -> Result<Arc<Self>, DeviceError> {
        let context = device.context();
        let pool = DevicePool::new(context, byte_size)?;
        Ok(Arc::new(Self {
            upload: Stream::new(context, priority)?,
            compute: Stream::new(context, priority)?,
            download: Stream::new(context, priority)?,
            account: Account::new(device, &pool),
            pool,
            device: Arc::clone(device),
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
