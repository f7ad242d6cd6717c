//! Launches of `kernels/gather.cu`.

use super::{Arguments, Geometry, Launch, Module};

/// Of `kernels/gather.cu`.
pub(super) const ENTRIES: &[&str] = &["despina_gather", "despina_scatter"];

/// One copy, as it lies in the table that the kernel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Span {
    /// The end that is not the slab: device memory, or the device's address of mapped pinned memory.
    /// 0 stands for zeros; a gather writes them, a scatter leaves them out.
    pub address: u64,
    /// Where in the slab, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub byte_size: u64,
}

impl Span {
    /// The row, word by word.
    pub fn words(&self) -> [u64; 3] {
        [self.address, self.offset, self.byte_size]
    }
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the spans into the slab.
    Gather,
    /// From the slab to the spans.
    Scatter,
}

/// Copies between a slab and many spans in one launch: `despina_gather` and `despina_scatter`
/// (`const Span *spans, uint32_t span_count, uint8_t *slab`). The widest units are used for which
/// both ends are aligned: 16, 4 or 1 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanCopy {
    /// Which way.
    pub direction: Direction,
    /// The device's address of the table of [`Span`]s.
    pub spans: u64,
    /// How many there are.
    pub span_count: u32,
    /// The device's address of the slab.
    pub slab: u64,
    /// The size of the longest span, in bytes.
    pub longest_byte_size: u64,
}

/// The most that a grid's y may be.
const MAX_GRID_Y: u32 = 65_535;

impl Launch for SpanCopy {
    fn module(&self) -> Module {
        Module::GATHER
    }

    fn entry(&self) -> &'static str {
        match self.direction {
            Direction::Gather => "despina_gather",
            Direction::Scatter => "despina_scatter",
        }
    }

    /// A row of blocks for each span, as long as the longest of them needs.
    fn geometry(&self) -> Geometry {
        let mut geometry = Geometry::of(self.longest_byte_size, 16, 64);
        geometry.grid[1] = self.span_count.clamp(1, MAX_GRID_Y);
        geometry
    }

    fn arguments(&self) -> Arguments {
        Arguments::default()
            .u64(self.spans)
            .u32(self.span_count)
            .u64(self.slab)
    }
}
