//! PUBCOMP: publish complete (MQTT 5.0 section 3.7).

super::acknowledgement::acknowledgement! {
    /// QoS 2, part 3: the receiver forgets the Packet Identifier.
    PubComp, flags 0, properties "MQTT 5.0 section 3.7.2.2"
}
