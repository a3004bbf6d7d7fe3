//! Memory follows what arrives, not what is declared, and values take no more than a small multiple of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use allocation_counter::measure;
use bytes::{BufMut, Bytes, BytesMut};
use mqtt_codec::{Auth, AuthProperties, DecodeError, Decoder, Packet, ProtocolVersion, ReasonCode, encode};

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

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5;
const MEBIBYTE: usize = 1024 * 1024;

/// What a packet allocates besides what follows its length.
const CONSTANT: u64 = 1_024;

/// Three bytes that hold a number in the longest form of four.
fn varint(value: usize) -> [u8; 3] {
    assert!((0x4000..0x20_0000).contains(&value));
    [value as u8 | 0x80, (value >> 7) as u8 | 0x80, (value >> 14) as u8]
}

/// A packet of nearly `size` bytes: `item` again and again between `before` and `after`; `is_property`: as properties.
fn packet(size: usize, first: u8, before: &[u8], is_property: bool, item: &[u8], after: &[u8]) -> Bytes {
    let items = item.repeat((size - 100) / item.len());
    let mut body = before.to_vec();
    if is_property {
        body.extend_from_slice(&varint(items.len()));
    }
    body.extend_from_slice(&items);
    body.extend_from_slice(after);
    let mut packet = BytesMut::new();
    packet.put_u8(first);
    packet.put_slice(&varint(body.len()));
    packet.put_slice(&body);
    packet.freeze()
}

/// Every kind of packet, full of the smallest things it can have.
fn hostile(size: usize) -> Vec<(&'static str, ProtocolVersion, Bytes)> {
    let user = b"\x26\0\0\0\0";
    let connect = b"\0\x04MQTT\x05\x06\0\0";
    let full_of_user_properties =
        |name, first, before: &[u8], after: &[u8]| (name, V5, packet(size, first, before, true, user, after));
    vec![
        full_of_user_properties("CONNECT", 0x10, connect, b"\0\0\0\0\x01w\0\0"),
        full_of_user_properties("a will", 0x10, &[&connect[..], b"\0\0\0"].concat(), b"\0\x01w\0\0"),
        full_of_user_properties("CONNACK", 0x20, b"\0\0", b""),
        full_of_user_properties("PUBLISH", 0x30, b"\0\x01t", b"p"),
        full_of_user_properties("PUBACK", 0x40, b"\0\x01\0", b""),
        full_of_user_properties("PUBREC", 0x50, b"\0\x01\0", b""),
        full_of_user_properties("PUBREL", 0x62, b"\0\x01\0", b""),
        full_of_user_properties("PUBCOMP", 0x70, b"\0\x01\0", b""),
        full_of_user_properties("SUBSCRIBE", 0x82, b"\0\x01", b"\0\x01t\0"),
        full_of_user_properties("SUBACK", 0x90, b"\0\x01", b"\0"),
        full_of_user_properties("UNSUBSCRIBE", 0xA2, b"\0\x01", b"\0\x01t"),
        full_of_user_properties("UNSUBACK", 0xB0, b"\0\x01", b"\0"),
        full_of_user_properties("DISCONNECT", 0xE0, b"\0", b""),
        ("AUTH", V5, auth(size)),
        ("Subscription Identifiers", V5, packet(size, 0x30, b"\0\x01t", true, b"\x0B\x01", b"p")),
        (
            "User Properties among Subscription Identifiers",
            V5,
            packet(size, 0x30, b"\0\x01t", true, &[&user[..], b"\x0B\x01"].concat(), b"p"),
        ),
        ("filters of SUBSCRIBE, 3.1.1", V3, packet(size, 0x82, b"\0\x01", false, b"\0\0\0", b"")),
        ("filters of SUBSCRIBE", V5, packet(size, 0x82, b"\0\x01\0", false, b"\0\0\0", b"")),
        ("filters of UNSUBSCRIBE, 3.1.1", V3, packet(size, 0xA2, b"\0\x01", false, b"\0\0", b"")),
        ("filters of UNSUBSCRIBE", V5, packet(size, 0xA2, b"\0\x01\0", false, b"\0\0", b"")),
        ("codes of SUBACK, 3.1.1", V3, packet(size, 0x90, b"\0\x01", false, b"\0", b"")),
        ("codes of SUBACK", V5, packet(size, 0x90, b"\0\x01\0", false, b"\0", b"")),
        ("codes of UNSUBACK", V5, packet(size, 0xB0, b"\0\x01\0", false, b"\0", b"")),
        ("padding of UNSUBACK, 3.1.1", V3, packet(size, 0xB0, b"\0\x01", false, b"\0", b"")),
        ("payload", V3, packet(size, 0x30, b"\0\x01t", false, b"\0", b"")),
        ("PUBACK in thousands", V3, Bytes::from(b"\x40\x02\0\x01".repeat(size / 4))),
        ("PUBLISH in thousands", V5, Bytes::from(b"\x30\x05\0\x01t\0p".repeat(size / 8))),
    ]
}

