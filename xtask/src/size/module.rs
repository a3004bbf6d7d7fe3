//! The parts of a wasm module that belong to a function: its body, its name, and the data that it refers to.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use wasmparser::{DataKind, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// A function that the module defines.
#[derive(Debug, Default)]
pub struct Function {
    /// As the name section has it; empty when it has none.
    pub name: String,
    /// Where its body is in the file, with the number in front that says how long it is.
    pub body: Range<usize>,
    /// Where its name is, likewise.
    pub name_at: Range<usize>,
}

/// Where what is in the file.
#[derive(Debug, Default)]
pub struct Module {
    pub functions: Vec<Function>,
    pub data: Vec<DataRange>,
}

/// Bytes of data between two places that something refers to.
#[derive(Debug, PartialEq, Eq)]
pub struct DataRange {
    pub at: Range<usize>,
    /// Indices of the functions that refer to its beginning, or to what refers to it; none when that is not known.
    pub users: Vec<usize>,
}

/// A segment: where it is in memory and in the file.
struct Segment {
    address: usize,
    file: usize,
    bytes: Vec<u8>,
}

impl Segment {
    fn addresses(&self) -> Range<usize> {
        self.address..self.address + self.bytes.len()
    }
}

impl Module {
    /// # Errors
    /// When it is no wasm module.
    pub fn read(wasm: &[u8]) -> Result<Self> {
        let mut module = Self::default();
        let mut imported = 0;
        let mut segments = Vec::new();
        let mut references: Vec<(usize, usize)> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let index = module.functions.len();
                    let range = body.range();
                    let start = range.start - length_of_number(range.len());
                    module.functions.push(Function { body: start..range.end, ..Function::default() });
                    for operator in body.get_operators_reader()? {
                        references.extend(addresses(&operator?).map(|address| (address, index)));
                    }
                }
                Payload::DataSection(data) => {
                    for segment in data {
                        let segment = segment?;
                        let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
                        if let Some(Ok(Operator::I32Const { value })) =
                            offset_expr.get_operators_reader().into_iter().next()
                        {
                            segments.push(Segment {
                                address: usize::try_from(value.cast_unsigned())?,
                                file: segment.range.end - segment.data.len(),
                                bytes: segment.data.to_vec(),
                            });
                        }
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        for subsection in names {
                            if let Name::Function(names) = subsection? {
                                let end = names.range().end;
                                module.take_names(names, imported, end)?;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        module.data = segments.iter().flat_map(|segment| divide(segment, &segments, &references)).collect();
        Ok(module)
    }

    fn take_names(&mut self, names: wasmparser::NameMap<'_>, imported: usize, end: usize) -> Result<()> {
        let mut entries = Vec::new();
        for entry in names.into_iter_with_offsets() {
            let (at, naming) = entry?;
            entries.push((at, usize::try_from(naming.index)?, naming.name));
        }
        let ends: Vec<usize> = entries.iter().skip(1).map(|&(at, ..)| at).chain([end]).collect();
        for ((at, index, name), end) in entries.into_iter().zip(ends) {
            let Some(defined) = index.checked_sub(imported) else { continue };
            let function = self.functions.get_mut(defined).context("a name of a function that is not there")?;
            name.clone_into(&mut function.name);
            function.name_at = at..end;
        }
        Ok(())
    }
}

/// The addresses that an instruction may mean: its constant, or the fixed part of the place that it reads or writes.
fn addresses(operator: &Operator<'_>) -> impl Iterator<Item = usize> {
    let memory = match operator {
        Operator::I32Load { memarg }
        | Operator::I64Load { memarg }
        | Operator::F32Load { memarg }
        | Operator::F64Load { memarg }
        | Operator::I32Load8S { memarg }
        | Operator::I32Load8U { memarg }
        | Operator::I32Load16S { memarg }
        | Operator::I32Load16U { memarg }
        | Operator::I64Load8U { memarg }
        | Operator::I64Load16U { memarg }
        | Operator::I64Load32U { memarg }
        | Operator::I32Store { memarg }
        | Operator::I64Store { memarg }
        | Operator::I32Store8 { memarg } => usize::try_from(memarg.offset).ok(),
        _ => None,
    };
    let constant = match operator {
        Operator::I32Const { value } => usize::try_from(value.cast_unsigned()).ok(),
        _ => None,
    };
    memory.into_iter().chain(constant)
}

/// Divides a segment where something refers into it. What only other data refers to belongs to who uses that data.
fn divide(segment: &Segment, segments: &[Segment], references: &[(usize, usize)]) -> Vec<DataRange> {
    let all = || segments.iter().flat_map(|other| words(other).map(|(at, word)| (word, at)));
    let mut by_code: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(address, function) in references.iter().filter(|(address, _)| segment.addresses().contains(address)) {
        let users = by_code.entry(address).or_default();
        if users.last() != Some(&function) {
            users.push(function);
        }
    }
    let mut from_data: HashMap<usize, usize> = HashMap::new();
    for (address, referrer) in all().filter(|(address, _)| segment.addresses().contains(address)) {
        from_data.entry(address).or_insert(referrer);
    }
    let mut starts: Vec<usize> = by_code.keys().chain(from_data.keys()).copied().chain([segment.address]).collect();
    starts.sort_unstable();
    starts.dedup();
    let users_of = |mut address: usize| {
        // a table of tables of strings is as deep as it gets
        for _ in 0..4 {
            if let Some(users) = by_code.get(&address) {
                return users.clone();
            }
            // the beginning of what contains the place that refers to it
            let Some(&referrer) = from_data.get(&address) else { break };
            match by_code.range(..=referrer).next_back() {
                Some((_, users)) if segment.addresses().contains(&referrer) => return users.clone(),
                _ => address = referrer,
            }
        }
        Vec::new()
    };
    let ends = starts.iter().skip(1).copied().chain([segment.addresses().end]);
    let in_file = |address: usize| segment.file + (address - segment.address);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| DataRange { at: in_file(start)..in_file(end), users: users_of(start) })
        .collect()
}

/// The aligned words of a segment, with their addresses.
fn words(segment: &Segment) -> impl Iterator<Item = (usize, usize)> {
    const WORD: usize = 4;
    let skipped = segment.address.next_multiple_of(WORD) - segment.address;
    let aligned = segment.bytes.get(skipped..).unwrap_or_default();
    aligned.as_chunks::<WORD>().0.iter().enumerate().filter_map(move |(index, word)| {
        Some((segment.address + skipped + index * WORD, usize::try_from(u32::from_le_bytes(*word)).ok()?))
    })
}

/// How many bytes a length takes in front of what it is the length of.
fn length_of_number(value: usize) -> usize {
    let bits = usize::try_from(usize::BITS - value.leading_zeros()).unwrap_or(1).max(1);
    bits.div_ceil(7)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A module with one import, two functions that are named, and eight bytes of data, the first four of which point at the
    /// others: the second function refers to them.
    pub fn wasm() -> Vec<u8> {
        fn section(id: u8, content: &[u8]) -> Vec<u8> {
            [&[id, u8::try_from(content.len()).unwrap()], content].concat()
        }
        let mut names = Vec::new();
        for (index, name) in ["imported", "core::a", "<mine::B>::c"].iter().enumerate() {
            names.extend([u8::try_from(index).unwrap(), u8::try_from(name.len()).unwrap()]);
            names.extend(name.bytes());
        }
        let names = [&[3][..], &names].concat();
        let names = [&[4][..], b"name", &[1, u8::try_from(names.len()).unwrap()], &names].concat();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, &[1, 0x60, 0, 0]),
            section(2, &[&[1, 1][..], b"m", &[1], b"f", &[0, 0]].concat()),
            section(3, &[2, 0, 0]),
            section(5, &[1, 0, 1]),
            // end; and: i32.const 16, drop, end
            section(10, &[2, 2, 0, 0x0b, 5, 0, 0x41, 16, 0x1a, 0x0b]),
            section(11, &[&[1, 0, 0x41, 16, 0x0b, 8][..], &[20, 0, 0, 0], b"text"].concat()),
            section(0, &names),
        ]
        .concat()
    }

