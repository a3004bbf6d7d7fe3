//! Shorter function names for the deployed module: `BTreeMap<K, V>>::get` says where a stack trace leads; what K and V
//! are takes a tenth of all that is uploaded.

use anyhow::{Context, Result, bail};
use wasmparser::{BinaryReader, Name, NameSectionReader};

const MAGIC_AND_VERSION: usize = 8;
const CUSTOM: u8 = 0;
const FUNCTION_NAMES: u8 = 1;

/// The module with its functions' names shortened. What else custom sections hold (names of other things, who produced
/// it, which features it uses) is left out: nobody reads it where it runs.
pub fn with_short_names(wasm: &[u8]) -> Result<Vec<u8>> {
    let (head, mut rest) = wasm.split_at_checked(MAGIC_AND_VERSION).context("no wasm")?;
    let mut out = head.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = read_number(after).context("a section without length")?;
        let (content, next) = after.split_at_checked(length).context("a section that is cut short")?;
        if id != CUSTOM {
            write_section(id, content, &mut out);
        } else if let Some(names) = name_section(content)? {
            write_section(CUSTOM, &names, &mut out);
        }
        rest = next;
    }
    Ok(out)
}

/// The content of a name section with short names; `None` for other custom sections.
fn name_section(content: &[u8]) -> Result<Option<Vec<u8>>> {
    let (length, rest) = read_number(content).context("a custom section without name")?;
    let (b"name", subsections) = rest.split_at_checked(length).context("a custom section without name")? else {
        return Ok(None);
    };
    let mut entries = Vec::new();
    let mut count = 0;
    for subsection in NameSectionReader::new(BinaryReader::new(subsections, 0)) {
        if let Name::Function(names) = subsection? {
            for naming in names {
                let naming = naming?;
                let name = short_name(naming.name);
                write_number(usize::try_from(naming.index)?, &mut entries);
                write_number(name.len(), &mut entries);
                entries.extend_from_slice(name.as_bytes());
                count += 1;
            }
        }
    }
    if count == 0 {
        bail!("the name section names no function");
    }
    let mut functions = Vec::new();
    write_number(count, &mut functions);
    functions.append(&mut entries);
    let mut section = b"\x04name".to_vec();
    write_section(FUNCTION_NAMES, &functions, &mut section);
    Ok(Some(section))
}

/// The name with `_` in place of generic arguments; as it is if its brackets don't match.
pub fn short_name(name: &str) -> String {
    shorten(name).unwrap_or_else(|| name.to_owned())
}

fn shorten(name: &str) -> Option<String> {
    let mut short = String::with_capacity(name.len());
    // open brackets: of `<T as Trait>`, which stay, and of generic arguments
    let (mut kept, mut left_out) = (0_usize, 0_usize);
    let mut before = ' ';
    for character in name.chars() {
        match character {
            '<' if left_out > 0 => left_out += 1,
            '<' if before.is_alphanumeric() || matches!(before, '_' | ':') => {
                left_out = 1;
                short.push_str("<_");
            }
            '<' => {
                kept += 1;
                short.push('<');
            }
            // of a function's type
            '>' if before == '-' && left_out == 0 => short.push('>'),
            '>' if before == '-' => {}
            '>' if left_out > 0 => {
                left_out -= 1;
                if left_out == 0 {
                    short.push('>');
                }
            }
            '>' => {
                kept = kept.checked_sub(1)?;
                short.push('>');
            }
            other if left_out == 0 => short.push(other),
            _ => {}
        }
        before = character;
    }
    (kept == 0 && left_out == 0).then_some(short)
}

fn read_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut reader = BinaryReader::new(bytes, 0);
    let number = usize::try_from(reader.read_var_u32().ok()?).ok()?;
    Some((number, bytes.get(reader.original_position()..)?))
}

/// LEB128.
fn write_number(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn write_section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    write_number(content.len(), out);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_arguments_are_left_out_and_nothing_else() {
        for (name, expected) in [
            ("broker::broker::Broker::flush", "broker::broker::Broker::flush"),
            (
                "<alloc::btree::map::BTreeMap<messages::Id, Vec<u8>>>::get::<u64>",
                "<alloc::btree::map::BTreeMap<_>>::get::<_>",
            ),
            (
                "<A<B> as core::Trait<C<D>>>::method::<E>::{closure#0}",
                "<A<_> as core::Trait<_>>::method::<_>::{closure#0}",
            ),
            ("core::ptr::drop_glue::<[alloc::string::String]>", "core::ptr::drop_glue::<_>"),
            ("<&mut F as FnOnce<(A,)>>::call_once", "<&mut F as FnOnce<_>>::call_once"),
            ("<fn(A) -> B as X>::y::<fn(A) -> B>", "<fn(A) -> B as X>::y::<_>"),
            ("<<A as B>::C as D>::e", "<<A as B>::C as D>::e"),
            ("brokerobject_call multivalue shim", "brokerobject_call multivalue shim"),
            ("odd<", "odd<"),
            ("odd>", "odd>"),
            ("", ""),
        ] {
            assert_eq!(short_name(name), expected);
        }
    }

    #[test]
    fn a_module_keeps_what_runs_and_the_short_names() {
        let mut names = b"\x04name".to_vec();
        let function_names = [&b"\x02\x00\x04a<b>\x80\x01\x01c"[..]].concat();
        write_section(2, b"\x00", &mut names);
        write_section(FUNCTION_NAMES, &function_names, &mut names);
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        write_section(1, b"types", &mut module);
        write_section(CUSTOM, b"\x09producers\x00", &mut module);
        write_section(10, &[7; 200], &mut module);
        let mut expected = module[..8].to_vec();
        write_section(1, b"types", &mut expected);
        write_section(10, &[7; 200], &mut expected);
        write_section(CUSTOM, &names, &mut module);
        let mut short = b"\x04name".to_vec();
        write_section(FUNCTION_NAMES, b"\x02\x00\x04a<_>\x80\x01\x01c", &mut short);
        write_section(CUSTOM, &short, &mut expected);
        assert_eq!(with_short_names(&module).unwrap(), expected);
        for length in [0, 7, 9, 12, module.len() - 1] {
            assert!(with_short_names(&module[..length]).is_err(), "cut after {length}");
        }
    }
}
