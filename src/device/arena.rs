//! Which part of a large piece of memory is whose: size classes are powers of two, and what comes back
//! joins its neighbour. Knows offsets only, no memory.

use std::collections::BTreeSet;

/// The smallest class, in bytes; every part begins at a multiple of it.
const SMALLEST: usize = 512;

/// Who has what of a piece of memory.
#[derive(Debug)]
pub(super) struct Arena {
    /// Offsets of free parts by class; class *n* has `SMALLEST << n` bytes.
    free: Vec<BTreeSet<usize>>,
    byte_size: usize,
    used_byte_size: usize,
}

/// A part that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: usize,
    class: usize,
}

impl Arena {
    /// Of so many bytes, of which less than [`SMALLEST`] at the end are not used.
    pub(super) fn new(byte_size: usize) -> Self {
        let classes = usize::try_from((byte_size / SMALLEST).checked_ilog2().unwrap_or(0));
        let mut arena = Self {
            free: vec![BTreeSet::new(); classes.unwrap_or(0) + 1],
            byte_size: byte_size - byte_size % SMALLEST,
            used_byte_size: 0,
        };
        // The largest powers of two first, so that each begins at a multiple of itself.
        let mut offset = 0;
        for class in (0..arena.free.len()).rev() {
            let part = SMALLEST << class;
            while arena.byte_size - offset >= part {
                arena.free[class].insert(offset);
                offset += part;
            }
        }
        arena
    }

    /// A part of at least so many bytes, from the smallest class that has one.
    pub(super) fn take(&mut self, byte_size: usize) -> Option<Part> {
        let wanted = class_of(byte_size)?;
        let found = (wanted..self.free.len()).find(|&class| !self.free[class].is_empty())?;
        let offset = self.free[found].pop_first()?;
        for class in (wanted..found).rev() {
            self.free[class].insert(offset + (SMALLEST << class));
        }
        self.used_byte_size += SMALLEST << wanted;
        Some(Part {
            offset,
            class: wanted,
        })
    }

    /// Takes a part back.
    pub(super) fn give(&mut self, part: &Part) {
        let (mut offset, mut class) = (part.offset, part.class);
        self.used_byte_size -= SMALLEST << class;
        while class + 1 < self.free.len()
            && self.free[class].remove(&(offset ^ (SMALLEST << class)))
        {
            offset &= !(SMALLEST << class);
            class += 1;
        }
        self.free[class].insert(offset);
    }

    /// What it has to give, taken or not.
    pub(super) fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// What is taken, rounded up to classes.
    pub(super) fn used_byte_size(&self) -> usize {
        self.used_byte_size
    }
}

/// What an arena must have so that a part of `byte_size` bytes can be taken from it.
pub fn class_byte_size(byte_size: usize) -> Option<usize> {
    SMALLEST.checked_shl(u32::try_from(class_of(byte_size)?).ok()?)
}

fn class_of(byte_size: usize) -> Option<usize> {
    let rounded = byte_size.max(SMALLEST).checked_next_power_of_two()?;
    usize::try_from((rounded / SMALLEST).ilog2()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_has_the_smallest_class_that_holds_it() {
        for (byte_size, class) in [(0, 512), (1, 512), (512, 512), (513, 1024), (4000, 4096)] {
            assert_eq!(class_byte_size(byte_size), Some(class));
        }
        assert_eq!(class_byte_size(usize::MAX), None);
    }

    #[test]
    fn a_size_that_is_no_power_of_two_is_used_whole() {
        let mut arena = Arena::new(512 * 7 + 3);
        assert_eq!(arena.byte_size(), 512 * 7);
        assert_eq!((arena.take(4096), arena.take(2048).is_some()), (None, true));
        assert_eq!(
            (arena.take(1024).is_some(), arena.take(1).is_some()),
            (true, true)
        );
        assert_eq!(arena.take(1), None);
        assert_eq!(Arena::new(511).take(1), None);
    }

    proptest! {
        /// Parts never overlap, begin at multiples of their size, and all of it comes back.
        #[test]
        fn parts_are_apart_and_come_back(
            total in 1_usize..64,
            steps in prop::collection::vec((1_usize..5000, any::<prop::sample::Index>()), 1..60),
        ) {
            let mut arena = Arena::new(total * SMALLEST);
            let mut taken: Vec<Part> = Vec::new();
            for (byte_size, back) in steps {
                match arena.take(byte_size) {
                    Some(part) => {
                        let size = SMALLEST << part.class;
                        prop_assert!(size >= byte_size && part.offset % size == 0);
                        prop_assert!(part.offset + size <= arena.byte_size());
                        let is_apart = |other: &Part| {
                            part.offset + size <= other.offset
                                || other.offset + (SMALLEST << other.class) <= part.offset
                        };
                        prop_assert!(taken.iter().all(is_apart));
                        taken.push(part);
                    }
                    None if taken.is_empty() => {}
                    None => arena.give(&taken.swap_remove(back.index(taken.len()))),
                }
                let used: usize = taken.iter().map(|part| SMALLEST << part.class).sum();
                prop_assert_eq!(arena.used_byte_size(), used);
            }
            for part in taken {
                arena.give(&part);
            }
            let fresh = Arena::new(total * SMALLEST);
            prop_assert_eq!(arena.free, fresh.free);
        }
    }
}
