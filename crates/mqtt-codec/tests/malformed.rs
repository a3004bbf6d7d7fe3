//! What is refused, by which clause, with which Reason Code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use bytes::Bytes;
use common::MAXIMUM;
use mqtt_codec::ProtocolVersion::{V3_1_1, V5};
use mqtt_codec::{DecodeError, Decoder, Packet, ProtocolVersion};

fn bytes(text: &str) -> Bytes {
    hex::decode(text.replace(' ', "")).unwrap().into()
}

/// Decodes one packet with a decoder that knows `version`, or none before CONNECT, and expects the refusal.
fn check(version: Option<ProtocolVersion>, rows: &[(&str, &str, u8)]) {
    for (text, clause, reason) in rows {
        let mut decoder = Decoder::restore(MAXIMUM, version, bytes(text));
        let error = match decoder.next_packet() {
            Err(error) => error,
            Ok(packet) => panic!("{text}: {packet:?}"),
        };
        assert_eq!((error.clause(), error.reason_code().as_u8()), (*clause, *reason), "{text}: {error}");
        assert!(error.to_string().starts_with(clause), "{text}: {error}");
        decoder.push(bytes("c000"));
        assert_eq!(decoder.next_packet(), Err(error), "a failed decoder stays failed");
        assert!(decoder.remainder().is_empty());
    }
}

#[test]
fn the_fixed_header_is_strict() {
    let both = [
        ("00 00", "MQTT 5.0 section 2.1.2", 0x81),
        ("c1 00", "[MQTT-2.1.3-1]", 0x81),
        ("60 02 0001", "[MQTT-2.1.3-1]", 0x81),
        ("80 06 0001 000161 00", "[MQTT-2.1.3-1]", 0x81),
        ("a3 05 0001 000161", "[MQTT-2.1.3-1]", 0x81),
        ("11 0c", "[MQTT-2.1.3-1]", 0x81),
        ("c0 ffffffff", "MQTT 5.0 section 1.5.5", 0x81),
        ("c0 8080808000", "MQTT 5.0 section 1.5.5", 0x81),
        ("c0 01 00", "MQTT 5.0 section 2.1.4", 0x81),
        ("d0 01 00", "MQTT 5.0 section 2.1.4", 0x81),
    ];
    check(Some(V5), &both);
    check(Some(V3_1_1), &both);
    check(Some(V5), &[("c0 80 00", "[MQTT-1.5.5-1]", 0x81), ("ff 00", "[MQTT-2.1.3-1]", 0x81)]);
    check(Some(V3_1_1), &[("f0 00", "MQTT 3.1.1 section 2.2.1", 0x81)]);
}

#[test]
fn nothing_comes_before_connect() {
    for first in 2..=15_u8 {
        let text = hex::encode([first << 4, 0]);
        check(None, &[(&text, "[MQTT-3.1.0-1]", 0x82)]);
        // Refused by its first byte already.
        check(None, &[(&text[..2], "[MQTT-3.1.0-1]", 0x82)]);
    }
}

