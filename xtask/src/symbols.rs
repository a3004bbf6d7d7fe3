//! Names of Rust functions as they are in the wasm and in profiles: whose they are, and how a person reads them.

/// The crate in which a function with this mangled name (`_R…`, RFC 2603) is written: for a method that of its `impl`, so
/// `<Vec<ours::T> as serde::Serialize>::serialize` is serde's. `None` for other names, and where only the trait's name
/// says it (provided methods).
pub fn defining_crate(mangled: &str) -> Option<&str> {
    let path = mangled.strip_prefix("_R")?;
    let mut at = 0;
    // each turn of a well-formed name goes forward or, through a back reference, to an earlier place; a malformed one ends too
    for _ in 0..path.len() {
        let rest = path.get(at..)?;
        let (tag, after) = rest.split_at_checked(1)?;
        match tag {
            "C" => {
                let name = skip_disambiguator(after)?;
                let name = name.strip_prefix('u').unwrap_or(name);
                let digits = name.bytes().take_while(u8::is_ascii_digit).count();
                let (length, text) = name.split_at_checked(digits)?;
                return text.strip_prefix('_').unwrap_or(text).get(..length.parse().ok()?);
            }
            "M" | "X" => at = path.len() - skip_disambiguator(after)?.len(),
            "I" => at += 1,
            "N" => at += 2,
            "B" => at = base_62(after)?.0,
            _ => return None,
        }
    }
    None
}

fn skip_disambiguator(text: &str) -> Option<&str> {
    match text.strip_prefix('s') {
        Some(number) => Some(base_62(number)?.1),
        None => Some(text),
    }
}

/// The number at the beginning, and what follows it.
fn base_62(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once('_')?;
    if digits.is_empty() {
        return Some((0, rest));
    }
    let mut value = 0_usize;
    for digit in digits.bytes() {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            b'A'..=b'Z' => digit - b'A' + 36,
            _ => return None,
        };
        value = value.checked_mul(62)?.checked_add(usize::from(digit))?;
    }
    Some((value.checked_add(1)?, rest))
}

/// The crate that a demangled name begins with: for `<A as B>::c` that of the type or, when the type is built in, of the trait.
pub fn leading_crate(name: &str) -> Option<&str> {
    let mut rest = name;
    loop {
        rest = rest.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        let shorter = ["mut ", "const ", "dyn ", "impl ", "for<'_> "].iter().find_map(|word| rest.strip_prefix(word));
        match shorter {
            Some(shorter) => rest = shorter,
            None => break,
        }
    }
    let identifier = identifier_at_start(rest);
    let after = after_disambiguator(rest.get(identifier.len()..)?);
    if !identifier.is_empty() && after.starts_with("::") {
        return Some(identifier);
    }
    trait_of(name).and_then(|the_trait| if the_trait == name { None } else { leading_crate(the_trait) })
}

/// `B` of `<A as B>::c`.
pub fn trait_of(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('<')?;
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, character) in inner.char_indices() {
        match character {
            '<' | '(' | '[' => depth += 1,
            // not that of `->`
            '>' if previous == '-' => {}
            '>' | ')' | ']' => depth = depth.checked_sub(1)?,
            ' ' if depth == 0 => {
                if let Some(the_trait) = inner.get(at..)?.strip_prefix(" as ") {
                    return Some(the_trait);
                }
            }
            _ => {}
        }
        previous = character;
    }
    None
}