/// AUTH has User Properties only beside a method.
fn auth(size: usize) -> Bytes {
    let properties = AuthProperties {
        authentication_method: Some("m".into()),
        user_properties: std::iter::repeat_n(("", ""), size / 5).collect(),
        ..AuthProperties::default()
    };
    let mut packet = BytesMut::new();
    encode(&Packet::Auth(Auth { reason_code: ReasonCode::Success, properties }), V5, &mut packet);
    packet.freeze()
}

/// Reads all packets, one at a time in memory.
fn read(decoder: &mut Decoder, bytes: &Bytes, piece: usize) -> Result<usize, DecodeError> {
    let mut count = 0;
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        decoder.push(rest.split_to(piece.min(rest.len())));
        while decoder.next_packet()?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

#[test]
fn no_packet_takes_more_than_four_times_its_bytes() {
    for (name, version, bytes) in hostile(MEBIBYTE) {
        let length = bytes.len() as u64;
        let mut decoder = Decoder::restore(2 * 1_048_576, Some(version), Bytes::new());
        let mut decoded = Ok(0);
        let allocations = measure(|| decoded = read(&mut decoder, &bytes, usize::MAX));
        match decoded {
            Ok(count) => assert!(count > 0, "{name}"),
            // MQTT 3.1.1 has no codes in UNSUBACK.
            Err(error) => assert_eq!((name, error), ("padding of UNSUBACK, 3.1.1", DecodeError::TrailingBytes)),
        }
        assert!(allocations.bytes_max <= 4 * length + CONSTANT, "{name}: {allocations:?} for {length}");
        // Nothing is copied again and again either.
        assert!(allocations.bytes_total <= 8 * length + CONSTANT, "{name}: {allocations:?} for {length}");
    }
}

#[test]
fn a_packet_in_single_bytes_takes_little_more_and_is_not_copied_for_each() {
    for (name, version, bytes) in hostile(MEBIBYTE / 16) {
        let length = bytes.len() as u64;
        let mut decoder = Decoder::restore(2 * 1_048_576, Some(version), Bytes::new());
        let allocations = measure(|| {
            let _ = read(&mut decoder, &bytes, 1);
        });
        assert!(allocations.bytes_max <= 5 * length + CONSTANT, "{name}: {allocations:?} for {length}");
        // A packet of few bytes has memory of its own while it comes.
        assert!(allocations.bytes_total <= 12 * length + CONSTANT, "{name}: {allocations:?} for {length}");
    }
}

#[test]
fn what_is_encoded_again_takes_the_packets_own_bytes() {
    for (name, version, bytes) in hostile(MEBIBYTE) {
        let mut decoder = Decoder::restore(2 * 1_048_576, Some(version), bytes.clone());
        let Ok(Some(packet)) = decoder.next_packet() else { continue };
        let mut out = BytesMut::new();
        let allocations = measure(|| encode(&packet, version, &mut out));
        assert!(allocations.bytes_total <= bytes.len() as u64 + CONSTANT, "{name}: {allocations:?}");
        assert!(matches!(packet, Packet::Publish(_)) || bytes.starts_with(&out), "{name}");
    }
}

#[test]
fn a_small_packet_does_not_keep_a_large_push_alive() {
    let publish = |payload: usize| packet_of(&vec![b'p'; payload]);
    let mut decoder = Decoder::restore(u32::MAX, Some(V5), Bytes::new());
    for (small, others, is_kept) in
        [(64, 100_000, false), (24_000, 100_000, false), (26_000, 70_000, true), (64, 500, true)]
    {
        let push = [publish(small), publish(others)].concat();
        let push = Bytes::from(push);
        decoder.push(push.clone());
        let Ok(Some(Packet::Publish(first))) = decoder.next_packet() else { panic!("{small}") };
        assert_eq!(first.payload.len(), small);
        assert_eq!(push.as_ptr_range().contains(&first.payload.as_ptr()), is_kept, "{small} of {}", push.len());
        assert!(matches!(decoder.next_packet(), Ok(Some(Packet::Publish(_)))));
        assert_eq!(decoder.next_packet(), Ok(None));
    }
}

/// A PUBLISH of MQTT 5.0.
fn packet_of(payload: &[u8]) -> Vec<u8> {
    let publish = mqtt_codec::Publish {
        dup: false,
        qos: iot_types::Qos::AtMostOnce,
        retain: false,
        topic: "t".into(),
        packet_id: None,
        properties: mqtt_codec::PublishProperties::default().into(),
        payload: Bytes::copy_from_slice(payload),
    };
    let mut out = BytesMut::new();
    encode(&Packet::Publish(publish), V5, &mut out);
    out.to_vec()
}
