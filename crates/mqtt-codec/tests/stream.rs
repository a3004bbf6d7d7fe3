//! Properties of the codec as a whole: what is written is read back, however the bytes are cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use bytes::{Bytes, BytesMut};
use common::{MAXIMUM, decode_all, encoded, packet, publish, version_and_packet, version_and_packets};
use iot_types::Qos;
use mqtt_codec::{Decoder, Delivery, Packet, ProtocolVersion, PublishTemplate, encoded_len};
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_packet((version, packet) in version_and_packet()) {
        let bytes = encoded(&packet, version);
        prop_assert_eq!(bytes.len(), encoded_len(&packet, version));
        prop_assert_eq!(decode_all(bytes, version), Ok(vec![packet]));
    }

    #[test]
    fn every_strict_prefix_of_a_packet_is_incomplete((version, packet) in version_and_packet()) {
        let bytes = encoded(&packet, version);
        // All cuts near both ends, some between: a payload of 16 KiB has nothing new in its middle.
        for cut in (0..bytes.len()).filter(|cut| *cut < 300 || bytes.len() - cut < 20 || cut % 997 == 0) {
            let mut decoder = Decoder::restore(MAXIMUM, Some(version), bytes.slice(..cut));
            prop_assert_eq!(decoder.next_packet(), Ok(None), "cut at {}", cut);
            prop_assert_eq!(decoder.remainder(), &bytes[..cut]);
        }
    }

    #[test]
    fn cutting_the_stream_anywhere_gives_the_same_packets(
        (version, packets) in version_and_packets(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            stream.extend_from_slice(&encoded(packet, version));
        }
        let stream = stream.freeze();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();

        let mut decoder = Decoder::restore(MAXIMUM, Some(version), Bytes::new());
        let mut got = Vec::new();
        for window in cuts.windows(2) {
            decoder.push(stream.slice(window[0]..window[1]));
            while let Some(packet) = decoder.next_packet().unwrap() {
                got.push(packet);
            }
            // What hibernation keeps is enough to go on.
            decoder = Decoder::restore(MAXIMUM, decoder.version(), Bytes::copy_from_slice(decoder.remainder()));
        }
        prop_assert_eq!(got, packets);
        prop_assert!(decoder.remainder().is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_leave_more_than_the_maximum(
        version in proptest::option::of(common::versions()),
        pushes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..8),
    ) {
        let mut decoder = Decoder::restore(100, version, Bytes::new());
        for push in pushes {
            decoder.push(push.into());
            while let Ok(Some(_)) = decoder.next_packet() {}
            prop_assert!(decoder.remainder().len() < 100);
        }
    }

    #[test]
    fn a_damaged_packet_never_panics_and_what_it_decodes_to_is_written_and_read_again(
        (version, packet) in version_and_packet(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&packet, version).to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(packets) = decode_all(bytes.into(), version) {
            for packet in packets {
                let version = match &packet {
                    Packet::Connect(connect) => connect.version,
                    _ => version,
                };
                prop_assert_eq!(decode_all(encoded(&packet, version), version), Ok(vec![packet]));
            }
        }
    }

    #[test]
    fn a_template_writes_what_encoding_each_delivery_would(
        version in common::versions(),
        publish in publish(),
        ids in proptest::collection::vec(1..=268_435_455_u32, 0..3),
    ) {
        let mut publish = publish;
        publish.properties.subscription_identifiers = vec![7];
        let template = PublishTemplate::new(&publish, version);
        let delivery = Delivery {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            packet_id: publish.packet_id,
            subscription_identifiers: &ids,
        };
        let mut out = BytesMut::new();
        template.encode(&delivery, &mut out);
        prop_assert_eq!(out.len(), template.encoded_len(&delivery));

        publish.properties.subscription_identifiers = ids.clone();
        // Compared as packets: where the Subscription Identifiers stand among the properties may differ.
        let expected = decode_all(encoded(&Packet::Publish(publish), version), version);
        prop_assert_eq!(decode_all(out.freeze(), version), expected);
    }

    #[test]
    fn the_version_is_learnt_from_connect(version in common::versions(), packets in proptest::collection::vec(packet(ProtocolVersion::V3_1_1), 3)) {
        let connect = connect(version);
        let mut decoder = Decoder::new(MAXIMUM);
        prop_assert_eq!(decoder.version(), None);
        decoder.push(encoded(&connect, version));
        prop_assert_eq!(decoder.next_packet(), Ok(Some(connect)));
        prop_assert_eq!(decoder.version(), Some(version));
        for packet in packets {
            // A CONNECT among them names its own version and must not change how the others are read.
            decoder.push(encoded(&packet, version));
            prop_assert!(matches!(decoder.next_packet(), Ok(Some(_))));
            prop_assert_eq!(decoder.version(), Some(version));
        }
    }
}

fn connect(version: ProtocolVersion) -> Packet {
    Packet::Connect(Box::new(mqtt_codec::Connect {
        version,
        clean_start: true,
        keep_alive: 30,
        client_id: "c".into(),
        will: None,
        username: None,
        password: None,
        properties: mqtt_codec::ConnectProperties::default(),
    }))
}

#[test]
fn text_and_payload_are_slices_of_the_push() {
    let bytes = Bytes::from(hex::decode("3007000361 2f62 6869".replace(' ', "")).unwrap());
    let packet = decode_all(bytes.clone(), ProtocolVersion::V3_1_1).unwrap().remove(0);
    let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
    assert_eq!((publish.qos, &*publish.topic, &publish.payload[..]), (Qos::AtMostOnce, "a/b", &b"hi"[..]));
    let inside = bytes.as_ptr_range();
    assert!(inside.contains(&publish.topic.as_ptr()) && inside.contains(&publish.payload.as_ptr()));
}

#[test]
fn a_packet_that_comes_byte_by_byte_is_one_packet() {
    let bytes = encoded(&connect(ProtocolVersion::V5), ProtocolVersion::V5);
    let mut decoder = Decoder::new(MAXIMUM);
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(decoder.next_packet(), Ok(None), "before byte {at}");
        decoder.push(Bytes::copy_from_slice(&[*byte]));
    }
    assert_eq!(decoder.next_packet(), Ok(Some(connect(ProtocolVersion::V5))));
    assert_eq!(decoder.next_packet(), Ok(None));
}
