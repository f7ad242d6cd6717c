//! The CUDA kernels of `kernels/*.cu` as the host knows them: for each family its module, its entries,
//! the order of its arguments, the geometry of a launch, and, in [`plain`], what it computes, in plain
//! Rust for the CPU. Launches nothing and knows no driver.
//!
//! The modules are built by `kernels/build.sh` and kept beside their sources; `tests/kernels.rs` fails
//! if one of them is not what was built from its source, and runs the sources themselves, compiled for
//! the CPU, against the plain forms.

mod cast;
mod gather;
mod image;
pub mod plain;
#[cfg(test)]
mod tests;
mod top_k;

use smallvec::SmallVec;

pub use self::{
    cast::{Cast, Conversion},
    gather::{Direction, Span, SpanCopy},
    image::{ImageDatatype, Preprocess},
    top_k::{Softmax, TopK},
};

/// A file of machine code for each architecture, and PTX for those between and after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    /// The source's name, without its ending.
    pub name: &'static str,
    /// The names of its kernels.
    pub entries: &'static [&'static str],
    /// A fat binary, as the driver loads it.
    pub image: &'static [u8],
}

macro_rules! module {
    ($name:literal, $entries:expr) => {
        Module {
            name: $name,
            entries: $entries,
            image: include_bytes!(concat!("../../../kernels/", $name, ".fatbin")),
        }
    };
}

impl Module {
    /// Copies of many spans.
    pub const GATHER: Self = module!("gather", gather::ENTRIES);
    /// Datatypes to datatypes.
    pub const CAST: Self = module!("cast", cast::ENTRIES);
    /// Images to tensors.
    pub const IMAGE: Self = module!("image", image::ENTRIES);
    /// Scores to probabilities and classes.
    pub const TOP_K: Self = module!("top_k", top_k::ENTRIES);
    /// All of them.
    pub const ALL: [Self; 4] = [Self::GATHER, Self::CAST, Self::IMAGE, Self::TOP_K];
}

/// A kernel with everything that launching it takes.
pub trait Launch {
    /// Where its entry is.
    fn module(&self) -> Module;
    /// The entry's name.
    fn entry(&self) -> &'static str;
    /// Over how many threads it is launched.
    fn geometry(&self) -> Geometry;
    /// Its arguments, in the entry's order.
    fn arguments(&self) -> Arguments;
}

/// Blocks, and threads of a block. No kernel here takes dynamic shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in x, y and z; none is 0.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z; none is 0.
    pub block: [u32; 3],
}

/// Threads of a block, for all kernels. `THREADS` in `kernels/top_k.cu` agrees.
const THREADS: u32 = 256;

impl Geometry {
    /// Enough blocks for `count` things, of which one thread does `each` in one turn, but at most
    /// `limit`: kernels go on in strides until everything is done.
    fn of(count: u64, each: u64, limit: u32) -> Self {
        let blocks = count.div_ceil(each.saturating_mul(THREADS.into()).max(1));
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX).clamp(1, limit);
        Self {
            grid: [blocks, 1, 1],
            block: [THREADS, 1, 1],
        }
    }
}

/// The arguments of one launch, each at the start of a word of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    words: SmallVec<[u64; 12]>,
    starts: SmallVec<[usize; 6]>,
}

impl Arguments {
    fn with(mut self, words: impl IntoIterator<Item = u64>) -> Self {
        self.starts.push(self.words.len());
        self.words.extend(words);
        self
    }

    /// Adds an address or a 64-bit number.
    #[must_use]
    fn u64(self, value: u64) -> Self {
        self.with([value])
    }

    /// Adds a 32-bit number.
    #[must_use]
    fn u32(self, value: u32) -> Self {
        self.with([value.into()])
    }

    /// Adds a `float`.
    #[must_use]
    fn f32(self, value: f32) -> Self {
        self.u32(value.to_bits())
    }

    /// Adds a structure of 32-bit fields.
    #[must_use]
    fn structure(self, fields: &[u32]) -> Self {
        let (pairs, rest) = fields.as_chunks::<2>();
        let rest = rest.first().map(|&low| u64::from(low));
        let pairs = pairs
            .iter()
            .map(|&[low, high]| u64::from(low) | u64::from(high) << 32);
        self.with(pairs.chain(rest))
    }

    /// Where each argument is, as the driver's launch call takes them. They point into this value.
    pub fn pointers(&self) -> impl Iterator<Item = *const u64> {
        self.starts
            .iter()
            .filter_map(|&start| self.words.get(start))
            .map(std::ptr::from_ref)
    }
}
