//! The house's kernels on one device: loaded once, and launched on spans that hold all that they
//! touch.

#![expect(unsafe_code, reason = "kernels are launched by contract")]

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Context, DeviceError, DeviceSpan, Kernel, Module, Stream, Work};
use crate::{
    device::{
        HostSlab, PinnedPool,
        kernels::{
            self, Cast, Conversion, Direction, ImageDatatype, Launch, Preprocess, Softmax, Span,
            SpanCopy, TopK, plain::Image,
        },
    },
    tensor::Memory,
};

/// All kernels of `kernels/*.cu`, on one device.
#[derive(Debug)]
pub struct Kernels {
    context: Arc<Context>,
    entries: BTreeMap<&'static str, Kernel>,
}

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

/// Rows of FP32 scores.
#[derive(Clone, Debug)]
pub struct Scores {
    /// The scores, row by row, from the span's beginning.
    pub span: DeviceSpan,
    /// How many rows there are.
    pub rows: u32,
    /// How many scores a row has.
    pub columns: u32,
}

impl Kernels {
    /// Loads them, which takes some ms and device memory.
    ///
    /// # Errors
    /// If there is no code for the device, or it is lost.
    pub fn load(context: &Arc<Context>) -> Result<Arc<Self>, DeviceError> {
        let mut entries = BTreeMap::new();
        for module in kernels::Module::ALL {
            // SAFETY: the image is a whole fat binary: `tests/kernels` reads it to its end.
            let loaded = unsafe { Module::load(context, module.image) }?;
            for &entry in module.entries {
                entries.insert(entry, loaded.kernel(entry)?);
            }
        }
        Ok(Arc::new(Self {
            context: Arc::clone(context),
            entries,
        }))
    }

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

    /// Reads each slab of host memory from its offset in `slab`, in one launch; they come back from
    /// [`super::Pending::wait`], in their order. The table takes 24 bytes each of `pool`, of which they
    /// are as well.
    ///
    /// # Errors
    /// If one leaves the slab or is not the pool's, the pool is used up, or the device is lost.
    pub fn scatter(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        pool: &Arc<PinnedPool>,
        slab: &DeviceSpan,
        slabs: Vec<(usize, HostSlab)>,
    ) -> Result<(), DeviceError> {
        let mut table = Table::new("despina_scatter", self, pool, slab);
        for (offset, host) in &slabs {
            table.push(table.address(host)?, *offset, host.len())?;
        }
        for (_, host) in slabs {
            work.keep_landing(host);
        }
        table.launch(work, stream, Direction::Scatter)
    }

    /// Converts the elements that fill `from`, and writes them to the beginning of `to`.
    ///
    /// # Errors
    /// If `to` is too small, or the device is lost.
    pub fn cast(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        conversion: Conversion,
        from: &DeviceSpan,
        to: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        let [from_size, to_size] = conversion.element_byte_sizes();
        let count = from.byte_size() / from_size;
        let launch = Cast {
            conversion,
            from: from.address(),
            to: to.address(),
            count: wide(count),
        };
        self.holds(&launch, to, wide(count).saturating_mul(wide(to_size)))?;
        self.launch(work, stream, &launch, [from, to])
    }

    /// Writes the planes of the images at the beginning of `from` to the beginning of `to`.
    ///
    /// # Errors
    /// If either is smaller than `image` says, or the device is lost.
    pub fn preprocess(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        (datatype, image): (ImageDatatype, Image),
        from: &DeviceSpan,
        to: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        let launch = Preprocess {
            datatype,
            image,
            from: from.address(),
            to: to.address(),
        };
        let element = match datatype {
            ImageDatatype::Fp32 => 4,
            ImageDatatype::Fp16 => 2,
        };
        self.holds(&launch, from, image.byte_size())?;
        self.holds(&launch, to, image.element_count().saturating_mul(element))?;
        self.launch(work, stream, &launch, [from, to])
    }

    /// Writes the softmax of each row of `scores` to the beginning of `to`, which may be the same
    /// span.
    ///
    /// # Errors
    /// If a span is too small, or the device is lost.
    pub fn softmax(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        scores: &Scores,
        to: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        let launch = Softmax {
            from: scores.span.address(),
            to: to.address(),
            rows: scores.rows,
            columns: scores.columns,
        };
        let byte_size = matrix(scores.rows, scores.columns);
        self.holds(&launch, &scores.span, byte_size)?;
        self.holds(&launch, to, byte_size)?;
        self.launch(work, stream, &launch, [&scores.span, to])
    }

    /// Writes the `count` largest of each row of `scores` (all, if a row has fewer) to the beginning
    /// of `values`, or with `softmax` their softmax over the row, and their UINT32 indices to that of
    /// `indices`.
    ///
    /// # Errors
    /// If a span is too small, or the device is lost.
    pub fn top_k(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        (scores, count, softmax): (&Scores, u32, bool),
        values: &DeviceSpan,
        indices: &DeviceSpan,
    ) -> Result<(), DeviceError> {
        let launch = TopK {
            softmax,
            from: scores.span.address(),
            values: values.address(),
            indices: indices.address(),
            rows: scores.rows,
            columns: scores.columns,
            count,
        };
        self.holds(&launch, &scores.span, matrix(scores.rows, scores.columns))?;
        for span in [values, indices] {
            self.holds(&launch, span, matrix(scores.rows, launch.kept()))?;
        }
        self.launch(work, stream, &launch, [&scores.span, values, indices])
    }

    /// What a launch is about to touch is there.
    fn holds(
        &self,
        launch: &impl Launch,
        span: &DeviceSpan,
        byte_size: u64,
    ) -> Result<(), DeviceError> {
        if wide(span.byte_size()) >= byte_size {
            return Ok(());
        }
        Err(self.failed(
            launch.entry(),
            format!("{byte_size} bytes for a span of {}", span.byte_size()),
        ))
    }

    /// Launches on `spans`, which hold all that the kernel touches, and whose addresses are those of
    /// the launch; both have been checked.
    fn launch<'a>(
        &self,
        work: &mut Work,
        stream: &Arc<Stream>,
        launch: &impl Launch,
        spans: impl IntoIterator<Item = &'a DeviceSpan>,
    ) -> Result<(), DeviceError> {
        let kernel = self
            .entries
            .get(launch.entry())
            .ok_or_else(|| self.failed(launch.entry(), "is in no module".to_owned()))?;
        for span in spans {
            self.keep(work, launch.entry(), span.clone())?;
        }
        // SAFETY: the kernel is the launch's own, `tests/kernels` holds its source against the launch's
        // arguments, and what it touches lies in the spans that are kept.
        unsafe { work.launch_own(stream, kernel, launch) }
    }

    /// Another device's memory cannot be reached from this one's kernels.
    fn keep(
        &self,
        work: &mut Work,
        entry: &'static str,
        span: DeviceSpan,
    ) -> Result<(), DeviceError> {
        let other = span.context().device();
        if other != self.context.device() {
            return Err(self.failed(entry, format!("memory of {other}")));
        }
        work.keep_span(span);
        Ok(())
    }

    fn failed(&self, call: &'static str, code: String) -> DeviceError {
        DeviceError::Failed {
            device: self.context.device(),
            call,
            code,
        }
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

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// Bytes of so many rows of four-byte elements.
fn matrix(rows: u32, columns: u32) -> u64 {
    let elements = u64::from(rows) * u64::from(columns);
    elements.saturating_mul(4)
}

#[cfg(test)]
#[path = "kernels_tests.rs"]
mod tests;
