//! What a plan is built by: precision, what it has to be compatible with, bounds, profiles. Pure.

use std::str::FromStr;

use tensorrt_sys::{self as sys, Version};

use super::shapes::BuildProfile;

/// What a plan computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The types that the model has.
    Fp32,
    /// The same, but products of 32-bit floats are rounded to TF32 where the GPU has it. TensorRT's own
    /// default.
    #[default]
    Tf32,
    /// TensorRT may compute with 16-bit floats wherever it likes.
    Fp16,
    /// The same with bfloat16.
    Bf16,
}

/// Which GPUs a plan runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hardware {
    /// Those like the one that it was built on.
    #[default]
    Same,
    /// Ampere and everything later.
    AmperePlus,
    /// All of the same compute capability.
    SameCapability,
}

/// What a plan is built by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// What it computes with.
    pub precision: Precision,
    /// Which GPUs it runs on.
    pub hardware: Hardware,
    /// Whether later versions of TensorRT of the same major version run it. It then brings host code along.
    pub version_compatible: bool,
    /// Whether weights may stay on the host.
    pub weight_streaming: bool,
    /// How hard TensorRT tries, from 0 to 5; its own default if not set.
    pub optimization_level: Option<u8>,
    /// Most bytes of the device's memory that a layer may use besides; all of it if not set.
    pub workspace_byte_limit: Option<u64>,
    /// For inputs whose shape varies; empty if none does.
    pub profiles: Vec<BuildProfile>,
}

/// The highest level of optimisation.
const MOST_OPTIMIZED: u8 = 5;
/// From this version on plans can be made for all GPUs of a compute capability.
const SAME_CAPABILITY_SINCE: Version = Version::from_number(100_900);

impl Precision {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// How far an output may differ from what ONNX Runtime computes with 32-bit floats, as a fraction of
    /// the output's largest magnitude.
    pub(super) const fn tolerance(self) -> f64 {
        match self {
            Self::Fp32 => 1e-3,
            Self::Tf32 => 1e-2,
            Self::Fp16 => 2e-2,
            Self::Bf16 => 5e-2,
        }
    }

    /// As the shim counts them.
    pub(in super::super) fn number(self) -> i32 {
        let number = match self {
            Self::Fp32 => sys::TRT_PRECISION_MODEL,
            Self::Tf32 => sys::TRT_PRECISION_MODEL_TF32,
            Self::Fp16 => sys::TRT_PRECISION_FP16,
            Self::Bf16 => sys::TRT_PRECISION_BF16,
        };
        number.cast_signed()
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Fp32, Self::Tf32, Self::Fp16, Self::Bf16];
        let found = known
            .into_iter()
            .find(|precision| precision.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| match text.to_ascii_lowercase().as_str() {
            "int8" | "int4" | "fp8" | "fp4" | "best" => format!(
                "precision '{text}' is not supported: write the quantisation into the ONNX model \
                 (QuantizeLinear, DequantizeLinear), whose types are kept"
            ),
            _ => format!(
                "unknown precision '{}', expected fp32, tf32, fp16 or bf16",
                text.escape_debug()
            ),
        })
    }
}

impl Hardware {
    /// Its name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "none",
            Self::AmperePlus => "ampere-plus",
            Self::SameCapability => "same-compute-capability",
        }
    }

    /// As the shim counts them.
    pub(in super::super) fn number(self) -> i32 {
        let number = match self {
            Self::Same => sys::TRT_HARDWARE_SAME,
            Self::AmperePlus => sys::TRT_HARDWARE_AMPERE_PLUS,
            Self::SameCapability => sys::TRT_HARDWARE_SAME_CAPABILITY,
        };
        number.cast_signed()
    }
}

impl FromStr for Hardware {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Same, Self::AmperePlus, Self::SameCapability];
        known
            .into_iter()
            .find(|hardware| hardware.name() == text)
            .ok_or_else(|| {
                format!(
                    "unknown hardware compatibility '{}', expected none, ampere-plus or \
                     same-compute-capability",
                    text.escape_debug()
                )
            })
    }
}

impl Recipe {
    /// Whether TensorRT of that version can follow it.
    ///
    /// # Errors
    /// What it cannot do, and what to do instead.
    pub fn check(&self, version: Version) -> Result<(), String> {
        let is_chosen = matches!(self.precision, Precision::Fp16 | Precision::Bf16);
        if is_chosen && version.major > 10 {
            return Err(format!(
                "precision {} needs TensorRT 10: TensorRT {version} keeps the types of the ONNX model; convert \
                 the model itself, and build it with tf32",
                self.precision.name()
            ));
        }
        if self.hardware == Hardware::SameCapability && version < SAME_CAPABILITY_SINCE {
            return Err(format!(
                "plans for all GPUs of a compute capability need TensorRT {SAME_CAPABILITY_SINCE}, here is \
                 {version}"
            ));
        }
        match self.optimization_level {
            Some(level) if level > MOST_OPTIMIZED => Err(format!(
                "optimization level {level} is more than {MOST_OPTIMIZED}"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for precision in [
            Precision::Fp32,
            Precision::Tf32,
            Precision::Fp16,
            Precision::Bf16,
        ] {
            assert_eq!(precision.name().parse(), Ok(precision));
        }
        // As Triton's accelerator parameters have it.
        assert_eq!("FP16".parse(), Ok(Precision::Fp16));
        for hardware in [
            Hardware::Same,
            Hardware::AmperePlus,
            Hardware::SameCapability,
        ] {
            assert_eq!(hardware.name().parse(), Ok(hardware));
        }
        assert!("ampere".parse::<Hardware>().is_err());
        let int8 = "INT8".parse::<Precision>().unwrap_err();
        assert!(int8.contains("QuantizeLinear"), "{int8}");
        let odd = "half".parse::<Precision>().unwrap_err();
        assert!(odd.contains("expected fp32, tf32, fp16 or bf16"), "{odd}");
    }

    #[test]
    fn what_a_version_cannot_do_is_refused_by_name() {
        let recipe = |precision, hardware, level| Recipe {
            precision,
            hardware,
            optimization_level: level,
            ..Recipe::default()
        };
        use Hardware::*;
        use Precision::*;
        let table = [
            (recipe(Tf32, Same, None), 110_400, None),
            (recipe(Fp32, AmperePlus, Some(5)), 100_100, None),
            (recipe(Fp16, Same, None), 100_300, None),
            (
                recipe(Fp16, Same, None),
                110_000,
                Some("fp16 needs TensorRT 10"),
            ),
            (
                recipe(Bf16, Same, None),
                110_400,
                Some("bf16 needs TensorRT 10"),
            ),
            (recipe(Tf32, SameCapability, None), 100_900, None),
            (
                recipe(Tf32, SameCapability, None),
                100_800,
                Some("need TensorRT 10.9.0"),
            ),
            (
                recipe(Tf32, Same, Some(6)),
                110_400,
                Some("level 6 is more than 5"),
            ),
        ];
        for (recipe, version, refusal) in table {
            let result = recipe.check(Version::from_number(version));
            match (&result, refusal) {
                (Ok(()), None) => {}
                (Err(message), Some(part)) => assert!(message.contains(part), "{message}"),
                _ => panic!("{recipe:?} on {version}: {result:?}"),
            }
        }
    }
}
