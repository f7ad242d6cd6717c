//! Launches of `kernels/top_k.cu`.

use super::{Arguments, Geometry, Launch, Module, THREADS};

/// Of `kernels/top_k.cu`.
pub(super) const ENTRIES: &[&str] = &[
    "despina_softmax_fp32",
    "despina_top_k_fp32",
    "despina_softmax_top_k_fp32",
];

/// `despina_softmax_fp32` (`const float *from, float *to, uint32_t rows, uint32_t columns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// The device's address of the scores.
    pub from: u64,
    /// The device's address of the probabilities; it may be that of the scores.
    pub to: u64,
    /// Rows of scores.
    pub rows: u32,
    /// Scores of a row.
    pub columns: u32,
}

/// `despina_top_k_fp32` and `despina_softmax_top_k_fp32` (`const float *from, float *values,
/// uint32_t *indices, uint32_t rows, uint32_t columns, uint32_t count`): the largest of each row, the
/// largest first, of equals the lower index, NaN last. Reads a row `count` times, so it is for few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// Whether the values are to be the row's softmax and not its elements.
    pub softmax: bool,
    /// The device's address of the scores.
    pub from: u64,
    /// The device's address of the values, `rows` × [`TopK::kept`].
    pub values: u64,
    /// The device's address of their indices, as many.
    pub indices: u64,
    /// Rows of scores.
    pub rows: u32,
    /// Scores of a row.
    pub columns: u32,
    /// How many of each row are wanted.
    pub count: u32,
}

impl TopK {
    /// How many of each row there will be.
    pub fn kept(&self) -> u32 {
        self.count.min(self.columns)
    }
}

impl Launch for Softmax {
    fn module(&self) -> Module {
        Module::TOP_K
    }

    fn entry(&self) -> &'static str {
        "despina_softmax_fp32"
    }

    fn geometry(&self) -> Geometry {
        a_block_for_each(self.rows)
    }

    fn arguments(&self) -> Arguments {
        Arguments::default()
            .u64(self.from)
            .u64(self.to)
            .u32(self.rows)
            .u32(self.columns)
    }
}

impl Launch for TopK {
    fn module(&self) -> Module {
        Module::TOP_K
    }

    fn entry(&self) -> &'static str {
        if self.softmax {
            "despina_softmax_top_k_fp32"
        } else {
            "despina_top_k_fp32"
        }
    }

    fn geometry(&self) -> Geometry {
        a_block_for_each(self.rows)
    }

    fn arguments(&self) -> Arguments {
        Arguments::default()
            .u64(self.from)
            .u64(self.values)
            .u64(self.indices)
            .u32(self.rows)
            .u32(self.columns)
            .u32(self.kept())
    }
}

fn a_block_for_each(rows: u32) -> Geometry {
    Geometry::of(u64::from(rows) * u64::from(THREADS), 1, 65_535)
}
