//! Packets to values and back.

use crate::support::paths::{publish, with_properties};
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use iot_types::Qos;
use mqtt_codec::{Decoder, Packet, ProtocolVersion, encode};
use std::hint::black_box;

const PUBACK: &[u8] = &[0x40, 2, 0, 1];

pub fn run(criterion: &mut Criterion) {
    let (v3, v5) = (ProtocolVersion::V3_1_1, ProtocolVersion::V5);
    let small = publish(v3, "pairs/7", Qos::AtMostOnce, 64);
    let frames = [
        ("PUBLISH, QoS 0, 64 B", v3, small.clone(), 1),
        ("PUBLISH, QoS 0, 4 KiB", v3, publish(v3, "pairs/7", Qos::AtMostOnce, 4_096), 1),
        ("PUBLISH, QoS 0, 64 B, MQTT 5 with properties", v5, with_properties(), 1),
        ("100 times PUBLISH, QoS 0, 64 B, in a frame", v3, small.repeat(100), 100),
        ("PUBLISH, QoS 1, 64 B", v3, publish(v3, "pairs/7", Qos::AtLeastOnce, 64), 1),
        ("PUBACK", v3, PUBACK.to_vec(), 1),
    ];
    let mut group = criterion.benchmark_group("decode");
    for (name, version, frame, count) in &frames {
        let frame = Bytes::from(frame.clone());
        let mut decoder = Decoder::restore(u32::MAX, Some(*version), Bytes::new());
        group.throughput(Throughput::Elements(*count));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| assert_eq!(decode(&mut decoder, &frame, |packet| drop(black_box(packet))), *count));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("encode");
    for (name, version, frame, count) in frames {
        let mut packets = Vec::new();
        let mut decoder = Decoder::restore(u32::MAX, Some(version), Bytes::new());
        decode(&mut decoder, &Bytes::from(frame.clone()), |packet| packets.push(packet));
        let mut out = BytesMut::with_capacity(frame.len());
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                packets.iter().for_each(|packet| encode(black_box(packet), version, &mut out));
                assert_eq!(out.len(), frame.len());
            });
        });
    }
    group.finish();
}

/// How many packets there are in the frame.
fn decode(decoder: &mut Decoder, frame: &Bytes, mut take: impl FnMut(Packet)) -> u64 {
    let mut count = 0;
    decoder.push(frame.clone());
    while let Some(packet) = decoder.next_packet().expect("well-formed packets") {
        take(packet);
        count += 1;
    }
    count
}