#[test]
fn connect_is_strict() {
    check(
        None,
        &[
            ("10 0e 00064d5149736470 03 02 003c 0000", "[MQTT-3.1.2-1]", 0x84),
            ("10 0c 00046d717474 04 02 003c 0000", "[MQTT-3.1.2-1]", 0x84),
            ("10 0c 00044d515454 03 02 003c 0000", "[MQTT-3.1.2-2]", 0x84),
            ("10 0c 00044d515454 84 02 003c 0000", "[MQTT-3.1.2-2]", 0x84),
            ("10 0c 00044d515454 04 03 003c 0000", "[MQTT-3.1.2-3]", 0x81),
            ("10 0c 00044d515454 04 0a 003c 0000", "[MQTT-3.1.2-11]", 0x81),
            ("10 0c 00044d515454 04 1e 003c 0000", "[MQTT-3.1.2-12]", 0x81),
            ("10 0c 00044d515454 04 22 003c 0000", "[MQTT-3.1.2-13]", 0x81),
            ("10 0f 00044d515454 04 42 003c 0000 000170", "MQTT 3.1.1 [MQTT-3.1.2-22]", 0x82),
            ("10 11 00044d515454 04 06 003c 0000 00012b 0000", "[MQTT-4.7.0-1]", 0x90),
            ("10 10 00044d515454 04 06 003c 0000 0000 0000", "[MQTT-4.7.3-1]", 0x82),
            ("10 0d 00044d515454 04 02 003c 0000 00", "MQTT 5.0 section 2.1.4", 0x81),
            ("10 0b 00044d515454 04 02 003c 00", "MQTT 5.0 section 1.2", 0x81),
            ("10 0c 00044d515454 04 82 003c 0000", "MQTT 5.0 section 1.2", 0x81),
            ("10 00", "MQTT 5.0 section 1.2", 0x81),
            ("10 0d 00044d515454 04 02 003c 0001ff", "[MQTT-1.5.4-1]", 0x81),
            ("10 0d 00044d515454 04 02 003c 000100", "[MQTT-1.5.4-2]", 0x81),
            ("10 8d00 00044d515454 05 02 003c 00 0000", "[MQTT-1.5.5-1]", 0x81),
            ("10 10 00044d515454 05 02 003c 03 210000 0000", "MQTT 5.0 section 3.1.2.11", 0x82),
            ("10 12 00044d515454 05 02 003c 05 2700000000 0000", "MQTT 5.0 section 3.1.2.11", 0x82),
            ("10 0f 00044d515454 05 02 003c 02 1702 0000", "MQTT 5.0 section 3.1.2.11", 0x82),
            ("10 17 00044d515454 05 02 003c 0a 1100000000 1100000000 0000", "MQTT 5.0 section 3.1.2.11", 0x82),
            ("10 10 00044d515454 05 02 003c 03 230001 0000", "MQTT 5.0 section 3.1.2.11", 0x81),
            ("10 10 00044d515454 05 02 003c 03 160000 0000", "MQTT 5.0 section 3.1.2.11.10", 0x82),
            ("10 16 00044d515454 05 06 003c 00 0000 03 230001 000177 0000", "MQTT 5.0 section 3.1.3.2", 0x81),
            ("10 17 00044d515454 05 06 003c 00 0000 04 0800012b 000177 0000", "[MQTT-3.3.2-14]", 0x82),
        ],
    );
}

#[test]
fn an_unsupported_version_can_be_answered() {
    let rows = [
        ("10 0e 00064d5149736470 03 02 003c 0000", None, Some(V3_1_1)),
        ("10 0c 00044d515454 03 02 003c 0000", None, Some(V3_1_1)),
        ("10 0d 00044d515454 06 02 003c 00 0000", None, Some(V5)),
        // The version is known although the packet is malformed, so the refusal can be sent in it.
        ("10 0d 00044d515454 05 03 003c 00 0000", Some(V5), None),
    ];
    for (text, version, answer) in rows {
        let mut decoder = Decoder::new(MAXIMUM);
        decoder.push(bytes(text));
        let error = decoder.next_packet().unwrap_err();
        assert_eq!((decoder.version(), error.answer_version()), (version, answer), "{text}");
    }
}

#[test]
fn connack_is_strict() {
    check(
        Some(V5),
        &[
            ("20 03 02 00 00", "[MQTT-3.2.2-1]", 0x81),
            ("20 03 01 87 00", "[MQTT-3.2.2-6]", 0x82),
            ("20 03 00 10 00", "[MQTT-3.2.2-8]", 0x82),
            ("20 03 00 03 00", "MQTT 5.0 section 2.4", 0x81),
            ("20 05 00 00 02 24 02", "MQTT 5.0 section 3.2.2.3", 0x82),
            ("20 05 00 00 02 17 00", "MQTT 5.0 section 3.2.2.3", 0x81),
            ("20 02 00 00", "MQTT 5.0 section 1.2", 0x81),
        ],
    );
    check(
        Some(V3_1_1),
        &[
            ("20 02 00 06", "MQTT 3.1.1 section 3.2.2.3", 0x81),
            ("20 02 01 05", "[MQTT-3.2.2-6]", 0x82),
            ("20 03 00 00 00", "MQTT 5.0 section 2.1.4", 0x81),
        ],
    );
}

