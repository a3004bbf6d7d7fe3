//! The input file, taken apart into lines as its bytes come, and each line into parameters.

use crate::evaluate::{EvaluationError, check_parameters};
use crate::limits::Limits;
use json_doc::{Bounds, ParseError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest line, in bytes without its end (AWS General Reference, "AWS IoT Core endpoints and quotas": "maximum
/// line length in Bulk Registration").
pub const MAXIMUM_LINE_BYTES: usize = 256 * 1_024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The beginning of a line in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Bytes before it.
    pub offset: u64,
    /// Its number, the first being 1.
    pub line: u64,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { offset: 0, line: 1 }
    }
}

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it begins.
    pub start: Cursor,
    /// Where the next one begins: what to go on with once this one is done.
    pub next: Cursor,
    /// Its bytes without its end.
    pub content: Result<Vec<u8>, LineError>,
}

/// Why a line is not the parameters of a device. Fit for the report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// [`MAXIMUM_LINE_BYTES`].
    #[error("The line has more than {MAXIMUM_LINE_BYTES} bytes")]
    TooLong,
    /// Not JSON within bounds.
    #[error("The line can't be read: {0}")]
    Json(#[from] ParseError),
    /// JSON, but no object.
    #[error("The line is not a JSON object")]
    NotAnObject,
    /// A parameter that is no string.
    #[error("The value of parameter {name} is not a string")]
    NotAString {
        /// The beginning of its name.
        name: String,
    },
    /// Too many parameters or too long ones.
    #[error("{0}")]
    Parameters(#[from] EvaluationError),
}

/// Takes lines from chunks of a file, wherever those are cut. Lines end with LF or CR LF, the last with the file;
/// blank ones have a number and are left out.
///
/// It holds one line at most, and of one that is too long nothing.
#[derive(Clone, Debug, Default)]
pub struct LineSplitter {
    start: Cursor,
    buffer: Vec<u8>,
    /// Bytes of the line so far, also of those that are not in the buffer.
    length: u64,
}

impl LineSplitter {
    /// Begins at a line: the first chunk is to begin with the byte at its offset.
    #[must_use]
    pub fn at(start: Cursor) -> Self {
        Self { start, ..Self::default() }
    }

    /// Takes the next chunk, and gives the lines that end in it.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut parts = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.take(part);
            if parts.peek().is_some() {
                self.length = self.length.saturating_add(1);
                lines.extend(self.end());
            }
        }
        lines
    }

    /// The file has ended: the last line, if it has no end of its own.
    pub fn finish(mut self) -> Option<Line> {
        self.end()
    }

    /// Where the line begins that has not ended: what to go on with once all lines that were given are done.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.start
    }

    fn take(&mut self, part: &[u8]) {
        self.length = self.length.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        // Four bytes may be cut off again, the byte order mark and the CR of the end; one more shows that it is too long.
        let room = (MAXIMUM_LINE_BYTES + BYTE_ORDER_MARK.len() + 2).saturating_sub(self.buffer.len());
        self.buffer.extend(part.iter().take(room));
    }

    fn end(&mut self) -> Option<Line> {
        let (start, length) = (self.start, std::mem::take(&mut self.length));
        self.start = Cursor { offset: start.offset.saturating_add(length), line: start.line.saturating_add(1) };
        let mut content = std::mem::take(&mut self.buffer);
        if content.last() == Some(&b'\r') {
            content.pop();
        }
        // Tools on Windows begin files with it; it is no part of the JSON (RFC 8259, section 8.1).
        if start.offset == 0 && content.starts_with(BYTE_ORDER_MARK) {
            content.drain(..BYTE_ORDER_MARK.len());
        }
        let is_too_long = content.len() > MAXIMUM_LINE_BYTES;
        if !is_too_long && content.trim_ascii().is_empty() {
            return None;
        }
        let content = if is_too_long { Err(LineError::TooLong) } else { Ok(content) };
        Some(Line { start, next: self.start, content })
    }
}

