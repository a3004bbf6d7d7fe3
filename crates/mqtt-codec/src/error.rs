//! Why bytes are not a packet. All of it is the peer's fault.

use crate::{PacketType, PropertyId, ProtocolVersion, ReasonCode};

/// What the peer did wrong. The text begins with the clause and is safe to show to the peer.
///
/// Every one of them ends the Network Connection ([MQTT-4.8.0-1], section 4.13.1); [`Self::reason_code`] is what the
/// DISCONNECT or CONNACK before it says in MQTT 5.0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Control Packet type 0.
    #[error("MQTT 5.0 section 2.1.2: Control Packet type 0 is reserved")]
    ReservedPacketType,
    /// AUTH came over MQTT 3.1.1, where its type is reserved.
    #[error("MQTT 3.1.1 section 2.2.1: Control Packet type 15 is reserved")]
    AuthBeforeVersion5,
    /// The low bits of the first byte are not those that the packet type fixes.
    #[error("[MQTT-2.1.3-1]: {0} has reserved flags other than the required ones")]
    FixedHeaderFlags(PacketType),
    /// A Variable Byte Integer that continues after four bytes.
    #[error("MQTT 5.0 section 1.5.5: a Variable Byte Integer has more than four bytes")]
    IntegerTooLong,
    /// A Variable Byte Integer that could be shorter.
    #[error("[MQTT-1.5.5-1]: a Variable Byte Integer uses more bytes than it needs")]
    OverlongInteger,
    /// The packet would be larger than the receiver allows.
    #[error("[MQTT-3.2.2-15]: the packet has {length} bytes, the maximum is {maximum}")]
    PacketTooLarge {
        /// Bytes of the whole packet, as its header declares them.
        length: u64,
        /// Bytes allowed.
        maximum: u32,
    },
    /// The first packet of the Network Connection is not CONNECT.
    #[error("[MQTT-3.1.0-1]: the first packet must be CONNECT, not {0}")]
    ConnectExpected(PacketType),
    /// A field runs past the end of its packet or section.
    #[error("MQTT 5.0 section 1.2: a field runs past the end of the packet")]
    Truncated,
    /// Bytes follow the last field of the packet.
    #[error("MQTT 5.0 section 2.1.4: bytes follow the last field of the packet")]
    TrailingBytes,
    /// Text that is not well-formed UTF-8, surrogates included.
    #[error("[MQTT-1.5.4-1]: a text is not well-formed UTF-8")]
    IllFormedText,
    /// Text with U+0000.
    #[error("[MQTT-1.5.4-2]: a text contains the null character")]
    NullCharacter,
    /// A Packet Identifier of zero.
    #[error("[MQTT-2.2.1-3]: the Packet Identifier must not be zero")]
    PacketIdentifierZero,
    /// CONNECT names another protocol, for example `MQIsdp` of MQTT 3.1.
    #[error("[MQTT-3.1.2-1]: the protocol name must be MQTT")]
    ProtocolName,
    /// CONNECT asks for a version that is not spoken here.
    #[error("[MQTT-3.1.2-2]: protocol version {0} is not supported, 4 (3.1.1) and 5 are")]
    ProtocolLevel(u8),
    /// Bit 0 of the Connect Flags is set.
    #[error("[MQTT-3.1.2-3]: the reserved Connect Flag must be zero")]
    ConnectFlagReserved,
    /// Will QoS is set without Will Flag.
    #[error("[MQTT-3.1.2-11]: Will QoS must be zero when there is no Will")]
    WillQosWithoutWill,
    /// Will QoS is 3.
    #[error("[MQTT-3.1.2-12]: Will QoS must not be 3")]
    WillQos3,
    /// Will Retain is set without Will Flag.
    #[error("[MQTT-3.1.2-13]: Will Retain must be zero when there is no Will")]
    WillRetainWithoutWill,
    /// A password without a user name, which only MQTT 5.0 allows.
    #[error("MQTT 3.1.1 [MQTT-3.1.2-22]: a password needs a user name")]
    PasswordWithoutUserName,
    /// The Will Topic has a wildcard.
    #[error("[MQTT-4.7.0-1]: the Will Topic must not contain wildcards")]
    WildcardInWillTopic,
    /// A reserved bit of the Connect Acknowledge Flags is set.
    #[error("[MQTT-3.2.2-1]: the reserved Connect Acknowledge Flags must be zero")]
    ConnAckFlagsReserved,
    /// A refusing CONNACK claims a session.
    #[error("[MQTT-3.2.2-6]: Session Present must be zero when the connection is refused")]
    SessionPresentWithError,
    /// A CONNACK return code above 5.
    #[error("MQTT 3.1.1 section 3.2.2.3: Connect Return code {0} is reserved")]
    ReturnCodeReserved(u8),
    /// Both QoS bits of a PUBLISH are set.
    #[error("[MQTT-3.3.1-4]: the QoS of PUBLISH must not be 3")]
    PublishQos3,
    /// DUP with QoS 0.
    #[error("[MQTT-3.3.1-2]: DUP must be zero for QoS 0")]
    DupWithQos0,
    /// The Topic Name has a wildcard.
    #[error("[MQTT-3.3.2-2]: the Topic Name must not contain wildcards")]
    WildcardInTopicName,
    /// The Topic Name is empty and no Topic Alias stands for it.
    #[error("[MQTT-4.7.3-1]: the Topic Name must not be empty")]
    EmptyTopicName,
    /// Topic Alias 0.
    #[error("[MQTT-3.3.2-8]: the Topic Alias must not be zero")]
    TopicAliasZero,
    /// The Response Topic has a wildcard.
    #[error("[MQTT-3.3.2-14]: the Response Topic must not contain wildcards")]
    WildcardInResponseTopic,
    /// SUBSCRIBE without a Topic Filter.
    #[error("[MQTT-3.8.3-2]: SUBSCRIBE must contain at least one Topic Filter")]
    SubscribeWithoutFilter,
    /// A reserved bit of the Subscription Options is set.
    #[error("[MQTT-3.8.3-5]: the reserved bits of the Subscription Options must be zero")]
    SubscriptionOptionsReserved,
    /// Maximum QoS 3 in the Subscription Options.
    #[error("MQTT 5.0 section 3.8.3.1: the requested QoS must not be 3")]
    SubscriptionQos3,
    /// Retain Handling 3 in the Subscription Options.
    #[error("MQTT 5.0 section 3.8.3.1: Retain Handling must not be 3")]
    RetainHandling3,
    /// No Local on a Shared Subscription.
    #[error("[MQTT-3.8.3-4]: No Local must not be set on a Shared Subscription")]
    NoLocalOnSharedSubscription,
    /// UNSUBSCRIBE without a Topic Filter.
    #[error("[MQTT-3.10.3-2]: UNSUBSCRIBE must contain at least one Topic Filter")]
    UnsubscribeWithoutFilter,
    /// A Reason Code that the standard does not define.
    #[error("MQTT 5.0 section 2.4: Reason Code {0:#04x} is not defined")]
    ReasonCodeUnknown(u8),
    /// A Reason Code that does not belong in the packet.
    #[error("{clause}: {packet} must not carry Reason Code {code:#04x}", clause = reason_code_clause(.0), packet = .0, code = .1.as_u8())]
    ReasonCodeNotAllowed(PacketType, ReasonCode),
    /// A property identifier that the standard does not define.
    #[error("MQTT 5.0 section 2.2.2.2: property {0:#04x} is not defined")]
    PropertyUnknown(u32),
    /// A property that does not belong in the packet.
    #[error("{section}: {property:?} is not a property of this packet")]
    PropertyNotAllowed {
        /// Which property.
        property: PropertyId,
        /// The section that lists the packet's properties.
        section: &'static str,
    },
    /// A property that may come once came twice.
    #[error("{section}: {property:?} must not be given more than once")]
    PropertyDuplicate {
        /// Which property.
        property: PropertyId,
        /// The section that lists the packet's properties.
        section: &'static str,
    },
    /// A property whose value the standard excludes.
    #[error("{section}: the value of {property:?} is not allowed")]
    PropertyValue {
        /// Which property.
        property: PropertyId,
        /// The section that lists the packet's properties.
        section: &'static str,
    },
    /// Authentication Data without Authentication Method.
    #[error("MQTT 5.0 section 3.1.2.11.10: Authentication Data needs an Authentication Method")]
    AuthenticationDataWithoutMethod,
    /// AUTH with properties but without Authentication Method.
    #[error("MQTT 5.0 section 3.15.2.2.2: AUTH needs an Authentication Method")]
    AuthenticationMethodMissing,
}

