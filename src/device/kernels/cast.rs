//! Launches of `kernels/cast.cu`.

use super::{Arguments, Geometry, Launch, Module};

/// Of `kernels/cast.cu`.
pub(super) const ENTRIES: &[&str] = &[
    "despina_cast_fp32_fp16",
    "despina_cast_fp16_fp32",
    "despina_cast_fp32_bf16",
    "despina_cast_bf16_fp32",
    "despina_cast_uint8_fp32",
    "despina_cast_uint8_fp16",
    "despina_cast_uint8_bf16",
];

/// From which datatype to which. What comes from UINT8 is multiplied by `scale`, then `offset` is
/// added, rounded once.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Conversion {
    Fp32ToFp16,
    Fp16ToFp32,
    Fp32ToBf16,
    Bf16ToFp32,
    Uint8ToFp32 { scale: f32, offset: f32 },
    Uint8ToFp16 { scale: f32, offset: f32 },
    Uint8ToBf16 { scale: f32, offset: f32 },
}

impl Conversion {
    /// Bytes of one element, before and after.
    pub fn element_byte_sizes(self) -> [usize; 2] {
        match self {
            Self::Fp32ToFp16 | Self::Fp32ToBf16 => [4, 2],
            Self::Fp16ToFp32 | Self::Bf16ToFp32 => [2, 4],
            Self::Uint8ToFp32 { .. } => [1, 4],
            Self::Uint8ToFp16 { .. } | Self::Uint8ToBf16 { .. } => [1, 2],
        }
    }
}

/// `despina_cast_<from>_<to>`
/// (`const From *from, To *to, uint64_t count[, float scale, float offset]`), rounding to the nearest,
/// ties to even.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cast {
    /// From which datatype to which.
    pub conversion: Conversion,
    /// The device's address of the elements.
    pub from: u64,
    /// The device's address of where they go; it may not overlap `from`.
    pub to: u64,
    /// How many elements.
    pub count: u64,
}

impl Launch for Cast {
    fn module(&self) -> Module {
        Module::CAST
    }

    fn entry(&self) -> &'static str {
        match self.conversion {
            Conversion::Fp32ToFp16 => "despina_cast_fp32_fp16",
            Conversion::Fp16ToFp32 => "despina_cast_fp16_fp32",
            Conversion::Fp32ToBf16 => "despina_cast_fp32_bf16",
            Conversion::Bf16ToFp32 => "despina_cast_bf16_fp32",
            Conversion::Uint8ToFp32 { .. } => "despina_cast_uint8_fp32",
            Conversion::Uint8ToFp16 { .. } => "despina_cast_uint8_fp16",
            Conversion::Uint8ToBf16 { .. } => "despina_cast_uint8_bf16",
        }
    }

    fn geometry(&self) -> Geometry {
        Geometry::of(self.count, 4, 4096)
    }

    fn arguments(&self) -> Arguments {
        let arguments = Arguments::default()
            .u64(self.from)
            .u64(self.to)
            .u64(self.count);
        match self.conversion {
            Conversion::Fp32ToFp16
            | Conversion::Fp16ToFp32
            | Conversion::Fp32ToBf16
            | Conversion::Bf16ToFp32 => arguments,
            Conversion::Uint8ToFp32 { scale, offset }
            | Conversion::Uint8ToFp16 { scale, offset }
            | Conversion::Uint8ToBf16 { scale, offset } => arguments.f32(scale).f32(offset),
        }
    }
}
