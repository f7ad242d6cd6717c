//! Patterns of model names: `*` is any run of characters, `?` any one character, everything else
//! itself.

use serde::Deserialize;

/// A pattern of names.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub(super) struct Pattern(String);

impl Pattern {
    /// The pattern that every name matches.
    pub(super) fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether every name matches.
    pub(super) fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether `name` matches, all of it. In time bounded by the product of the two lengths.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.as_str(), name);
        // Where to go on if what was matched after the last `*` was too little for it.
        let mut retry: Option<(&str, &str)> = None;
        loop {
            let mut next = pattern.chars();
            match next.next() {
                Some('*') => {
                    pattern = next.as_str();
                    retry = Some((pattern, rest));
                    continue;
                }
                None if rest.is_empty() => return true,
                Some(wanted) => {
                    let mut have = rest.chars();
                    let found = have.next();
                    if found.is_some_and(|found| wanted == '?' || wanted == found) {
                        (pattern, rest) = (next.as_str(), have.as_str());
                        continue;
                    }
                }
                None => {}
            }
            let Some((after_star, from)) = retry else {
                return false;
            };
            let mut from = from.chars();
            if from.next().is_none() {
                return false;
            }
            (pattern, rest) = (after_star, from.as_str());
            retry = Some((after_star, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("*", "resnet", true),
            ("", "", true),
            ("", "a", false),
            ("resnet", "resnet", true),
            ("resnet", "resnet50", false),
            ("resnet*", "resnet50", true),
            ("*net*", "resnet50", true),
            ("*50", "resnet5050", true),
            ("r?snet", "resnet", true),
            ("r?snet", "rsnet", false),
            ("?", "ö", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("team.*", "team-a", false),
        ] {
            let pattern = Pattern(pattern.to_owned());
            assert_eq!(pattern.matches(name), matches, "{pattern:?} {name}");
        }
    }

    /// The definition itself, too slow to be used.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                slow(rest, name) || (!name.is_empty() && slow(pattern, &name[1..]))
            }
            (Some((wanted, rest)), Some((found, left))) => {
                (*wanted == '?' || wanted == found) && slow(rest, left)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_as_the_definition_says(pattern in "[ab*?]{0,7}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = slow(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Pattern(pattern).matches(&name), expected);
        }
    }
}
