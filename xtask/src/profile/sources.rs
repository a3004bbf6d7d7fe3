//! JavaScript functions that have no name, in a bundle whose lines are long: what is written in front of them names them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What JavaScript is called among the parts of a profile.
pub const PART: &str = "JavaScript";

/// The Worker's sources, by the names that V8 has for them.
#[derive(Default)]
pub struct Sources {
    lines: HashMap<String, Vec<String>>,
}

impl Sources {
    /// A file that cannot be read is one whose functions stay nameless.
    pub fn load(name: &str, path: &Path) -> Self {
        let mut sources = Self::default();
        if let Ok(text) = fs::read_to_string(path) {
            sources.insert(name, &text);
        }
        sources
    }

    fn insert(&mut self, name: &str, text: &str) {
        self.lines.insert(name.to_owned(), text.split('\n').map(str::to_owned).collect());
    }

    /// A name for a function that begins at this line and column, both counted from 0.
    pub fn function(&self, name: &str, file: &str, line: Option<usize>, column: Option<usize>) -> String {
        if !name.is_empty() {
            return name.to_owned();
        }
        let (line, column) = (line.unwrap_or_default(), column.unwrap_or_default());
        let place = format!("{file}:{}:{}", line + 1, column + 1);
        match self.lines.get(file).and_then(|lines| lines.get(line)).and_then(|text| assigned_to(text, column)) {
            Some(owner) => format!("{owner} ({place})"),
            None => format!("(nameless at {place})"),
        }
    }
}

/// `schedule` where the column is that of the function in `schedule:function(` or `a.schedule=(b)=>`, or inside of `schedule(function(`.
fn assigned_to(line: &str, column: usize) -> Option<&str> {
    let before = line.get(..column)?;
    let before = before.trim_end_matches(|character: char| !(character.is_alphanumeric() || "_$".contains(character)));
    let before = before.strip_suffix("function").unwrap_or(before).trim_end_matches(['=', ':', '(', ' ', '{', ',']);
    let start = before.rfind(|character: char| !(character.is_alphanumeric() || "_$#".contains(character)));
    let name = before.get(start.map_or(0, |at| at + 1)..)?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nameless_function_has_the_name_of_what_it_is_given_to() {
        let mut sources = Sources::default();
        let line = "let a={__wbg_send_1:function(b){return b}};x.schedule=(c)=>c;wrap(function(d){})";
        sources.insert("index.js", &format!("first\n{line}"));
        for (function, owner) in [("(b)", "__wbg_send_1"), ("(c)", "schedule"), ("(d)", "wrap")] {
            let column = line.find(function).unwrap();
            let expected = format!("{owner} (index.js:2:{})", column + 1);
            assert_eq!(sources.function("", "index.js", Some(1), Some(column)), expected);
        }
        assert_eq!(sources.function("named", "index.js", Some(1), Some(3)), "named");
        assert_eq!(sources.function("", "other.js", Some(0), Some(3)), "(nameless at other.js:1:4)");
    }
}
