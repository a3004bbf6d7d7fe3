//! MQTT bytes from a client, cut anywhere.

use crate::memory;
use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    DecodeError, Decoder, Delivery, Packet, ProtocolVersion, Publish, PublishTemplate, encode, encoded_len,
};

/// Bytes that decoding may hold for each byte that came: four for the values of a packet, and for one that comes in
/// pieces two for the memory it is gathered in.
const MEMORY_FACTOR: u64 = 6;

/// What came out of a stream: its packets, and what was wrong in the end.
#[derive(Debug, PartialEq)]
struct Read {
    packets: Vec<Packet>,
    error: Option<DecodeError>,
    version: Option<ProtocolVersion>,
    remainder: Bytes,
}

/// Byte 0 chooses the version (bits 0 and 1) and the maximum packet size (bit 2), bytes 1 to 4 how the rest is cut.
/// The rest is what the client sent.
///
/// Holds: nothing panics; how the stream is cut changes nothing, nor does sleeping between two pieces; memory is
/// bounded by what came; what decodes is encoded in no more bytes, as many as were announced, and decodes to the same.
pub fn decoder(data: &[u8]) -> usize {
    let Some((&control, rest)) = data.split_first() else { return 0 };
    let Some((cuts, stream)) = rest.split_at_checked(4) else { return 0 };
    let version = match control & 0b11 {
        0 | 1 => None,
        2 => Some(ProtocolVersion::V3_1_1),
        _ => Some(ProtocolVersion::V5),
    };
    let maximum = if control & 0b100 == 0 { 1024 * 1024 } else { 32 };
    let stream = Bytes::copy_from_slice(stream);

    let whole = read(maximum, version, [stream.clone()], false);
    for sleeps in [false, true] {
        assert_eq!(read(maximum, version, pieces(&stream, cuts), sleeps), whole, "cut; sleeps between: {sleeps}");
    }
    let mut decoder = Decoder::restore(maximum, version, Bytes::new());
    let ((), peak) = memory::peak(|| discard(&mut decoder, &stream, cuts));
    assert!(peak <= 1_024 + MEMORY_FACTOR * stream.len() as u64, "{peak} bytes for {}", stream.len());

    let consumed = stream.len() - whole.remainder.len();
    let mut reencoded = 0;
    let mut known = version;
    for packet in &whole.packets {
        if let Packet::Connect(connect) = packet {
            known.get_or_insert(connect.version);
        }
        let known = known.expect("the first packet tells the version");
        reencoded += reencodes(packet, known);
        if let Packet::Publish(publish) = packet {
            is_the_same_from_a_template(publish, known);
        }
    }
    // A malformed CONNECT may have told the version as well.
    assert!(known.is_none() || whole.version == known, "{:?} became {:?}", known, whole.version);
    match &whole.error {
        None => assert!(reencoded <= consumed, "{reencoded} bytes of {consumed}"),
        Some(error) => {
            assert!(error.to_string().starts_with(error.clause()), "{error} begins with {}", error.clause());
            assert!(error.reason_code().as_u8() >= 0x80, "{error}");
        }
    }
    whole.packets.len()
}

/// The stream in pieces of the lengths that `cuts` name in turn, at least one byte each.
fn pieces(stream: &Bytes, cuts: &[u8]) -> Vec<Bytes> {
    let mut rest = stream.clone();
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(rest.split_to(usize::from(*cut).clamp(1, rest.len())));
    }
    pieces
}

fn read(maximum: u32, version: Option<ProtocolVersion>, pieces: impl IntoIterator<Item = Bytes>, sleeps: bool) -> Read {
    let mut decoder = Decoder::restore(maximum, version, Bytes::new());
    let mut packets = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => {
                    decoder.push(Bytes::from_static(&[0xC0, 0]));
                    assert_eq!(decoder.next_packet().as_ref(), Err(&error), "an error repeats itself");
                    assert!(decoder.remainder().is_empty(), "nothing is kept after an error");
                    return Read { packets, error: Some(error), version: decoder.version(), remainder: Bytes::new() };
                }
            }
        }
        assert!(decoder.remainder().len() < maximum as usize, "less than a packet is kept");
        if sleeps {
            decoder = Decoder::restore(maximum, decoder.version(), Bytes::copy_from_slice(decoder.remainder()));
        }
    }
    let remainder = Bytes::copy_from_slice(decoder.remainder());
    Read { packets, error: None, version: decoder.version(), remainder }
}

/// Decodes and keeps nothing, so that what is measured is the decoder's own.
fn discard(decoder: &mut Decoder, stream: &Bytes, cuts: &[u8]) {
    let mut rest = stream.clone();
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        decoder.push(rest.split_to(usize::from(*cut).clamp(1, rest.len())));
        while let Ok(Some(_)) = decoder.next_packet() {}
    }
}

fn decode_one(bytes: Bytes, version: ProtocolVersion) -> Packet {
    let mut decoder = Decoder::restore(u32::MAX, Some(version), bytes);
    let packet = decoder.next_packet().expect("what is encoded decodes").expect("it is whole");
    assert_eq!(decoder.next_packet(), Ok(None));
    assert!(decoder.remainder().is_empty(), "it is one packet");
    packet
}

/// Gives how many bytes it was.
fn reencodes(packet: &Packet, version: ProtocolVersion) -> usize {
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes);
    assert_eq!(bytes.len(), encoded_len(packet, version), "{packet:?}");
    let length = bytes.len();
    assert_eq!(decode_one(bytes.freeze(), version), *packet);
    length
}

fn is_the_same_from_a_template(publish: &Publish, version: ProtocolVersion) {
    let template = PublishTemplate::new(publish, version);
    let delivery = Delivery {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        packet_id: publish.packet_id,
        subscription_identifiers: &publish.properties.subscription_identifiers,
    };
    let mut bytes = BytesMut::new();
    template.encode(&delivery, &mut bytes);
    assert_eq!(bytes.len(), template.encoded_len(&delivery));
    assert_eq!(decode_one(bytes.freeze(), version), Packet::Publish(publish.clone()));
}
