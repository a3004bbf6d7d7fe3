//! PUBREC: publish received (MQTT 5.0 section 3.5).

super::acknowledgement::acknowledgement! {
    /// QoS 2, part 1: the receiver owns the message, or refuses it.
    PubRec, flags 0, properties "MQTT 5.0 section 3.5.2.2"
}
