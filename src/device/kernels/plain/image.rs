//! Images as a network wants them.

use super::FromF32;

/// What all images of a batch have in common: uint8 `[count, height, width, channels]` become planes
/// `[count, channels, out_height, out_width]`, resized bilinearly (pixels are areas, edges repeat; no
/// filter when shrinking), then multiplied by their channel's scale and shifted by its offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Image {
    count: u32,
    size: [u16; 2],
    channels: u8,
    out_size: [u16; 2],
    scale: [f32; Self::MAX_CHANNELS],
    offset: [f32; Self::MAX_CHANNELS],
}

impl Image {
    /// The most channels.
    pub const MAX_CHANNELS: usize = 4;

    /// `count` images of `size` (height, width) to `out_size`, with a (scale, offset) for each channel.
    /// `None` if a side is 0, or there are no channels or more than four.
    pub fn new(
        count: u32,
        size: [u16; 2],
        out_size: [u16; 2],
        channels: &[(f32, f32)],
    ) -> Option<Self> {
        let mut image = Self {
            count,
            size,
            channels: u8::try_from(channels.len()).ok()?,
            out_size,
            scale: [0.0; Self::MAX_CHANNELS],
            offset: [0.0; Self::MAX_CHANNELS],
        };
        for (index, &(scale, offset)) in channels.iter().enumerate() {
            *image.scale.get_mut(index)? = scale;
            *image.offset.get_mut(index)? = offset;
        }
        let sides = size.iter().chain(&out_size).all(|&side| side > 0);
        (sides && !channels.is_empty()).then_some(image)
    }

    /// As [`Image::new`], from what [`Image::fields`] gave.
    pub fn from_fields(fields: &[u32; 16]) -> Option<Self> {
        let side = |index: usize| u16::try_from(fields[index]).ok();
        let float = |index: usize| f32::from_bits(fields[index]);
        let channel_count = usize::try_from(fields[3]).ok()?.min(Self::MAX_CHANNELS + 1);
        let channels: Vec<_> = (0..channel_count)
            .map(|channel| (float(8 + channel), fields.get(12 + channel)))
            .map(|(scale, offset)| Some((scale, f32::from_bits(*offset?))))
            .collect::<Option<_>>()?;
        let (size, out_size) = ([side(1)?, side(2)?], [side(4)?, side(5)?]);
        Self::new(fields[0], size, out_size, &channels)
    }

    /// The kernel's structure `Image`, field by field.
    pub fn fields(&self) -> [u32; 16] {
        let [height, width] = self.size.map(u32::from);
        let [out_height, out_width] = self.out_size.map(u32::from);
        let [step_y, step_x] = self.steps().map(f32::to_bits);
        let [s0, s1, s2, s3] = self.scale.map(f32::to_bits);
        let [o0, o1, o2, o3] = self.offset.map(f32::to_bits);
        [
            self.count,
            height,
            width,
            self.channels.into(),
            out_height,
            out_width,
            step_y,
            step_x,
            s0,
            s1,
            s2,
            s3,
            o0,
            o1,
            o2,
            o3,
        ]
    }

    /// Bytes of all images.
    pub fn byte_size(&self) -> u64 {
        product(self.count, self.size).saturating_mul(self.channels.into())
    }

    /// Pixels of one channel of all images that come out.
    pub fn pixel_count(&self) -> u64 {
        product(self.count, self.out_size)
    }

    /// Elements of all planes.
    pub fn element_count(&self) -> u64 {
        self.pixel_count().saturating_mul(self.channels.into())
    }

    /// Input pixels for one output pixel, down and across.
    fn steps(&self) -> [f32; 2] {
        let [height, width] = self.size.map(f32::from);
        let [out_height, out_width] = self.out_size.map(f32::from);
        [height / out_height, width / out_width]
    }
}

fn product(count: u32, size: [u16; 2]) -> u64 {
    let [height, width] = size.map(u64::from);
    u64::from(count).saturating_mul(height * width)
}

/// Writes the planes of `from` into `to`. `None`, and nothing written, if either is not as large as
/// `image` says.
pub fn preprocess<To: FromF32>(image: &Image, from: &[u8], to: &mut [To]) -> Option<()> {
    let fits = |length: usize, want: u64| u64::try_from(length) == Ok(want);
    if !fits(from.len(), image.byte_size()) || !fits(to.len(), image.element_count()) {
        return None;
    }
    let channels = usize::from(image.channels);
    let [height, width] = image.size.map(usize::from);
    let [out_height, out_width] = image.out_size.map(usize::from);
    let [step_y, step_x] = image.steps();
    let pictures = from.chunks_exact(height * width * channels);
    let planes = to.chunks_exact_mut(out_height * out_width);
    let channel_of_each = pictures.flat_map(|picture| (0..channels).map(move |c| (picture, c)));
    for (plane, (picture, channel)) in planes.zip(channel_of_each) {
        let pixel = |y: usize, x: usize| f32::from(picture[(y * width + x) * channels + channel]);
        let rows = (0..image.out_size[0]).zip(plane.chunks_exact_mut(out_width));
        for (out_y, row) in rows {
            let y = Between::new(out_y, step_y, image.size[0]);
            for (out_x, element) in (0..image.out_size[1]).zip(row) {
                let x = Between::new(out_x, step_x, image.size[1]);
                let top = x.mix(pixel(y.low, x.low), pixel(y.low, x.high));
                let bottom = x.mix(pixel(y.high, x.low), pixel(y.high, x.high));
                let value = y.mix(top, bottom);
                *element = To::from_f32(value.mul_add(image.scale[channel], image.offset[channel]));
            }
        }
    }
    Some(())
}

/// Where an output pixel lies between two input pixels.
struct Between {
    low: usize,
    high: usize,
    weight: f32,
}

impl Between {
    fn new(out: u16, step: f32, size: u16) -> Self {
        let last = f32::from(size - 1);
        let place = (f32::from(out) + 0.5).mul_add(step, -0.5).clamp(0.0, last);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the line above made it one of 0..=65534, and the fraction is to be cut off"
        )]
        let low = place as u16;
        Self {
            low: low.into(),
            high: low.saturating_add(1).min(size - 1).into(),
            weight: place - f32::from(low),
        }
    }

    fn mix(&self, low: f32, high: f32) -> f32 {
        self.weight.mul_add(high - low, low)
    }
}
