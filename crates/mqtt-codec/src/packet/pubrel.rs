//! PUBREL: publish release (MQTT 5.0 section 3.6).

super::acknowledgement::acknowledgement! {
    /// QoS 2, part 2: the sender forgets the message.
    PubRel, flags 2, properties "MQTT 5.0 section 3.6.2.2"
}
