//! PUBACK: publish acknowledgement (MQTT 5.0 section 3.4).

super::acknowledgement::acknowledgement! {
    /// QoS 1: the receiver owns the message.
    PubAck, flags 0, properties "MQTT 5.0 section 3.4.2.2"
}
