//! The house's kernels on one device: loaded once, and launched on spans that hold all that they
//! touch.

#![expect(unsafe_code, reason = "kernels are launched by contract")]

use std::{collections::BTreeMap, sync::Arc};

use super::{Context, DeviceError, DeviceSpan, Kernel, Module, Stream, Work};
use crate::{
    device::kernels::{
        self, Cast, Conversion, ImageDatatype, Launch, Preprocess, Softmax, TopK, plain::Image,
    },
    tensor::Memory,
};

/// All kernels of `kernels/*.cu`, on one device.
#[derive(Debug)]
pub struct Kernels {
    context: Arc<Context>,
    entries: BTreeMap<&'static str, Kernel>,
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
    pub(super) fn launch<'a>(
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
    pub(super) fn keep(
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

    pub(super) fn failed(&self, call: &'static str, code: String) -> DeviceError {
        DeviceError::Failed {
            device: self.context.device(),
            call,
            code,
        }
    }
}

pub(super) fn wide(size: usize) -> u64 {
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