    #[test]
    fn bodies_and_names_are_found_with_their_lengths() {
        let wasm = wasm();
        let module = Module::read(&wasm).unwrap();
        let [first, second] = module.functions.as_slice() else { panic!("{module:?}") };
        assert_eq!((first.name.as_str(), second.name.as_str()), ("core::a", "<mine::B>::c"));
        assert_eq!(wasm[first.body.clone()], [2, 0, 0x0b]);
        assert_eq!(wasm[second.body.clone()], [5, 0, 0x41, 16, 0x1a, 0x0b]);
        assert_eq!(wasm[second.name_at.clone()], [b"\x02\x0c", "<mine::B>::c".as_bytes()].concat());
    }

    #[test]
    fn data_belongs_to_the_functions_that_refer_to_it_or_to_what_points_at_it() {
        let wasm = wasm();
        let module = Module::read(&wasm).unwrap();
        let [pointer, text] = module.data.as_slice() else { panic!("{module:?}") };
        assert_eq!(wasm[pointer.at.clone()], [20, 0, 0, 0]);
        assert_eq!(&wasm[text.at.clone()], b"text");
        assert_eq!((pointer.users.as_slice(), text.users.as_slice()), (&[1][..], &[1][..]));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(Module::read(b"text").is_err());
    }

    #[test]
    fn a_length_takes_a_byte_for_each_seven_bits() {
        assert_eq!([0, 127, 128, 16_383, 16_384].map(length_of_number), [1, 1, 2, 2, 3]);
    }
}