impl DecodeError {
    /// What the DISCONNECT (or the CONNACK, before there is a connection) says.
    #[must_use]
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::ReservedPacketType
            | Self::AuthBeforeVersion5
            | Self::FixedHeaderFlags(_)
            | Self::IntegerTooLong
            | Self::OverlongInteger
            | Self::Truncated
            | Self::TrailingBytes
            | Self::IllFormedText
            | Self::NullCharacter
            | Self::ConnectFlagReserved
            | Self::WillQosWithoutWill
            | Self::WillQos3
            | Self::WillRetainWithoutWill
            | Self::ConnAckFlagsReserved
            | Self::ReturnCodeReserved(_)
            | Self::PublishQos3
            | Self::SubscriptionOptionsReserved
            | Self::ReasonCodeUnknown(_)
            | Self::PropertyUnknown(_)
            | Self::PropertyNotAllowed { .. } => ReasonCode::MalformedPacket,
            Self::ConnectExpected(_)
            | Self::PacketIdentifierZero
            | Self::PasswordWithoutUserName
            | Self::SessionPresentWithError
            | Self::DupWithQos0
            | Self::EmptyTopicName
            | Self::WildcardInResponseTopic
            | Self::SubscribeWithoutFilter
            | Self::SubscriptionQos3
            | Self::RetainHandling3
            | Self::NoLocalOnSharedSubscription
            | Self::UnsubscribeWithoutFilter
            | Self::ReasonCodeNotAllowed(..)
            | Self::PropertyDuplicate { .. }
            | Self::PropertyValue { .. }
            | Self::AuthenticationDataWithoutMethod
            | Self::AuthenticationMethodMissing => ReasonCode::ProtocolError,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::ProtocolLevel(_) => ReasonCode::UnsupportedProtocolVersion,
            Self::WildcardInTopicName | Self::WildcardInWillTopic => ReasonCode::TopicNameInvalid,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
        }
    }

    /// The clause that was broken: a conformance statement in brackets, else a section.
    #[must_use]
    pub const fn clause(&self) -> &'static str {
        match self {
            Self::ReservedPacketType => "MQTT 5.0 section 2.1.2",
            Self::AuthBeforeVersion5 => "MQTT 3.1.1 section 2.2.1",
            Self::FixedHeaderFlags(_) => "[MQTT-2.1.3-1]",
            Self::IntegerTooLong => "MQTT 5.0 section 1.5.5",
            Self::OverlongInteger => "[MQTT-1.5.5-1]",
            Self::PacketTooLarge { .. } => "[MQTT-3.2.2-15]",
            Self::ConnectExpected(_) => "[MQTT-3.1.0-1]",
            Self::Truncated => "MQTT 5.0 section 1.2",
            Self::TrailingBytes => "MQTT 5.0 section 2.1.4",
            Self::IllFormedText => "[MQTT-1.5.4-1]",
            Self::NullCharacter => "[MQTT-1.5.4-2]",
            Self::PacketIdentifierZero => "[MQTT-2.2.1-3]",
            Self::ProtocolName => "[MQTT-3.1.2-1]",
            Self::ProtocolLevel(_) => "[MQTT-3.1.2-2]",
            Self::ConnectFlagReserved => "[MQTT-3.1.2-3]",
            Self::WillQosWithoutWill => "[MQTT-3.1.2-11]",
            Self::WillQos3 => "[MQTT-3.1.2-12]",
            Self::WillRetainWithoutWill => "[MQTT-3.1.2-13]",
            Self::PasswordWithoutUserName => "MQTT 3.1.1 [MQTT-3.1.2-22]",
            Self::WildcardInWillTopic => "[MQTT-4.7.0-1]",
            Self::ConnAckFlagsReserved => "[MQTT-3.2.2-1]",
            Self::SessionPresentWithError => "[MQTT-3.2.2-6]",
            Self::ReturnCodeReserved(_) => "MQTT 3.1.1 section 3.2.2.3",
            Self::PublishQos3 => "[MQTT-3.3.1-4]",
            Self::DupWithQos0 => "[MQTT-3.3.1-2]",
            Self::WildcardInTopicName => "[MQTT-3.3.2-2]",
            Self::EmptyTopicName => "[MQTT-4.7.3-1]",
            Self::TopicAliasZero => "[MQTT-3.3.2-8]",
            Self::WildcardInResponseTopic => "[MQTT-3.3.2-14]",
            Self::SubscribeWithoutFilter => "[MQTT-3.8.3-2]",
            Self::SubscriptionOptionsReserved => "[MQTT-3.8.3-5]",
            Self::SubscriptionQos3 | Self::RetainHandling3 => "MQTT 5.0 section 3.8.3.1",
            Self::NoLocalOnSharedSubscription => "[MQTT-3.8.3-4]",
            Self::UnsubscribeWithoutFilter => "[MQTT-3.10.3-2]",
            Self::ReasonCodeUnknown(_) => "MQTT 5.0 section 2.4",
            Self::ReasonCodeNotAllowed(packet, _) => reason_code_clause(packet),
            Self::PropertyUnknown(_) => "MQTT 5.0 section 2.2.2.2",
            Self::PropertyNotAllowed { section, .. }
            | Self::PropertyDuplicate { section, .. }
            | Self::PropertyValue { section, .. } => section,
            Self::AuthenticationDataWithoutMethod => "MQTT 5.0 section 3.1.2.11.10",
            Self::AuthenticationMethodMissing => "MQTT 5.0 section 3.15.2.2.2",
        }
    }

    /// The version in which a CONNACK with [`ReasonCode::UnsupportedProtocolVersion`] can be read by the peer.
    ///
    /// `None` for every other error: then the decoder's version is the one to answer in, if it has one.
    #[must_use]
    pub const fn answer_version(&self) -> Option<ProtocolVersion> {
        match self {
            Self::ProtocolLevel(level) if *level > 5 => Some(ProtocolVersion::V5),
            Self::ProtocolName | Self::ProtocolLevel(_) => Some(ProtocolVersion::V3_1_1),
            _ => None,
        }
    }
}

const fn reason_code_clause(packet: &PacketType) -> &'static str {
    match packet {
        PacketType::ConnAck => "[MQTT-3.2.2-8]",
        PacketType::PubAck => "[MQTT-3.4.2-1]",
        PacketType::PubRec => "[MQTT-3.5.2-1]",
        PacketType::PubRel => "[MQTT-3.6.2-1]",
        PacketType::PubComp => "[MQTT-3.7.2-1]",
        PacketType::SubAck => "[MQTT-3.9.3-2]",
        PacketType::UnsubAck => "[MQTT-3.11.3-2]",
        PacketType::Disconnect => "[MQTT-3.14.2-1]",
        PacketType::Auth => "[MQTT-3.15.2-1]",
        _ => "MQTT 5.0 section 2.4",
    }
}
