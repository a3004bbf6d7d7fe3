//! Bytes of MQTT packets, written so that a person can read them.
//!
//! Words are separated by spaces:
//! - hexadecimal digits: these bytes; `00*5` five times;
//! - `"text"`: UTF-8 with its two-byte length before it. Inside, `{key}` and `{secret}` are the platform's access key,
//!   `{id}` is a fresh client id and `{ab*3}` is `ababab`;
//! - `[` … `]`: what is between, with its length before it as a Variable Byte Integer;
//! - `(` … `)*5`: what is between, five times, with `n` as 0001, 0002 and so on;
//! - `v`: the protocol level, 04 or 05;
//! - `p`: an empty property list: 00 in MQTT 5.0, nothing in 3.1.1;
//! - `|`: here a WebSocket frame ends and the next begins.

use crate::mqtt::Version;
use crate::platform::Contract;
use crate::unique;

/// The frames that `text` stands for.
///
/// # Panics
/// When `text` is not in the notation.
#[must_use]
pub fn frames(text: &str, version: Version, contract: &Contract) -> Vec<Vec<u8>> {
    let mut frames = vec![Vec::new()];
    // where the contents of brackets begin
    let mut open: Vec<usize> = Vec::new();
    for word in repeated(words(text)) {
        if word == "|" {
            assert!(open.is_empty(), "a frame ends inside brackets: {text}");
            frames.push(Vec::new());
            continue;
        }
        let frame = frames.last_mut().unwrap();
        match word.as_str() {
            "v" => frame.push(version as u8),
            "p" if version == Version::V5 => frame.push(0),
            "p" => {}
            "[" => open.push(frame.len()),
            "]" => {
                let start = open.pop().unwrap_or_else(|| panic!("nothing to close: {text}"));
                let length = variable_byte_integer(frame.len() - start);
                frame.splice(start..start, length);
            }
            _ if word.starts_with('"') => {
                let content = expand(word.trim_matches('"'), contract);
                frame.extend(u16::try_from(content.len()).expect("a text of 64 KB at most").to_be_bytes());
                frame.extend(content.as_bytes());
            }
            _ => {
                let (digits, times) = word.split_once('*').map_or((word.as_str(), 1), |(d, n)| (d, count(n)));
                frame.extend(hexadecimal(digits).repeat(times));
            }
        }
    }
    assert!(open.is_empty(), "something is not closed: {text}");
    frames
}

/// Splits at spaces outside of quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for character in text.chars() {
        if character == '"' {
            is_quoted = !is_quoted;
        }
        if character == ' ' && !is_quoted {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        } else {
            word.push(character);
        }
    }
    assert!(!is_quoted, "a quote is not closed: {text}");
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Writes out what is between parentheses.
fn repeated(words: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut start = None;
    for word in words {
        if word == "(" {
            assert!(start.replace(all.len()).is_none(), "parentheses inside parentheses");
        } else if let Some(times) = word.strip_prefix(")*") {
            let once = all.split_off(start.take().expect("no parenthesis to close"));
            for number in 1..=count(times) {
                all.extend(once.iter().map(|word| if word == "n" { format!("{number:04x}") } else { word.clone() }));
            }
        } else {
            all.push(word);
        }
    }
    assert!(start.is_none(), "a parenthesis is not closed");
    all
}

fn expand(text: &str, contract: &Contract) -> String {
    let text = text.replace("{key}", &contract.access_key_id).replace("{secret}", &contract.secret_access_key);
    let text = text.replace("{id}", &unique("bad"));
    let Some((before, rest)) = text.split_once('{') else { return text };
    let (inside, after) = rest.split_once('}').expect("a brace is not closed");
    let (what, times) = inside.split_once('*').expect("no such placeholder");
    format!("{before}{}{}", what.repeat(count(times)), expand(after, contract))
}

fn count(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn hexadecimal(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "not hexadecimal: {text}");
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("not hexadecimal: {text}"))).collect()
}

fn variable_byte_integer(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(value % 128).unwrap();
        value /= 128;
        bytes.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_means_these_bytes() {
        let contract: Contract = serde_json::from_value(serde_json::json!({
            "endpoint": "http://h", "mqtt": "ws://h/mqtt", "accessKeyId": "K", "secretAccessKey": "S", "region": "r", "accountId": "1",
        }))
        .unwrap();
        for (text, v4, v5) in [
            ("c000", vec![vec![0xC0, 0]], vec![vec![0xC0, 0]]),
            ("00*3 01", vec![vec![0, 0, 0, 1]], vec![vec![0, 0, 0, 1]]),
            ("v p 07", vec![vec![4, 7]], vec![vec![5, 0, 7]]),
            (r#""a b" "{key}""#, vec![vec![0, 3, b'a', b' ', b'b', 0, 1, b'K']], vec![]),
            (r#""{ab*2}c""#, vec![vec![0, 5, b'a', b'b', b'a', b'b', b'c']], vec![]),
            ("10 [ 00*128 ]", vec![[vec![0x10, 0x80, 0x01], vec![0; 128]].concat()], vec![]),
            ("82 [ 0001 ( 02 03 )*2 ]", vec![vec![0x82, 6, 0, 1, 2, 3, 2, 3]], vec![]),
            ("( 40 [ n ] )*2", vec![vec![0x40, 2, 0, 1, 0x40, 2, 0, 2]], vec![]),
            ("01 | 02", vec![vec![1], vec![2]], vec![]),
        ] {
            assert_eq!(frames(text, Version::V4, &contract), v4, "{text}");
            if !v5.is_empty() {
                assert_eq!(frames(text, Version::V5, &contract), v5, "{text}");
            }
        }
        for wrong in ["30 [", "]", "(", "x", "0", r#""a"#] {
            let result = std::panic::catch_unwind(|| frames(wrong, Version::V4, &contract));
            assert!(result.is_err(), "{wrong} is accepted");
        }
    }
}
