use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

/// What the run makes of one number; `None` if it leaves it. It does the same where the number is
/// one of many.
fn read<T: Float>(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let run = read_run::<T>(text.as_bytes(), 9, &mut bytes);
    let alone = (run.count == 1 && run.end == text.len()).then_some(bytes);
    for (space, before) in [("", 13), (" ", 14)] {
        let many = format!("{}{space}{text}{}", "1,".repeat(before), ",2".repeat(40));
        let mut bytes = Vec::new();
        let run = read_run::<T>(many.as_bytes(), before + 1, &mut bytes);
        let size = bytes.len() / run.count.max(1);
        let its_own = (run.count > before).then(|| bytes.split_off(size * before));
        assert_eq!(its_own, alone, "{many}");
    }
    alone
}

fn agrees(text: &str) {
    let due: f64 = text.parse().unwrap();
    let finite = |bytes: Vec<u8>, is_finite: bool| is_finite.then_some(bytes);
    #[allow(clippy::cast_possible_truncation)]
    let single = due as f32;
    assert_eq!(
        read::<f64>(text),
        finite(due.to_le_bytes().to_vec(), due.is_finite()),
        "{text}"
    );
    assert_eq!(
        read::<f32>(text),
        finite(single.to_le_bytes().to_vec(), single.is_finite()),
        "{text}"
    );
    let half = f16::from_f64(due);
    assert_eq!(
        read::<f16>(text),
        finite(half.to_le_bytes().to_vec(), half.is_finite()),
        "{text}"
    );
    let brain = bf16::from_f64(due);
    assert_eq!(
        read::<bf16>(text),
        finite(brain.to_le_bytes().to_vec(), brain.is_finite()),
        "{text}"
    );
}

#[test]
fn numbers_are_what_the_standard_library_reads() {
    let cases = [
        "0",
        "-0",
        "0.0",
        "7",
        "-1.5",
        "12345678",
        "123456789",
        "0.12345678",
        "1e5",
        "1E-5",
        "-2.5e+3",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "3.4028235e38",
        "3.4028236e38",
        "1e39",
        "1e308",
        "1e309",
        "1e-400",
        "5e-324",
        "1.4e-45",
        "7e-46",
        "1.17549435e-38",
        "9007199254740993",
        "16777217",
        "16777216.999999999999999",
        "0.1000000014901161193847656250",
        "18446744073709551615",
        "99999999999999999999999999",
        "0.00000000000000000000000001",
        "1e99999999999",
        "65519.99",
        "65520",
    ];
    for text in cases {
        agrees(text);
    }
}

#[test]
fn what_is_no_number_is_left() {
    let cases = [
        "", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "01", "-01", "NaN", "Infinity", "x",
        "\"1\"", "[1]", "null", " 1",
    ];
    for text in cases {
        let mut bytes = Vec::new();
        let run = read_run::<f32>(text.as_bytes(), 9, &mut bytes);
        assert_eq!((run, bytes.len()), (Run::default(), 0), "{text}");
    }
}

#[test]
fn a_run_ends_before_the_comma_of_what_it_leaves() {
    for (text, count, end) in [
        ("1,2 ,3", 2, 3),
        ("1, \n\t2,NaN", 2, 6),
        ("1,2]", 2, 3),
        ("1,2,", 2, 3),
        ("1,1e39", 1, 1),
        ("1,2,3,4,5", 4, 7),
    ] {
        let run = read_run::<f32>(text.as_bytes(), 4, &mut Vec::new());
        assert_eq!(run, Run { count, end }, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_digits_are_read_exactly(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        agrees(&text);
    }

    /// Doubles around the middle between two singles, where rounding could go wrong.
    #[test]
    fn singles_are_rounded_as_their_doubles_are(bits in any::<u32>(), off in -40_i64..=40, places in 15_usize..=19) {
        let single = f32::from_bits(bits);
        let above = f32::from_bits(bits.wrapping_add(1));
        prop_assume!(single.is_finite() && above.is_finite());
        let middle = (f64::from(single) + f64::from(above)) / 2.0;
        let near = f64::from_bits(middle.to_bits().wrapping_add_signed(off));
        prop_assume!(near.is_finite());
        agrees(&format!("{near:?}"));
        agrees(&format!("{near:.places$e}"));
        if near.abs() < 1e15 && near.abs() > 1e-5 {
            agrees(&format!("{near:.17}"));
        }
    }
}
