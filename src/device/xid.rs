//! Which of the errors that the driver gives a number (Xid) mean that a GPU is of no more use to
//! anybody: a pure table.
//!
//! Source: NVIDIA's Xid catalog (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, as of
//! November 2026), the column "Resolution Bucket (Immediate Action)". Here are those whose action is to
//! reset the GPU or to start its machine again, and 48, whose text asks for that. Left out are those of
//! NVLink (74, 136, 144 to 150, 155), over which this server sends nothing but copies that fail by
//! themselves; 154, which only sums up another; and all that concern one program (13, 31, 43, 45, 94,
//! ...): if it is this one, its own calls say so, and if it is another, that is no reason to stop.

/// What the driver means by that number, if no GPU is of use after it.
pub(super) fn fatal(xid: u64) -> Option<&'static str> {
    Some(match xid {
        46 => "the GPU stopped processing",
        48 => "an uncorrectable error of its memory",
        62 => "its internal controller halted",
        64 => "its memory could not be remapped",
        79 => "it has fallen off the bus",
        95 => "an uncontained error of its memory",
        109 => "it timed out when it changed contexts",
        110 => "a security fault",
        119 => "its system processor does not answer",
        120 => "an error of its system processor",
        140 => "an unrecovered error of its memory",
        143 => "it could not be initialised",
        151 => "its keys could not be changed",
        156 => "a part of it was retired",
        158 => "it timed out for good",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_a_reset_is_fatal_and_what_concerns_one_program_is_not() {
        let fatal: Vec<u64> = (0..1000).filter(|&xid| fatal(xid).is_some()).collect();
        let expected = [
            46, 48, 62, 64, 79, 95, 109, 110, 119, 120, 140, 143, 151, 156, 158,
        ];
        assert_eq!(fatal, expected);
    }
}
