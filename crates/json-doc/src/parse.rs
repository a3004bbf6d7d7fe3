//! Reading a document from bytes that a stranger sent.

use serde_json::Value;

/// The deepest nesting that [`parse`] admits whatever its bounds say: one below `serde_json`'s own recursion limit, so
/// that a document is always refused by name rather than as bad syntax.
pub const MAXIMUM_DEPTH: usize = 127;

/// What a document may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of text.
    pub maximum_bytes: usize,
    /// Most arrays and objects inside one another; a scalar alone has depth 0. Never more than [`MAXIMUM_DEPTH`].
    pub maximum_depth: usize,
    /// Most values: scalars, arrays and objects, keys not counted. This bounds memory, which bytes alone do not: two
    /// bytes of text (`0,`) become some 70 in memory.
    pub maximum_values: usize,
}

/// Why bytes are not a document within bounds. The fault is always the sender's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than [`Bounds::maximum_bytes`].
    #[error("JSON document of {size} bytes is too large; maximum is {maximum}")]
    TooLarge {
        /// Bytes that came.
        size: usize,
        /// Bytes allowed.
        maximum: usize,
    },
    /// Not UTF-8 (RFC 8259 section 8.1).
    #[error("JSON document is not UTF-8")]
    NotUtf8,
    /// Nested deeper than [`Bounds::maximum_depth`].
    #[error("JSON contains too many levels of nesting; maximum is {maximum}")]
    TooDeep {
        /// Levels allowed.
        maximum: usize,
    },
    /// More values than [`Bounds::maximum_values`].
    #[error("JSON contains too many values; maximum is {maximum}")]
    TooManyValues {
        /// Values allowed.
        maximum: usize,
    },
    /// Not JSON (RFC 8259), or a number beyond a double's range.
    #[error("Invalid JSON at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 when the text ended too early.
        column: usize,
    },
}

/// Reads one JSON text. Of duplicate keys the last wins, in the place of the first.
///
/// The bounds are checked on the text before anything is allocated for it, in one pass without recursion.
///
/// # Errors
/// [`ParseError`], the first that applies in the order of its variants.
pub fn parse(bytes: &[u8], bounds: &Bounds) -> Result<Value, ParseError> {
    if bytes.len() > bounds.maximum_bytes {
        return Err(ParseError::TooLarge { size: bytes.len(), maximum: bounds.maximum_bytes });
    }
    let text = core::str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
    check_bounds(bytes, bounds)?;
    serde_json::from_str(text).map_err(|error| ParseError::Syntax { line: error.line(), column: error.column() })
}

/// Counts nesting and values of what would be a JSON text. For text that is no JSON the counts mean nothing, but then
/// either refusal is right.
fn check_bounds(bytes: &[u8], bounds: &Bounds) -> Result<(), ParseError> {
    let maximum_depth = bounds.maximum_depth.min(MAXIMUM_DEPTH);
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_string, mut escaped, mut just_opened) = (false, false, false);
    let mut too_many = false;
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'{' | b'[' => {
                depth += 1;
                if depth > maximum_depth {
                    return Err(ParseError::TooDeep { maximum: maximum_depth });
                }
                // Its first element; taken back below when there is none.
                values += 1;
                just_opened = true;
                continue;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if just_opened {
                    values -= 1;
                }
            }
            b',' => values += 1,
            b'"' => in_string = true,
            _ => {}
        }
        just_opened = false;
        too_many |= values > bounds.maximum_values;
    }
    if too_many || values > bounds.maximum_values {
        return Err(ParseError::TooManyValues { maximum: bounds.maximum_values });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WIDE: Bounds = Bounds { maximum_bytes: 1 << 20, maximum_depth: 127, maximum_values: 1 << 20 };

    #[test]
    fn bytes_are_read_or_refused_by_the_name_of_the_bound() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Result<Value, ParseError>) {
            let bounds = Bounds { maximum_bytes: 64, maximum_depth: 3, maximum_values: 8 };
            assert_eq!(parse(bytes, &bounds), expected, "{}", String::from_utf8_lossy(bytes));
        }
        check(b" {\"a\":[1]} ", Ok(json!({"a": [1]})));
        check(b"null", Ok(Value::Null));
        check(&[b' '; 65], Err(ParseError::TooLarge { size: 65, maximum: 64 }));
        check(b"\"\xff\"", Err(ParseError::NotUtf8));
        check(b"\"\xed\xa0\x80\"", Err(ParseError::NotUtf8));
        check(b"[[[1]]]", Ok(json!([[[1]]])));
        check(b"[[[[", Err(ParseError::TooDeep { maximum: 3 }));
        check(b"{\"a\":{\"b\":{\"c\":{}}}}", Err(ParseError::TooDeep { maximum: 3 }));
        check(br#"["[[[[[[\"[[["]"#, Ok(json!(["[[[[[[\"[[["])));
        check(b"[1,2,3,4,5,6,7]", Ok(json!([1, 2, 3, 4, 5, 6, 7])));
        check(b"[1,2,3,4,5,6,7,8]", Err(ParseError::TooManyValues { maximum: 8 }));
        check(b"[[],[ ],{},[],[],[],[]]", Ok(json!([[], [], {}, [], [], [], []])));
        check(br#"["a,b,c,d,e,f,g,h,i"]"#, Ok(json!(["a,b,c,d,e,f,g,h,i"])));
        check(b"", Err(ParseError::Syntax { line: 1, column: 0 }));
        check(b"{\"a\":1,}", Err(ParseError::Syntax { line: 1, column: 8 }));
        check(b"{} {}", Err(ParseError::Syntax { line: 1, column: 4 }));
        check(b"]]]]]]]]", Err(ParseError::Syntax { line: 1, column: 1 }));
        check(b"NaN", Err(ParseError::Syntax { line: 1, column: 1 }));
        check(b"\xef\xbb\xbf{}", Err(ParseError::Syntax { line: 1, column: 1 }));
        check(b"1e999", Err(ParseError::Syntax { line: 1, column: 5 }));
        check(br#""\ud800""#, Err(ParseError::Syntax { line: 1, column: 8 }));
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        assert_eq!(parse(br#"{"a":1,"b":2,"a":{"c":3}}"#, &WIDE), Ok(json!({"a": {"c": 3}, "b": 2})));
    }

    #[test]
    fn a_hundred_thousand_brackets_are_refused_without_recursion() {
        for bracket in ["[", "{\"a\":"] {
            let text = bracket.repeat(100_000);
            assert_eq!(parse(text.as_bytes(), &WIDE), Err(ParseError::TooDeep { maximum: 127 }));
        }
    }

    #[test]
    fn the_deepest_document_allowed_is_read_and_one_deeper_is_refused_by_name() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let unbounded = Bounds { maximum_depth: usize::MAX, ..WIDE };
        assert!(parse(nested(MAXIMUM_DEPTH).as_bytes(), &unbounded).is_ok());
        assert_eq!(parse(nested(128).as_bytes(), &unbounded), Err(ParseError::TooDeep { maximum: 127 }));
    }

    #[test]
    fn numbers_keep_their_form() {
        let text = r#"[0,-1,18446744073709551615,-9223372036854775808,1.0,0.1,-0.0,-1.2553906903699001]"#;
        assert_eq!(parse(text.as_bytes(), &WIDE).unwrap().to_string(), text);
    }

    #[test]
    fn order_of_keys_is_kept() {
        let text = r#"{"z":1,"a":2,"m":{"y":3,"b":4}}"#;
        assert_eq!(parse(text.as_bytes(), &WIDE).unwrap().to_string(), text);
    }
}
