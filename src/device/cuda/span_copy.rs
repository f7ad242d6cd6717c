//! Copies between one span of a device's memory and many other places, in one launch of a kernel of the
//! house.

use std::sync::Arc;

use bytes::Bytes;

use super::{DeviceError, DeviceSpan, Kernels, Stream, Work, kernels::wide};
use crate::{
    device::{
        HostSlab, PinnedPool,
        kernels::{Direction, Span, SpanCopy},
    },
    tensor::Memory,
};

/// What goes into a slab.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Memory of the device, all of it.
    Device(DeviceSpan),
    /// Memory of a pinned pool, all of it, which the device reads over the bus.
    Pinned(Bytes),
    /// So many zeros.
    Zeros(usize),
}

/// Where a part of a slab goes.
#[derive(Debug)]
pub enum Place {
    /// Memory of the device, all of it.
    Device(DeviceSpan),
    /// Memory of a pinned pool, all of it, which the device writes over the bus.
    Pinned(HostSlab),
}

impl Kernels {
    /// Writes each piece at its offset in `slab`, in one launch. The table of them takes 24 bytes each
    /// of `pool`, of which pinned pieces are as well.
    ///
    /// # Errors
    /// If a piece leaves the slab or is not the pool's, the pool is used up, or the device is lost.
    pub fn gather(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        pool: &Arc<PinnedPool>,
        slab: &DeviceSpan,
        pieces: Vec<(usize, Piece)>,
    ) -> Result<(), DeviceError> {
        let mut table = Table::new("despina_gather", self, pool, slab);
        for (offset, piece) in pieces {
            let (address, byte_size) = match &piece {
                Piece::Device(span) => (span.address(), span.byte_size()),
                Piece::Pinned(bytes) => (table.address(bytes)?, bytes.len()),
                Piece::Zeros(byte_size) => (0, *byte_size),
            };
            table.push(address, offset, byte_size)?;
            match piece {
                Piece::Device(span) => self.keep(work, table.entry, span)?,
                Piece::Pinned(bytes) => work.keep_source(bytes),
                Piece::Zeros(_) => {}
            }
        }
        table.launch(work, stream, Direction::Gather)
    }

    /// Fills each place from its offset in `slab`, in one launch. Slabs of host memory come back from
    /// [`super::Pending::wait`], in their order; they are of `pool`, as are the table's 24 bytes for each
    /// place.
    ///
    /// # Errors
    /// If a place leaves the slab, or is neither the pool's nor this device's, the pool is used up, or
    /// the device is lost.
    pub fn scatter(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        pool: &Arc<PinnedPool>,
        slab: &DeviceSpan,
        places: Vec<(usize, Place)>,
    ) -> Result<(), DeviceError> {
        let mut table = Table::new("despina_scatter", self, pool, slab);
        for (offset, place) in places {
            match place {
                Place::Device(span) => {
                    table.push(span.address(), offset, span.byte_size())?;
                    self.keep(work, table.entry, span)?;
                }
                Place::Pinned(host) => {
                    table.push(table.address(&host)?, offset, host.len())?;
                    work.keep_landing(host);
                }
            }
        }
        table.launch(work, stream, Direction::Scatter)
    }
}

/// The table of a gather or scatter, while it is made.
struct Table<'a> {
    entry: &'static str,
    kernels: &'a Kernels,
    pool: &'a Arc<PinnedPool>,
    slab: &'a DeviceSpan,
    spans: Vec<Span>,
}

impl<'a> Table<'a> {
    fn new(
        entry: &'static str,
        kernels: &'a Kernels,
        pool: &'a Arc<PinnedPool>,
        slab: &'a DeviceSpan,
    ) -> Self {
        Self {
            entry,
            kernels,
            pool,
            slab,
            spans: Vec::new(),
        }
    }

    /// Where the device finds memory of the pool.
    fn address(&self, bytes: &[u8]) -> Result<u64, DeviceError> {
        self.pool.device_address(bytes).ok_or_else(|| {
            let code = "host memory that is not of the pinned pool".to_owned();
            self.kernels.failed(self.entry, code)
        })
    }

    fn push(&mut self, address: u64, offset: usize, byte_size: usize) -> Result<(), DeviceError> {
        let end = offset.checked_add(byte_size);
        if end.is_none_or(|end| end > self.slab.byte_size()) {
            let code = format!(
                "{byte_size} bytes at {offset} of a slab of {}",
                self.slab.byte_size()
            );
            return Err(self.kernels.failed(self.entry, code));
        }
        self.spans.push(Span {
            address,
            offset: wide(offset),
            byte_size: wide(byte_size),
        });
        Ok(())
    }

    fn launch(
        self,
        work: &mut Work,
        stream: &Arc<Stream>,
        direction: Direction,
    ) -> Result<(), DeviceError> {
        if self.spans.is_empty() {
            return Ok(());
        }
        let words = self.spans.iter().flat_map(Span::words);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let mut table = self.pool.take(bytes.len());
        table.copy_from_slice(&bytes);
        let launch = SpanCopy {
            direction,
            spans: self.address(&table)?,
            span_count: u32::try_from(self.spans.len())
                .map_err(|error| self.kernels.failed(self.entry, error.to_string()))?,
            slab: self.slab.address(),
            longest_byte_size: self
                .spans
                .iter()
                .map(|span| span.byte_size)
                .max()
                .unwrap_or(0),
        };
        work.keep_source(table.freeze());
        self.kernels.launch(work, stream, &launch, [self.slab])
    }
}