#[test]
fn publish_is_strict() {
    check(
        Some(V5),
        &[
            ("36 00", "[MQTT-3.3.1-4]", 0x81),
            ("38 04 000161 00", "[MQTT-3.3.1-2]", 0x82),
            ("32 06 000161 0000 00", "[MQTT-2.2.1-3]", 0x82),
            ("30 04 00012b 00", "[MQTT-3.3.2-2]", 0x90),
            ("30 06 0003612f23 00", "[MQTT-3.3.2-2]", 0x90),
            ("30 03 0000 00", "[MQTT-4.7.3-1]", 0x82),
            ("30 06 0000 03 230000", "[MQTT-3.3.2-8]", 0x94),
            ("30 08 000161 04 0800012b", "[MQTT-3.3.2-14]", 0x82),
            ("30 05 0002c328 00", "[MQTT-1.5.4-1]", 0x81),
            // a surrogate, an overlong U+0000, a code point above U+10FFFF
            ("30 06 0003eda080 00", "[MQTT-1.5.4-1]", 0x81),
            ("30 05 0002c080 00", "[MQTT-1.5.4-1]", 0x81),
            ("30 07 0004f4908080 00", "[MQTT-1.5.4-1]", 0x81),
            ("30 04 000100 00", "[MQTT-1.5.4-2]", 0x81),
            ("30 02 0005", "MQTT 5.0 section 1.2", 0x81),
            ("30 00", "MQTT 5.0 section 1.2", 0x81),
            ("32 04 000161 00", "MQTT 5.0 section 1.2", 0x81),
            ("30 03 000161", "MQTT 5.0 section 1.2", 0x81),
            ("30 04 000161 05", "MQTT 5.0 section 1.2", 0x81),
            ("30 09 000161 01 02 00000001", "MQTT 5.0 section 1.2", 0x81),
            ("30 05 000161 01 04", "MQTT 5.0 section 2.2.2.2", 0x81),
            ("30 06 000161 02 ff7f", "MQTT 5.0 section 2.2.2.2", 0x81),
            ("30 09 000161 05 1100000000", "MQTT 5.0 section 3.3.2.3", 0x81),
            ("30 08 000161 04 0101 0101", "MQTT 5.0 section 3.3.2.3", 0x82),
            ("30 06 000161 02 0102", "MQTT 5.0 section 3.3.2.3", 0x82),
            ("30 06 000161 02 0b00", "MQTT 5.0 section 3.3.2.3", 0x82),
            ("30 07 000161 03 0b8100", "[MQTT-1.5.5-1]", 0x81),
            ("30 06 000161 8100 01", "[MQTT-1.5.5-1]", 0x81),
            ("30 08 000161 8080808001", "MQTT 5.0 section 1.5.5", 0x81),
        ],
    );
    check(
        Some(V3_1_1),
        &[
            ("36 06 000161 0001 78", "[MQTT-3.3.1-4]", 0x81),
            ("37 06 000161 0001 78", "[MQTT-3.3.1-4]", 0x81),
            ("3e 06 000161 0001 78", "[MQTT-3.3.1-4]", 0x81),
            ("38 04 000161 78", "[MQTT-3.3.1-2]", 0x82),
            ("30 02 0000", "[MQTT-4.7.3-1]", 0x82),
            ("30 03 000123", "[MQTT-3.3.2-2]", 0x90),
            ("34 05 000161 0000", "[MQTT-2.2.1-3]", 0x82),
        ],
    );
}

#[test]
fn acknowledgements_are_strict() {
    check(
        Some(V5),
        &[
            ("40 02 0000", "[MQTT-2.2.1-3]", 0x82),
            ("40 01 00", "MQTT 5.0 section 1.2", 0x81),
            ("40 03 0001 92", "[MQTT-3.4.2-1]", 0x82),
            ("50 03 0001 92", "[MQTT-3.5.2-1]", 0x82),
            ("62 03 0001 80", "[MQTT-3.6.2-1]", 0x82),
            ("70 03 0001 80", "[MQTT-3.7.2-1]", 0x82),
            ("70 03 0001 7f", "MQTT 5.0 section 2.4", 0x81),
            ("40 06 0001 00 02 0101", "MQTT 5.0 section 3.4.2.2", 0x81),
            ("50 0a 0001 00 06 1f0000 1f0000", "MQTT 5.0 section 3.5.2.2", 0x82),
            ("62 05 0001 00 00 00", "MQTT 5.0 section 2.1.4", 0x81),
        ],
    );
    check(Some(V3_1_1), &[("40 03 0001 00", "MQTT 5.0 section 2.1.4", 0x81), ("62 02 0000", "[MQTT-2.2.1-3]", 0x82)]);
}

