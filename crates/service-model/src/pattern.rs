//! The patterns of the models, which are Java's, in the notation of `regex-lite`.

use regex_lite::{Regex, RegexBuilder};

/// What Java's classes are here. Letters, spaces and digits beyond ASCII are not told apart: any of them will do.
const CLASSES: &[(&str, &str)] = &[
    ("\\p{Graph}", "!-~"),
    ("\\p{C}", "\\x00-\\x1f\\x7f-\\x9f"),
    ("\\p{Cntrl}", "\\x00-\\x1f\\x7f"),
    ("\\p{Upper}", "A-Z"),
    ("\\p{Digit}", "0-9"),
    ("\\p{L}", "A-Za-z\\u{aa}-\\u{10ffff}"),
    ("\\p{Z}", " \\u{a0}"),
    ("\\p{N}", "0-9"),
];

/// Compiled programs larger than this are not worth it: lengths are checked besides.
const SIZE_LIMIT: usize = 1 << 20;

/// `None`: it has something that can't be had here.
pub fn compile(pattern: &str) -> Option<Regex> {
    let mut translated = pattern.to_owned();
    for (java, ours) in CLASSES {
        translated = translated.replace(java, ours);
    }
    RegexBuilder::new(&format!("^(?:{translated})$")).size_limit(SIZE_LIMIT).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IOT, IOT_DATA, IOT_JOBS_DATA, Kind};

    #[test]
    fn all_patterns_but_those_that_look_ahead_are_understood() {
        let mut beyond = Vec::new();
        for model in [&IOT, &IOT_DATA, &IOT_JOBS_DATA] {
            for (name, shape) in model.shapes() {
                if let Kind::String(pattern) = &shape.kind
                    && compile(pattern).is_none()
                {
                    beyond.push((name, *pattern));
                }
            }
        }
        assert_eq!(beyond, []);
    }

    #[test]
    fn javas_classes_are_what_they_are_in_java() {
        let matches = |pattern: &str, text: &str| compile(pattern).unwrap().is_match(text);
        assert!(matches("[\\p{Graph}\\x20]*", "a lamp: 100%!"));
        assert!(!matches("[\\p{Graph}\\x20]*", "a\tlamp") && !matches("[\\p{Graph}\\x20]*", "ä"));
        assert!(matches("[^\\p{C}]+", "Straße") && !matches("[^\\p{C}]+", "a\u{7}"));
        assert!(matches("^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$", "Ort 1/Straße") && !matches("[\\p{L}]*", "a!"));
    }

    #[test]
    fn a_pattern_is_of_the_whole_text() {
        let regex = compile("a|b+").unwrap();
        assert!(regex.is_match("a") && regex.is_match("bb") && !regex.is_match("ab") && !regex.is_match("a\n"));
    }
}
