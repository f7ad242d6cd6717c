//! Which of an engine's optimization profiles a batch runs in. Pure.

use crate::tensor::Shape;

/// What an engine was optimised for, one shape of each kind for each of its inputs, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) inputs: Vec<Range>,
}

/// Shapes of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The smallest, in each dimension.
    pub min: Shape,
    /// For this one the kernels were chosen.
    pub opt: Shape,
    /// The largest, in each dimension.
    pub max: Shape,
}

impl Range {
    /// Whether no dimension falls from the smallest over the best to the largest.
    pub(super) fn is_sorted(&self) -> bool {
        let [min, opt, max] = [&self.min, &self.opt, &self.max];
        let rises = |a: &Shape, b: &Shape| {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a <= b)
        };
        rises(min, opt) && rises(opt, max)
    }

    /// Whether the engine takes that shape.
    pub(super) fn takes(&self, shape: &[i64]) -> bool {
        let bounds = self.min.iter().zip(self.max.iter());
        shape.len() == self.min.len()
            && shape
                .iter()
                .zip(bounds)
                .all(|(dim, (min, max))| (min..=max).contains(&dim))
    }

    /// How far a shape is from what it was optimised for, as Triton measures it.
    fn distance(&self, shape: &[i64]) -> u64 {
        let pairs = shape.iter().zip(self.opt.iter());
        pairs.fold(0, |sum: u64, (dim, opt)| {
            sum.saturating_add(dim.abs_diff(*opt))
        })
    }
}

impl Profile {
    fn takes(&self, shapes: &[Shape]) -> bool {
        self.misfit(shapes).is_none()
    }

    fn distance(&self, shapes: &[Shape]) -> u64 {
        let pairs = self.inputs.iter().zip(shapes);
        pairs.fold(0, |sum: u64, (range, shape)| {
            sum.saturating_add(range.distance(shape))
        })
    }

    /// The first input whose shape it does not take.
    pub(super) fn misfit(&self, shapes: &[Shape]) -> Option<usize> {
        let pairs = self.inputs.iter().zip(shapes);
        pairs
            .enumerate()
            .find_map(|(index, (range, shape))| (!range.takes(shape)).then_some(index))
    }

    /// Most rows of a batch: what all inputs take as their first dimension. `None` without inputs.
    pub(super) fn max_rows(&self) -> Option<i64> {
        self.inputs
            .iter()
            .map(|range| range.max.first().copied().unwrap_or(0))
            .min()
    }
}

/// Which of `profiles` runs inputs of those shapes best: the one that takes them and was optimised for
/// what is nearest; of equals, the first. `None` if none takes them.
pub(super) fn choose<'a>(
    profiles: impl IntoIterator<Item = &'a Profile>,
    shapes: &[Shape],
) -> Option<usize> {
    let candidates = profiles.into_iter().enumerate();
    let fitting = candidates.filter(|(_, profile)| profile.takes(shapes));
    fitting
        .min_by_key(|(_, profile)| profile.distance(shapes))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(min: &[i64], opt: &[i64], max: &[i64]) -> Range {
        let [min, opt, max] = [min, opt, max].map(Shape::from);
        Range { min, opt, max }
    }

    /// Profiles of one input with four columns, by rows.
    fn rows(profiles: &[[i64; 3]]) -> Vec<Profile> {
        let one = |&[min, opt, max]: &[i64; 3]| Profile {
            inputs: vec![range(&[min, 4], &[opt, 4], &[max, 4])],
        };
        profiles.iter().map(one).collect()
    }

    #[test]
    fn takes_the_profile_that_was_optimised_for_what_is_nearest() {
        let latency_and_throughput = rows(&[[1, 1, 8], [1, 32, 64]]);
        let table = [
            (1, Some(0)),
            (8, Some(0)),
            // The first no longer takes these.
            (9, Some(1)),
            (64, Some(1)),
            (65, None),
            (0, None),
        ];
        for (batch, expected) in table {
            let shapes = [Shape::new([batch, 4])];
            assert_eq!(
                choose(&latency_and_throughput, &shapes),
                expected,
                "{batch}"
            );
        }
        // Of equals the first.
        assert_eq!(
            choose(&rows(&[[1, 4, 8], [1, 4, 8]]), &[Shape::new([4, 4])]),
            Some(0)
        );
        assert_eq!(
            choose(&rows(&[[1, 2, 8], [1, 6, 8]]), &[Shape::new([5, 4])]),
            Some(1)
        );
        assert_eq!(
            choose(&rows(&[[1, 2, 8], [1, 6, 8]]), &[Shape::new([5, 3])]),
            None
        );
        assert_eq!(choose(&rows(&[[1, 2, 8]]), &[Shape::new([5])]), None);
    }

    #[test]
    fn all_inputs_count() {
        let profile = |second| Profile {
            inputs: vec![range(&[1], &[1], &[9]), range(&[1], &[second], &[9])],
        };
        let profiles = [profile(1), profile(9)];
        let shapes = |a, b| [Shape::new([a]), Shape::new([b])];
        assert_eq!(choose(&profiles, &shapes(5, 2)), Some(0));
        assert_eq!(choose(&profiles, &shapes(5, 8)), Some(1));
        assert_eq!(profiles[0].misfit(&shapes(1, 10)), Some(1));
        assert_eq!(profiles[0].max_rows(), Some(9));
        assert_eq!(Profile::default().max_rows(), None);
    }

    proptest! {
        #[test]
        fn what_is_chosen_takes_the_shape_and_none_is_nearer(
            bounds in prop::collection::vec((0_i64..20, 0_i64..20, 0_i64..20), 0..6),
            batch in 0_i64..20,
        ) {
            let profiles = rows(&bounds.iter().map(|&(a, b, c)| {
                let mut sorted = [a, b, c];
                sorted.sort_unstable();
                sorted
            }).collect::<Vec<_>>());
            let shapes = [Shape::new([batch, 4])];
            match choose(&profiles, &shapes) {
                Some(chosen) => {
                    prop_assert!(profiles[chosen].takes(&shapes));
                    for other in profiles.iter().filter(|other| other.takes(&shapes)) {
                        prop_assert!(profiles[chosen].distance(&shapes) <= other.distance(&shapes));
                    }
                }
                None => prop_assert!(profiles.iter().all(|profile| !profile.takes(&shapes))),
            }
        }
    }
}
