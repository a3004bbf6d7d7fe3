//! Text in every place that a packet has for it: well-formed or refused ([MQTT-1.5.4-1], [MQTT-1.5.4-2]), and kept as it is
//! ([MQTT-1.5.4-3]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use bytes::Bytes;
use common::{decode_all, encoded};
use mqtt_codec::ProtocolVersion::{V3_1_1, V5};
use mqtt_codec::{DecodeError, Decoder, Packet, ProtocolVersion};

/// A place for text: its name, and the packet around it in hexadecimal. `[ … ]` is preceded by its length as a Variable
/// Byte Integer; `T` is the text with its length.
type Place = (&'static str, &'static str);

const OF_3_1_1: &[Place] = &[
    ("client identifier", "10 [ 00044d515454 04 02 003c T ]"),
    ("Will Topic", "10 [ 00044d515454 04 06 003c 000163 T 000178 ]"),
    ("User Name", "10 [ 00044d515454 04 82 003c 000163 T ]"),
    ("Topic Name", "30 [ T 78 ]"),
    ("Topic Name with QoS 2", "34 [ T 0001 78 ]"),
    ("filter of SUBSCRIBE", "82 [ 0001 T 01 ]"),
    ("second filter of SUBSCRIBE", "82 [ 0001 000161 00 T 01 ]"),
    ("filter of UNSUBSCRIBE", "a2 [ 0001 T ]"),
    ("second filter of UNSUBSCRIBE", "a2 [ 0001 000161 T ]"),
];

const OF_5: &[Place] = &[
    ("client identifier", "10 [ 00044d515454 05 02 003c [ ] T ]"),
    ("Will Topic", "10 [ 00044d515454 05 06 003c [ ] 000163 [ ] T 000178 ]"),
    ("Response Topic of a Will", "10 [ 00044d515454 05 06 003c [ ] 000163 [ 08 T ] 000177 000178 ]"),
    ("Content Type of a Will", "10 [ 00044d515454 05 06 003c [ ] 000163 [ 03 T ] 000177 000178 ]"),
    ("User Property's name, of a Will", "10 [ 00044d515454 05 06 003c [ ] 000163 [ 26 T 000176 ] 000177 000178 ]"),
    ("User Property's value, of a Will", "10 [ 00044d515454 05 06 003c [ ] 000163 [ 26 00016b T ] 000177 000178 ]"),
    ("User Name", "10 [ 00044d515454 05 82 003c [ ] 000163 T ]"),
    ("Authentication Method of CONNECT", "10 [ 00044d515454 05 02 003c [ 15 T ] 000163 ]"),
    ("User Property's name, of CONNECT", "10 [ 00044d515454 05 02 003c [ 26 T 000176 ] 000163 ]"),
    ("User Property's value, of CONNECT", "10 [ 00044d515454 05 02 003c [ 26 00016b T ] 000163 ]"),
    ("Assigned Client Identifier", "20 [ 00 00 [ 12 T ] ]"),
    ("Reason String of CONNACK", "20 [ 00 00 [ 1f T ] ]"),
    ("User Property's name, of CONNACK", "20 [ 00 00 [ 26 T 000176 ] ]"),
    ("User Property's value, of CONNACK", "20 [ 00 00 [ 26 00016b T ] ]"),
    ("Response Information", "20 [ 00 00 [ 1a T ] ]"),
    ("Server Reference of CONNACK", "20 [ 00 00 [ 1c T ] ]"),
    ("Topic Name", "30 [ T [ ] 78 ]"),
    ("Topic Name with QoS 2", "34 [ T 0001 [ ] 78 ]"),
    ("Response Topic", "30 [ 000161 [ 08 T ] 78 ]"),
    ("Content Type", "30 [ 000161 [ 03 T ] 78 ]"),
    ("User Property's name, of PUBLISH", "30 [ 000161 [ 26 T 000176 ] 78 ]"),
    ("User Property's value, of PUBLISH", "30 [ 000161 [ 26 00016b T ] 78 ]"),
    ("second User Property's name, of PUBLISH", "30 [ 000161 [ 26 00016b 000176 26 T 000176 ] 78 ]"),
    ("Reason String of PUBACK", "40 [ 0001 00 [ 1f T ] ]"),
    ("User Property's name, of PUBACK", "40 [ 0001 00 [ 26 T 000176 ] ]"),
    ("User Property's value, of PUBACK", "40 [ 0001 00 [ 26 00016b T ] ]"),
    ("User Property's name, of PUBREC", "50 [ 0001 00 [ 26 T 000176 ] ]"),
    ("User Property's value, of PUBREL", "62 [ 0001 00 [ 26 00016b T ] ]"),
    ("Reason String of PUBCOMP", "70 [ 0001 00 [ 1f T ] ]"),
    ("filter of SUBSCRIBE", "82 [ 0001 [ ] T 01 ]"),
    ("second filter of SUBSCRIBE", "82 [ 0001 [ ] 000161 00 T 01 ]"),
    ("User Property's name, of SUBSCRIBE", "82 [ 0001 [ 26 T 000176 ] 000161 00 ]"),
    ("User Property's value, of SUBSCRIBE", "82 [ 0001 [ 26 00016b T ] 000161 00 ]"),
    ("Reason String of SUBACK", "90 [ 0001 [ 1f T ] 00 ]"),
    ("filter of UNSUBSCRIBE", "a2 [ 0001 [ ] T ]"),
    ("second filter of UNSUBSCRIBE", "a2 [ 0001 [ ] 000161 T ]"),
    ("User Property's name, of UNSUBSCRIBE", "a2 [ 0001 [ 26 T 000176 ] 000161 ]"),
    ("User Property's value, of UNSUBSCRIBE", "a2 [ 0001 [ 26 00016b T ] 000161 ]"),
    ("Reason String of UNSUBACK", "b0 [ 0001 [ 1f T ] 00 ]"),
    ("Reason String of DISCONNECT", "e0 [ 04 [ 1f T ] ]"),
    ("User Property's name, of DISCONNECT", "e0 [ 04 [ 26 T 000176 ] ]"),
    ("User Property's value, of DISCONNECT", "e0 [ 04 [ 26 00016b T ] ]"),
    ("Server Reference of DISCONNECT", "e0 [ 9c [ 1c T ] ]"),
    ("Authentication Method of AUTH", "f0 [ 18 [ 15 T ] ]"),
    ("User Property's name, of AUTH", "f0 [ 18 [ 15 00016d 26 T 000176 ] ]"),
    ("User Property's value, of AUTH", "f0 [ 18 [ 15 00016d 26 00016b T ] ]"),
];

