//! How text becomes comparable: the same for what is indexed and for what is asked.

/// White space as Java's `Character.isWhitespace` has it, which AWS names as what separates words: no-break spaces are
/// not white space, four control characters are.
pub(crate) fn is_whitespace(character: char) -> bool {
    match character {
        '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{85}' => false,
        '\u{1c}'..='\u{1f}' => true,
        _ => character.is_whitespace(),
    }
}

/// Lower case, one blank between words, none around them, at most `length` bytes.
///
/// A NUL would end a text early in some of SQLite's functions, so it becomes U+FFFD.
pub(crate) fn normalise(text: &str, length: usize) -> String {
    let mut normalised = String::with_capacity(text.len().min(length));
    let mut is_separated = false;
    for character in text.chars() {
        if is_whitespace(character) {
            is_separated = !normalised.is_empty();
            continue;
        }
        for lower in lower_case(character) {
            let needed = lower.len_utf8() + usize::from(is_separated);
            if normalised.len() + needed > length {
                return normalised;
            }
            if core::mem::take(&mut is_separated) {
                normalised.push(' ');
            }
            normalised.push(lower);
        }
    }
    normalised
}

/// A character as it is compared.
pub(crate) fn lower_case(character: char) -> impl Iterator<Item = char> {
    let character = if character == '\0' { char::REPLACEMENT_CHARACTER } else { character };
    character.to_lowercase()
}

/// The number that a text is, in the form that JSON has, with leading zeros and a plus sign allowed. `NaN`, infinities
/// and hexadecimal are texts.
pub(crate) fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_numeric = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    if !is_numeric {
        return None;
    }
    text.parse().ok().and_then(finite)
}

/// No infinity, and one zero instead of two.
pub(crate) fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(if number == 0.0 { 0.0 } else { number })
}

/// The least text that is greater than every text with this beginning; `None` when there is none.
pub(crate) fn after_prefix(prefix: &str) -> Option<String> {
    let mut bound = prefix.trim_end_matches(char::MAX).to_owned();
    let last = bound.pop()?;
    bound.push((last..=char::MAX).nth(1)?);
    Some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compared_in_lower_case_with_single_blanks() {
        assert_eq!(normalise("  New \t YORK\n", 100), "new york");
        assert_eq!(normalise("a\u{a0}B", 100), "a\u{a0}b");
        assert_eq!(normalise("a\0b", 100), "a\u{fffd}b");
        assert_eq!(normalise("", 100), "");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(normalise("abc def", 4), "abc");
        assert_eq!(normalise("abc def", 5), "abc d");
        assert_eq!(normalise("äöü", 5), "äö");
    }

    #[test]
    fn numbers_are_decimal_and_finite() {
        for (text, expected) in [("75", 75.0), ("-1.5", -1.5), ("007", 7.0), ("1e3", 1000.0), (".5", 0.5), ("-0", 0.0)]
        {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in ["", "-", "NaN", "inf", "infinity", "1e999", "0x10", "1.2.3", "1 2", "e5", "12a"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert!(number("-0").is_some_and(f64::is_sign_positive));
    }

    #[test]
    fn the_bound_after_a_prefix_is_above_all_that_have_it_and_below_the_rest() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(after_prefix("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{10ffff}"), None);
        assert_eq!(after_prefix(""), None);
    }
}
