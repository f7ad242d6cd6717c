//! Launches of `kernels/image.cu`.

use super::{Arguments, Geometry, Launch, Module, plain::Image};

/// Of `kernels/image.cu`.
pub(super) const ENTRIES: &[&str] = &["despina_image_fp32", "despina_image_fp16"];

/// The datatype of the planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ImageDatatype {
    Fp32,
    Fp16,
}

/// `despina_image_fp32` and `despina_image_fp16` (`const uint8_t *from, To *to, Image image`): from
/// `[count, height, width, channels]` to `[count, channels, out_height, out_width]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// The datatype of the planes.
    pub datatype: ImageDatatype,
    /// Sizes, scales and offsets.
    pub image: Image,
    /// The device's address of the images.
    pub from: u64,
    /// The device's address of the planes.
    pub to: u64,
}

impl Launch for Preprocess {
    fn module(&self) -> Module {
        Module::IMAGE
    }

    fn entry(&self) -> &'static str {
        match self.datatype {
            ImageDatatype::Fp32 => "despina_image_fp32",
            ImageDatatype::Fp16 => "despina_image_fp16",
        }
    }

    /// A thread for each pixel of an output plane.
    fn geometry(&self) -> Geometry {
        Geometry::of(self.image.pixel_count(), 1, 8192)
    }

    fn arguments(&self) -> Arguments {
        Arguments::default()
            .u64(self.from)
            .u64(self.to)
            .structure(&self.image.fields())
    }
}