/// Not UTF-8, each in its own way.
const ILL_FORMED: &[(&str, &[u8])] = &[
    ("a byte that begins nothing", b"\xff"),
    ("a character that is cut off", b"a\xc3"),
    ("a character that goes wrong", b"\xc3\x28"),
    ("a continuation without a beginning", b"a\x80b"),
    ("the first surrogate, U+D800", b"\xed\xa0\x80"),
    ("the last surrogate, U+DFFF", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("an overlong U+0000", b"\xc0\x80"),
    ("an overlong slash", b"a\xe0\x80\xaf"),
    ("a code point above U+10FFFF", b"\xf4\x90\x80\x80"),
];

/// The packet with `text` in its place.
fn packet(template: &str, text: &[u8]) -> Bytes {
    let mut sections = vec![Vec::new()];
    for token in template.split(' ') {
        let bytes = match token {
            "[" => {
                sections.push(Vec::new());
                continue;
            }
            "]" => {
                let section = sections.pop().unwrap();
                let (low, high) = ((section.len() & 0x7f) as u8, (section.len() >> 7) as u8);
                let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
                [length, section].concat()
            }
            "T" => [&u16::try_from(text.len()).unwrap().to_be_bytes(), text].concat(),
            hexadecimal => hex::decode(hexadecimal).unwrap(),
        };
        sections.last_mut().unwrap().extend(bytes);
    }
    assert_eq!(sections.len(), 1, "{template}");
    sections.remove(0).into()
}

fn decode(version: ProtocolVersion, packet: Bytes) -> Result<Option<Packet>, DecodeError> {
    // A CONNECT comes to a decoder that knows no version yet.
    let version = Some(version).filter(|_| packet[0] != 0x10);
    Decoder::restore(common::MAXIMUM, version, packet).next_packet()
}

fn places() -> impl Iterator<Item = (ProtocolVersion, Place)> {
    let of = |version, places: &'static [Place]| places.iter().map(move |place| (version, *place));
    of(V3_1_1, OF_3_1_1).chain(of(V5, OF_5))
}

/// In MQTT 3.1.1 [MQTT-1.5.3-1], [MQTT-3.1.3-4], [MQTT-3.1.3-10], [MQTT-3.1.3-11], [MQTT-3.8.3-1], [MQTT-3.10.3-1]; in MQTT 5.0
/// [MQTT-1.5.7-1], [MQTT-3.1.3-11], [MQTT-3.1.3-12], [MQTT-3.3.2-13], [MQTT-3.3.2-19], [MQTT-3.8.3-1], [MQTT-3.10.3-1] as well.
#[test]
fn ill_formed_text_is_refused_wherever_it_stands() {
    for (version, (place, template)) in places() {
        for (what, text) in ILL_FORMED {
            let error = decode(version, packet(template, text)).expect_err(place);
            let (clause, reason) = (error.clause(), error.reason_code().as_u8());
            assert_eq!((clause, reason), ("[MQTT-1.5.4-1]", 0x81), "{place}, {what}: {error}");
        }
        // What is refused is the text: without its fault the packet is one.
        assert!(matches!(decode(version, packet(template, b"x")), Ok(Some(_))), "{place}");
    }
}

#[test]
fn the_null_character_is_refused_wherever_it_stands() {
    for (version, (place, template)) in places() {
        for text in [&b"\0"[..], b"\0a", b"a\0b", b"a\0"] {
            let error = decode(version, packet(template, text)).expect_err(place);
            let (clause, reason) = (error.clause(), error.reason_code().as_u8());
            assert_eq!((clause, reason), ("[MQTT-1.5.4-2]", 0x81), "{place}, {text:?}: {error}");
        }
    }
}

/// A text that a clean-up would change is neither cleaned up nor refused: U+FEFF above all, but also other characters that
/// are only discouraged (section 1.5.4), and characters that would be composed otherwise.
#[test]
fn text_is_kept_byte_for_byte_wherever_it_stands() {
    let texts = [
        "\u{feff}",
        "\u{feff}a",
        "a\u{feff}b",
        "a\u{feff}",
        "\u{feff}\u{feff}",
        " a ",
        "\u{1}",
        "\u{7f}",
        "\u{9f}",
        "\u{fffe}",
        "\u{10ffff}",
        "e\u{301}",
        "\u{e9}",
        "\u{212a}",
        "\u{1f600}",
    ];
    for (version, (place, template)) in places() {
        for text in texts {
            let bytes = packet(template, text.as_bytes());
            let packet = decode(version, bytes.clone()).expect(place).expect(place);
            assert_eq!(encoded(&packet, version), bytes, "{place}, {text:?}: {packet:?}");
        }
    }
    // Nor is it taken away for whoever uses the packet.
    for (version, template) in [(V3_1_1, "30 [ T 78 ]"), (V5, "30 [ T [ ] 78 ]")] {
        for text in texts {
            let packets = decode_all(packet(template, text.as_bytes()), version).unwrap();
            assert!(
                matches!(&packets[..], [Packet::Publish(publish)] if publish.topic == text),
                "{text:?}: {packets:?}"
            );
        }
    }
}

#[test]
fn connect_has_each_field_that_its_flags_announce() {
    let rows = [
        ("no User Name", 0x82, "", false),
        ("a User Name", 0x82, "000175", true),
        ("neither User Name nor Password", 0xc2, "", false),
        ("no Password", 0xc2, "000175", false),
        ("half a Password", 0xc2, "000175 000270", false),
        ("half a Password's length", 0xc2, "000175 00", false),
        ("an empty Password", 0xc2, "000175 0000", true),
        ("no Password behind a Will", 0xc6, "WILL 000175", false),
        ("a Password behind a Will", 0xc6, "WILL 000175 000170", true),
        ("no Will Topic", 0x06, "", false),
    ];
    for (version, level, properties) in [(V3_1_1, "04", ""), (V5, "05", "[ ] ")] {
        for (what, flags, fields, is_complete) in rows {
            let fields = fields.replace("WILL", &format!("{properties}000177 000178"));
            let template = format!("10 [ 00044d515454 {level} {flags:02x} 003c {properties}000163 {fields} ]");
            let result = decode(version, packet(&template.replace("  ", " "), b""));
            match is_complete {
                true => assert!(matches!(result, Ok(Some(Packet::Connect(_)))), "{what}: {result:?}"),
                false => assert_eq!(result, Err(DecodeError::Truncated), "{what}"),
            }
        }
    }
}