/// Reads a line to parameters: a JSON object with strings.
///
/// # Errors
/// [`LineError`], for the report.
pub fn parse_line(line: &Line, limits: &Limits) -> Result<BTreeMap<String, String>, LineError> {
    let bytes = line.content.as_ref().map_err(Clone::clone)?;
    // Whatever is deeper than an object of strings is refused anyhow, a little of it with a better reason.
    let bounds = Bounds { maximum_bytes: MAXIMUM_LINE_BYTES, maximum_depth: 8, maximum_values: 16_384 };
    let Value::Object(members) = json_doc::parse(bytes, &bounds)? else { return Err(LineError::NotAnObject) };
    let mut parameters = BTreeMap::new();
    for (name, value) in members {
        let Value::String(value) = value else {
            return Err(LineError::NotAString { name: name.chars().take(64).collect() });
        };
        parameters.insert(name, value);
    }
    check_parameters(&parameters, limits)?;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file cut into chunks of this size, and its lines with their numbers and offsets.
    fn split(file: &[u8], size: usize) -> Vec<(u64, u64, Result<String, LineError>)> {
        let mut splitter = LineSplitter::default();
        let mut lines: Vec<Line> = file.chunks(size).flat_map(|chunk| splitter.push(chunk)).collect();
        lines.extend(splitter.finish());
        lines
            .into_iter()
            .map(|line| {
                let content = line.content.map(|content| String::from_utf8_lossy(&content).into_owned());
                (line.start.line, line.start.offset, content)
            })
            .collect()
    }

    #[test]
    fn lines_are_the_same_wherever_chunks_are_cut() {
        let text = |text: &str| Ok(text.to_owned());
        for (file, expected) in [
            ("", vec![]),
            ("\n\r\n \t\n", vec![]),
            ("a", vec![(1, 0, text("a"))]),
            ("a\n", vec![(1, 0, text("a"))]),
            ("a\nb", vec![(1, 0, text("a")), (2, 2, text("b"))]),
            ("a\r\nb\r\n", vec![(1, 0, text("a")), (2, 3, text("b"))]),
            ("\n\na\n \nb\n\n", vec![(3, 2, text("a")), (5, 6, text("b"))]),
            ("\u{feff}a\n\u{feff}b", vec![(1, 0, text("a")), (2, 5, text("\u{feff}b"))]),
            ("\u{feff}", vec![]),
            ("a\rb\n", vec![(1, 0, text("a\rb"))]),
            (" a \n", vec![(1, 0, text(" a "))]),
        ] {
            for size in 1..=file.len().max(1) {
                assert_eq!(split(file.as_bytes(), size), expected, "{file:?} {size}");
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_no_loss_for_the_next() {
        let longest = "x".repeat(MAXIMUM_LINE_BYTES);
        for end in ["\n", "\r\n"] {
            let file = format!("{longest}{end}{longest}x{end}{longest}xxxxx{end}y");
            for size in [1_000, MAXIMUM_LINE_BYTES, 10 * MAXIMUM_LINE_BYTES] {
                let lines = split(file.as_bytes(), size);
                let first = u64::try_from(MAXIMUM_LINE_BYTES + end.len()).unwrap();
                assert_eq!(lines.len(), 4);
                assert_eq!(lines[0].2.as_ref().map(String::len), Ok(MAXIMUM_LINE_BYTES));
                assert_eq!(lines[1], (2, first, Err(LineError::TooLong)));
                assert_eq!(lines[2], (3, 2 * first + 1, Err(LineError::TooLong)));
                assert_eq!(lines[3], (4, 3 * first + 6, Ok("y".to_owned())));
            }
        }
        for (marked, is_good) in [(&longest, true), (&format!("{longest}x"), false)] {
            for end in ["", "\n", "\r\n"] {
                let lines = split(format!("\u{feff}{marked}{end}").as_bytes(), 4_096);
                assert_eq!(lines[0].2, if is_good { Ok(longest.clone()) } else { Err(LineError::TooLong) });
            }
        }
        // Blanks are a line like any other once they are too many.
        assert_eq!(split(" ".repeat(MAXIMUM_LINE_BYTES + 1).as_bytes(), 4_096), [(1, 0, Err(LineError::TooLong))]);
    }

    #[test]
    fn work_goes_on_at_any_line_with_none_lost_or_done_twice() {
        let file = b"\xef\xbb\xbfone\n\ntwo\r\n  \nthree\nfour";
        let all = split(file, 5);
        let mut splitter = LineSplitter::default();
        let mut lines = splitter.push(file);
        lines.extend(splitter.finish());
        for (index, line) in lines.iter().enumerate() {
            let mut rest = LineSplitter::at(line.next);
            let mut again = rest.push(&file[usize::try_from(line.next.offset).unwrap()..]);
            again.extend(rest.finish());
            assert_eq!(again, lines[index + 1..], "{line:?}");
        }
        assert_eq!(all.len(), 4);
        assert_eq!(lines[3].next, Cursor { offset: file.len() as u64, line: 7 });
    }

    #[test]
    fn a_splitter_says_where_its_unfinished_line_begins() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.cursor(), Cursor { offset: 0, line: 1 });
        assert_eq!(splitter.push(b"a\nb\n\nunfin").len(), 2);
        assert_eq!(splitter.cursor(), Cursor { offset: 5, line: 4 });
    }

    fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, LineError> {
        let line = Line { start: Cursor::default(), next: Cursor::default(), content: Ok(text.to_vec()) };
        parse_line(&line, &Limits::STANDARD)
    }

    /// "Bulk registration".
    #[test]
    fn a_line_is_an_object_of_strings() {
        let line = br#"{"ThingName": "foo", "SerialNumber": "123", "CSR": "csr1"}"#;
        let expected = [("ThingName", "foo"), ("SerialNumber", "123"), ("CSR", "csr1")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(line), Ok(BTreeMap::from(expected)));
        assert_eq!(parse(b"{}"), Ok(BTreeMap::new()));
        for (text, expected) in [
            (r#"["a"]"#, "The line is not a JSON object"),
            ("1", "The line is not a JSON object"),
            (r#"{"a":1}"#, "The value of parameter a is not a string"),
            (r#"{"a":null}"#, "The value of parameter a is not a string"),
            (r#"{"a":{"b":"c"}}"#, "The value of parameter a is not a string"),
            ("{", "The line can't be read: Invalid JSON at line 1 column 1"),
            (r#"{"a":"b"} {"a":"c"}"#, "The line can't be read: Invalid JSON at line 1 column 11"),
            (&"[".repeat(9), "The line can't be read: JSON contains too many levels of nesting; maximum is 8"),
            (&format!(r#"{{"a":"{}"}}"#, "x".repeat(4_097)), "Parameter a has more than 4096 characters"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err(), LineError::Json(ParseError::NotUtf8));
        let too_long = Line { start: Cursor::default(), next: Cursor::default(), content: Err(LineError::TooLong) };
        assert_eq!(parse_line(&too_long, &Limits::STANDARD), Err(LineError::TooLong));
    }
}
