//! Programs as bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
use common::run;
use rules::{DecodeError, Program, SqlVersion};

/// A statement with every kind of node, step, operator and item.
const EVERYTHING: &str = "SELECT *, state.reported.*, a[1 + 1].b AS c.d, NOT x AS n, -y AS m, CASE a WHEN 1 THEN 'one' \
    ELSE null END AS k, [1, 2.5, true] AS l, {'o': missing} AS o, topic(2) AS t, cast(a as Int) AS i, \
    cast(a as Double) AS dd, cast(a as String) AS s, cast(a as Bool) AS bb, CASE WHEN a THEN 1 END AS w, concat('x') FROM 'a/+/#' \
    WHERE a = 1 AND b <> 2 OR c < 3 AND d <= 4 OR e > 5 AND f >= 6 OR 1 - 2 * 3 / 4 % 5 IN (6) OR 7 NOT IN l";

#[test]
fn the_encoding_of_a_program_is_unchanged() {
    let bytes = Program::compile(EVERYTHING, SqlVersion::V2016).unwrap().encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, PINNED, "stored programs would no longer mean the same: raise the encoding's number instead");
}

#[test]
fn a_stored_program_is_read_back() {
    let bytes: Vec<u8> =
        (0..PINNED.len()).step_by(2).map(|at| u8::from_str_radix(&PINNED[at..at + 2], 16).unwrap()).collect();
    assert_eq!(Program::decode(&bytes).unwrap(), Program::compile(EVERYTHING, SqlVersion::V2016).unwrap());
}

#[test]
fn a_small_statement_is_a_small_program() {
    let sql = "SELECT temperature, topic(2) AS device FROM 'sensors/+/data' WHERE temperature > 40";
    let size = Program::compile(sql, SqlVersion::V2016).unwrap().encode().len();
    assert!(size < 2 * sql.len(), "{size} bytes from {}", sql.len());
}

#[test]
fn bytes_that_are_no_program_are_refused() {
    let bytes = Program::compile(EVERYTHING, SqlVersion::V2016).unwrap().encode();
    assert_eq!(Program::decode(&[]), Err(DecodeError::Malformed));
    assert_eq!(Program::decode(&[2, 0, 0]), Err(DecodeError::UnknownEncoding(2)));
    for end in 1..bytes.len() {
        assert_eq!(Program::decode(&bytes[..end]), Err(DecodeError::Malformed), "cut at {end}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(Program::decode(&longer), Err(DecodeError::Malformed));
}

#[test]
fn damaged_programs_are_refused_or_harmless() {
    let bytes = Program::compile(EVERYTHING, SqlVersion::V2016).unwrap().encode();
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            match Program::decode(&damaged) {
                Ok(program) => drop(run(&program, "a/b", br#"{"a":1,"state":{"reported":{}}}"#)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > bytes.len(), "{refused}");
}

const PINNED: &str = "01010105612f2b2f230f00000001010201630164050101016e070101016d090101016b0e0101016c120101016f140101017416010101691801010264641a010101731c01010262621e0101017721010106636f6e63617423014142010200020005737461746500087265706f7274656400030200030205020108030200030001610104000162020001000178030602000100017904080200010001610003020005036f6e65000106010a010b0c010d0003020004000000000000044000020107030f101102000100076d697373696e670801016f130003040905746f70696301150200010001610a17010200010001610a19020200010001610a1b000200010001610a1d030200010001610003020600011f2000000501780906636f6e63617401220200010001610003020200010001620003040526010327020001000163000306020001000164000308052b01052c052902042a002d02000100016500030a02000100016600030c0531010732052f020630003300030200030400030600030800030a0536030a370b380c3900030c07013b053502093a0d3c00030e02000100016c053e010e3f05240602250028012e0134013d0140";
