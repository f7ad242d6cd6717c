//! Random numbers from a seed: the same seed gives the same load. Not for secrets.

use std::f64::consts::TAU;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 (never quite) and 1, evenly.
    pub(super) fn unit(&mut self) -> f64 {
        let steps = (self.bits() >> 11) + 1;
        steps as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed, with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// Normally distributed, with mean 0 and deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// Gamma distributed, with mean `shape` (Marsaglia and Tsang).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = self.unit().powf(shape.recip());
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = (9.0 * d).sqrt().recip();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 200_000;

    /// Mean and coefficient of variation.
    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let drawn: Vec<f64> = (0..COUNT).map(|_| draw()).collect();
        let mean = drawn.iter().sum::<f64>() / COUNT as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / COUNT as f64;
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn distributions_have_the_moments_that_they_should() {
        let mut random = Random::new(1);
        let (mean, variation) = moments(|| random.unit());
        assert!((mean - 0.5).abs() < 0.01 && (variation - 0.577).abs() < 0.01);
        let (mean, variation) = moments(|| random.exponential());
        assert!((mean - 1.0).abs() < 0.02 && (variation - 1.0).abs() < 0.02);
        for shape in [0.25, 1.0, 4.0_f64] {
            let (mean, variation) = moments(|| random.gamma(shape));
            assert!((mean / shape - 1.0).abs() < 0.03, "{shape}: {mean}");
            let due = shape.sqrt().recip();
            assert!((variation / due - 1.0).abs() < 0.05, "{shape}: {variation}");
        }
    }
}
