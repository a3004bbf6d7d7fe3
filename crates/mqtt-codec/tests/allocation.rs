//! A header's promise costs nothing: memory follows what arrives, not what is declared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use allocation_counter::measure;
use bytes::Bytes;
use mqtt_codec::{DecodeError, Decoder, ProtocolVersion, ReasonCode};

const HEADER: &[u8] = &[0x30, 0xFF, 0xFF, 0xFF, 0x7F];

#[test]
fn a_declared_length_of_268_megabytes_over_the_maximum_allocates_nothing() {
    let mut decoder = Decoder::restore(1_048_576, Some(ProtocolVersion::V5), Bytes::new());
    let mut refused = Ok(None);
    let allocations = measure(|| {
        decoder.push(Bytes::from_static(HEADER));
        refused = decoder.next_packet();
    });
    assert_eq!(allocations.count_total, 0);
    let error = refused.unwrap_err();
    assert_eq!(error, DecodeError::PacketTooLarge { length: 268_435_460, maximum: 1_048_576 });
    assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
}

#[test]
fn a_declared_length_of_268_megabytes_within_the_maximum_keeps_only_what_came() {
    let mut decoder = Decoder::restore(u32::MAX, Some(ProtocolVersion::V5), Bytes::new());
    let mut read = Ok(None);
    let allocations = measure(|| {
        for byte in HEADER {
            decoder.push(Bytes::from_static(std::slice::from_ref(byte)));
            read = decoder.next_packet();
        }
    });
    assert_eq!(read, Ok(None));
    assert!((1..1_024).contains(&allocations.bytes_total), "{allocations:?}");
}
