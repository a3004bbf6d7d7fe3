//! Tables of test rows in tab-separated files.

use crate::platform::root;

/// The rows of a file in `tests/`: cells between tabs; empty lines and lines that begin with `#` say nothing.
///
/// # Panics
/// When the file cannot be read or a row has another number of cells.
#[must_use]
pub fn rows<const CELLS: usize>(file: &str) -> Vec<[String; CELLS]> {
    let path = root().join("tests").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            // several tabs in a row align the columns
            let cells: Vec<String> =
                line.split('\t').map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
            cells.try_into().unwrap_or_else(|cells: Vec<String>| {
                panic!("{file}:{}: {} cells instead of {CELLS}: {cells:?}", index + 1, cells.len())
            })
        })
        .collect()
}