/// Without the number that wasm-opt adds where a name is there already: `f[1]` is `f`.
pub fn without_number(name: &str) -> &str {
    let numbered = name.strip_suffix(']').and_then(|rest| rest.rsplit_once('['));
    match numbered {
        Some((first, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => first,
        _ => name,
    }
}

/// Without the hashes that tell apart crates of one name: `core[6313f740bf64476]::str` is `core::str`.
pub fn readable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = without_number(name);
    while let Some(at) = rest.find('[') {
        let (before, bracket) = rest.split_at(at);
        text.push_str(before);
        let after = if before.ends_with(is_identifier) { after_disambiguator(bracket) } else { bracket };
        if after.len() == bracket.len() {
            text.push('[');
            rest = bracket.get(1..).unwrap_or_default();
        } else {
            rest = after;
        }
    }
    text.push_str(rest);
    text
}

/// What all instances of a generic function have in common: `<a::B<T>>::c::<U>` is `<a::B>::c`. The name must be readable.
pub fn without_arguments(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut previous = ' ';
    for character in name.chars() {
        match character {
            // what follows a name or `::` are arguments; otherwise it is `<A>` or `<A as B>`
            '<' if depth > 0 || is_identifier(previous) || previous == ':' => depth += 1,
            '>' if depth > 0 && previous != '-' => depth -= 1,
            _ if depth == 0 => text.push(character),
            _ => {}
        }
        previous = character;
    }
    text.replace("::::", "::").trim_end_matches("::").to_owned()
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn identifier_at_start(text: &str) -> &str {
    text.find(|character| !is_identifier(character)).map_or(text, |end| text.get(..end).unwrap_or_default())
}

/// What follows `[0123456789abcdef]`, or all of it.
fn after_disambiguator(text: &str) -> &str {
    // shorter ones are arrays and slices of something
    const SHORTEST: usize = 8;
    text.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .filter(|(hash, _)| hash.len() >= SHORTEST && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demangled(mangled: &str) -> String {
        rustc_demangle::demangle(mangled).to_string()
    }

    #[test]
    fn the_crate_of_a_mangled_name_is_where_the_function_is_written() {
        for (mangled, expected) in [
            // a function, an instance of a generic one, a closure in it
            ("_RNvNtCs1234_7mycrate3foo3bar", Some("mycrate")),
            ("_RINvNtC7mycrate3foo3bartE", Some("mycrate")),
            ("_RNCNvC7mycrate3foo0", Some("mycrate")),
            // <mycrate::Foo>::bar
            ("_RNvMCs1234_7mycrateNtB2_3Foo3bar", Some("mycrate")),
            // <core::Foo as alloc::Bar>::baz, written in mycrate, which neither the type nor the trait say
            ("_RNvXs_Cs1234_7mycrateNtC4core3FooNtC5alloc3Bar3baz", Some("mycrate")),
            // a method that the trait provides
            ("_RNvYNtC7mycrate3FooNtC4core3Bar3baz", None),
            ("_ZN4core3fmt5write17h0123456789abcdefE", None),
            ("memcpy", None),
            ("_RC99", None),
            ("_RB_", None),
        ] {
            assert_eq!(defining_crate(mangled), expected, "{mangled}: {}", demangled(mangled));
        }
    }

    #[test]
    fn the_crate_of_a_demangled_name_is_that_of_its_type_or_of_the_trait_of_a_built_in_type() {
        for (name, expected) in [
            ("core[6313f740bf64476]::str::trim", Some("core")),
            ("<broker[2c5562a1eaec4fab]::broker::Broker>::flush", Some("broker")),
            ("<&mut dyn core::fmt::Write as core::fmt::Write>::write_str", Some("core")),
            ("<[serde_json[0123456789abcdef]::Value] as alloc::slice::Join<&str>>::join", Some("serde_json")),
            ("<u64 as serde[0123456789abcdef]::Serialize>::serialize::<x::Y>", Some("serde")),
            ("<<a::B as c::D>::E as f::G>::h", Some("a")),
            ("brokerobject_call", None),
            ("<str>::trim", None),
        ] {
            assert_eq!(leading_crate(name), expected, "{name}");
        }
    }

    #[test]
    fn hashes_go_and_arrays_stay() {
        assert_eq!(
            readable("<core[6313f740bf64476]::array::Array<[u8; 16]> as mine[0123456789abcdef]::T>::f"),
            "<core::array::Array<[u8; 16]> as mine::T>::f"
        );
        assert_eq!(readable("f::<[deadbeef0]>"), "f::<[deadbeef0]>");
        assert_eq!(readable("core[6313f740bf64476]::ptr::drop_glue::<[u8; 3]>[12]"), "core::ptr::drop_glue::<[u8; 3]>");
        assert_eq!(readable("f[]"), "f[]");
    }

    #[test]
    fn instances_of_a_generic_function_have_one_name() {
        for (name, expected) in [
            ("<alloc::vec::Vec<u8>>::push", "<alloc::vec::Vec>::push"),
            ("core::ptr::drop_in_place::<alloc::vec::Vec<u8>>", "core::ptr::drop_in_place"),
            ("<a::B<fn(u8) -> u8> as c::D<E>>::f::<G>::{closure#0}", "<a::B as c::D>::f::{closure#0}"),
            ("<a::B>::c", "<a::B>::c"),
        ] {
            assert_eq!(without_arguments(name), expected, "{name}");
        }
    }
}