#[test]
fn subscribe_and_unsubscribe_are_strict() {
    check(
        Some(V5),
        &[
            ("82 03 0001 00", "[MQTT-3.8.3-2]", 0x82),
            ("82 07 0001 00 000161 40", "[MQTT-3.8.3-5]", 0x81),
            ("82 07 0001 00 000161 80", "[MQTT-3.8.3-5]", 0x81),
            ("82 07 0001 00 000161 03", "MQTT 5.0 section 3.8.3.1", 0x82),
            ("82 07 0001 00 000161 30", "MQTT 5.0 section 3.8.3.1", 0x82),
            ("82 10 0001 00 000a2473686172652f672f61 04", "[MQTT-3.8.3-4]", 0x82),
            ("82 07 0000 00 000161 00", "[MQTT-2.2.1-3]", 0x82),
            ("82 0b 0001 04 0b01 0b01 000161 00", "MQTT 5.0 section 3.8.2.1", 0x82),
            ("82 09 0001 02 0b00 000161 00", "MQTT 5.0 section 3.8.2.1", 0x82),
            ("90 04 0001 00 11", "[MQTT-3.9.3-2]", 0x82),
            ("a2 03 0001 00", "[MQTT-3.10.3-2]", 0x82),
            ("a2 08 0001 02 0101 000161", "MQTT 5.0 section 3.10.2.1", 0x81),
            ("a2 04 0001 00 00", "MQTT 5.0 section 1.2", 0x81),
            ("b0 04 0001 00 01", "[MQTT-3.11.3-2]", 0x82),
        ],
    );
    check(
        Some(V3_1_1),
        &[
            ("82 02 0001", "[MQTT-3.8.3-2]", 0x82),
            ("82 06 0001 000161 04", "[MQTT-3.8.3-5]", 0x81),
            ("82 06 0001 000161 03", "MQTT 5.0 section 3.8.3.1", 0x82),
            ("82 06 0000 000161 00", "[MQTT-2.2.1-3]", 0x82),
            ("82 05 0001 000161", "MQTT 5.0 section 1.2", 0x81),
            ("90 03 0001 87", "[MQTT-3.9.3-2]", 0x82),
            ("a2 02 0001", "[MQTT-3.10.3-2]", 0x82),
            ("b0 03 0001 00", "MQTT 5.0 section 2.1.4", 0x81),
        ],
    );
}

#[test]
fn disconnect_and_auth_are_strict() {
    check(
        Some(V5),
        &[
            ("e0 01 18", "[MQTT-3.14.2-1]", 0x82),
            ("e0 01 03", "MQTT 5.0 section 2.4", 0x81),
            ("e0 05 00 03 210001", "MQTT 5.0 section 3.14.2.2", 0x81),
            ("f0 01 18", "MQTT 5.0 section 1.2", 0x81),
            ("f0 02 18 00", "MQTT 5.0 section 3.15.2.2.2", 0x82),
            ("f0 02 87 00", "[MQTT-3.15.2-1]", 0x82),
        ],
    );
    check(Some(V3_1_1), &[("e0 01 00", "MQTT 5.0 section 2.1.4", 0x81)]);
}

#[test]
fn a_packet_over_the_maximum_is_refused_from_its_header() {
    let maximum = 100;
    // The fixed header counts: 98 bytes after two of header are exactly the maximum.
    let mut decoder = Decoder::restore(maximum, Some(V5), bytes("30 62"));
    assert_eq!(decoder.next_packet(), Ok(None));
    let mut decoder = Decoder::restore(maximum, Some(V5), bytes("30 63"));
    let error = decoder.next_packet().unwrap_err();
    assert_eq!(error, DecodeError::PacketTooLarge { length: 101, maximum });
    assert_eq!((error.clause(), error.reason_code().as_u8()), ("[MQTT-3.2.2-15]", 0x95));
    assert_eq!(error.to_string(), "[MQTT-3.2.2-15]: the packet has 101 bytes, the maximum is 100");
}

#[test]
fn packets_before_a_malformed_one_are_delivered() {
    let mut decoder = Decoder::restore(MAXIMUM, Some(V5), bytes("c000 d000 0000"));
    assert_eq!(decoder.next_packet(), Ok(Some(Packet::PingReq)));
    assert_eq!(decoder.next_packet(), Ok(Some(Packet::PingResp)));
    assert_eq!(decoder.next_packet(), Err(DecodeError::ReservedPacketType));
}
